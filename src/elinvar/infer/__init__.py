"""Inference: predictions without a trace, and what they are worth."""

from .evaluation import Evaluation as Evaluation
from .evaluation import Reliability as Reliability
from .evaluation import Scores as Scores
from .evaluation import Shift as Shift
from .judge import SUITES as SUITES
from .judge import judge as judge
from .predict import Predictor as Predictor
from .predict import evaluating as evaluating
