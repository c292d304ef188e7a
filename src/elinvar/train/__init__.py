"""Training: the step, the loop around it, and what it leaves on the disk."""

from .checkpoint import load_into as load_into
from .choice import chosen as chosen
from .classes import class_names as class_names
from .classes import matched as matched
from .evaluate import evaluate as evaluate
from .loop import Observer as Observer
from .loop import build_model as build_model
from .loop import fit as fit
from .loop import trained_model as trained_model
from .run import Run as Run
from .step import NotFinite as NotFinite
from .step import Report as Report
from .step import Step as Step
from .weights import read_weights as read_weights
