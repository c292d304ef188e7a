"""Small experiments: each shows one effect of a paper in minutes, and says whether it did."""

from .experiment import AtMost as AtMost
from .experiment import Cell as Cell
from .experiment import Claim as Claim
from .experiment import Exceeds as Exceeds
from .experiment import Experiment as Experiment
from .experiment import Job as Job
from .experiment import Near as Near
from .experiment import Published as Published
from .experiment import Rows as Rows
from .experiment import Scale as Scale
from .ranges import Range as Range
from .ranges import output_ranges as output_ranges
from .series import Series as Series
from .series import collect as collect
from .table import EXPERIMENTS as EXPERIMENTS
from .table import experiment as experiment
