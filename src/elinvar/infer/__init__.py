"""Inference: predictions without a trace, and what they are worth."""

from .evaluation import Calibration as Calibration
from .evaluation import Evaluation as Evaluation
from .evaluation import Reliability as Reliability
from .evaluation import Scores as Scores
from .evaluation import Shift as Shift
from .evaluation import Spectrum as Spectrum
from .evaluation import Stability as Stability
from .images import CorruptedImages as CorruptedImages
from .images import Generated as Generated
from .images import Published as Published
from .judge import DEFAULT as DEFAULT
from .judge import SUITES as SUITES
from .judge import Observer as Observer
from .judge import judge as judge
from .parts import Parts as Parts
from .predict import Predictor as Predictor
from .predict import evaluating as evaluating
from .record import record as record
from .sequences import GeneratedFrames as GeneratedFrames
from .sequences import PerturbedImages as PerturbedImages
from .sequences import PublishedFrames as PublishedFrames
