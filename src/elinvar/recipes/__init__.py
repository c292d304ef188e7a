"""One paper, one file: functions that return recipes."""

from .augmix import augmix as augmix
from .augmix import augmix_no_jsd as augmix_no_jsd
from .standard import standard as standard
from .table import RECIPES as RECIPES
from .table import recipe as recipe
