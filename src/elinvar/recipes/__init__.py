"""One paper, one file: functions that return recipes."""

from .a2_aug import a2_aug as a2_aug
from .augmix import augmix as augmix
from .augmix import augmix_no_jsd as augmix_no_jsd
from .mixing import cutmix as cutmix
from .mixing import mixup as mixup
from .mixing import vh_mixup as vh_mixup
from .policies import autoaugment as autoaugment
from .policies import randaugment as randaugment
from .robust import alp as alp
from .robust import label_smoothing as label_smoothing
from .robust import logit_squeezing as logit_squeezing
from .robust import lrm as lrm
from .robust import pgd as pgd
from .split import weak_augment as weak_augment
from .standard import standard as standard
from .table import RECIPES as RECIPES
from .table import recipe as recipe
