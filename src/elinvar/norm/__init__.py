"""Normalization as four independent answers to "which batch?"."""

from .affine import Affine as Affine
from .affine import parameter_groups as parameter_groups
from .convert import branch as branch
from .convert import convert as convert
from .convert import restore as restore
from .inference import Inference as Inference
from .inference import OwnBatch as OwnBatch
from .inference import Remembered as Remembered
from .layer import Norm as Norm
from .layer import commit as commit
from .layer import discard as discard
from .memory import Average as Average
from .memory import Ema as Ema
from .memory import Memory as Memory
from .memory import Nothing as Nothing
from .moments import Moments as Moments
from .moments import pool as pool
from .policy import NormPolicy as NormPolicy
from .policy import batch_norm as batch_norm
from .policy import no_memory as no_memory
from .policy import per_view as per_view
from .policy import split as split
from .sharing import PerBranch as PerBranch
from .sharing import PerView as PerView
from .sharing import Sharing as Sharing
from .sharing import WholeBatch as WholeBatch
