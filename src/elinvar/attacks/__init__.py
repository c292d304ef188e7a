"""Attacks: images that a model gets wrong, as close as a threat says to those that it gets right.

    from elinvar import attacks

    adversarial = attacks.pgd(model, images, targets, eps=8 / 255)          # images in [0, 1], on any device
    attack = attacks.Attack(threat=attacks.L2(0.5), steps=20, rule=attacks.Steepest(step=0.1), restarts=5)
    adversarial = attack(model, images, targets)

An attack is a threat's geometry (`Linf`, `L2`) times an estimator of gradients (`Autograd`, `Spsa`) times a rule of
moves (`Steepest`, `Adam`). `robustness` tries them all on a model and says what to doubt; `black_box` shows images made
for one model to others.
"""

from .attack import Attack as Attack
from .distribution import Distribution as Distribution
from .estimator import Autograd as Autograd
from .estimator import Estimate as Estimate
from .estimator import Estimator as Estimator
from .functions import fgsm as fgsm
from .functions import fgsm_attack as fgsm_attack
from .functions import pgd as pgd
from .functions import pgd_attack as pgd_attack
from .functions import spsa as spsa
from .functions import spsa_attack as spsa_attack
from .goal import Goal as Goal
from .l2 import L2 as L2
from .linf import Linf as Linf
from .losses import LOSSES as LOSSES
from .losses import margin as margin
from .result import Result as Result
from .robustness import Robustness as Robustness
from .robustness import Trial as Trial
from .robustness import robustness as robustness
from .robustness import standard as standard
from .rules import Adam as Adam
from .rules import Rule as Rule
from .rules import Steepest as Steepest
from .spsa import Spsa as Spsa
from .still import still as still
from .table import THREATS as THREATS
from .table import threat as threat
from .threat import Threat as Threat
from .transfer import Matrix as Matrix
from .transfer import Transfer as Transfer
from .transfer import black_box as black_box
from .transfer import transfer as transfer
from .view import Adversarial as Adversarial
