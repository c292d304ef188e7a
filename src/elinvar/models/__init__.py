"""Networks behind an input layer that standardizes: named ones, and yours by import path."""

from .description import Description as Description
from .description import describe as describe
from .factory import build as build
from .probabilities import LogProbabilities as LogProbabilities
from .resnet import ResNet as ResNet
from .standardize import Standardize as Standardize
from .standardize import Standardized as Standardized
from .table import MODELS as MODELS
from .table import Architecture as Architecture
from .table import architecture as architecture
from .wide_resnet import PreActivationResNet as PreActivationResNet
from .wide_resnet import WideResNet as WideResNet
