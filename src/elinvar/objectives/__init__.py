"""Objectives: logits by view name in, one loss and its named parts out. Their functions judge plain tensors."""

from .cross_entropy import CrossEntropy as CrossEntropy
from .cross_entropy import cross_entropy as cross_entropy
from .decoupled import DecoupledPairing as DecoupledPairing
from .decoupled import pairing_factor as pairing_factor
from .decoupled import pairing_strength as pairing_strength
from .distilling import distillation as distillation
from .ensemble import AdaptiveEnsemble as AdaptiveEnsemble
from .ensemble import EnsembleWeights as EnsembleWeights
from .jsd import Consistency as Consistency
from .jsd import jensen_shannon as jensen_shannon
from .logit_regularization import lrm as lrm
from .loss import Loss as Loss
from .loss import Part as Part
from .pairing import AdversarialLogitPairing as AdversarialLogitPairing
from .pairing import CleanLogitPairing as CleanLogitPairing
from .pairing import clean_logit_pairing as clean_logit_pairing
from .pairing import logit_pairing as logit_pairing
from .similarity import cosine_distance as cosine_distance
from .similarity import prediction_cross_entropy as prediction_cross_entropy
from .smooth_view import SmoothTargets as SmoothTargets
from .smoothing import smooth_targets as smooth_targets
from .squeezing import LogitSqueezing as LogitSqueezing
from .squeezing import logit_squeezing as logit_squeezing
from .total import Judging as Judging
from .total import Objective as Objective
from .total import WeightedSum as WeightedSum
