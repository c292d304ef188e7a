"""Images that are not from the training distribution: corruptions at five severities."""

from .corrupt import corrupt as corrupt
from .frost import FrostTextures as FrostTextures
from .frost import frost_textures as frost_textures
from .frost import load_frost as load_frost
from .severity import LEVELS as LEVELS
from .severity import SEVERITY as SEVERITY
from .severity import Constants as Constants
from .severity import Severity as Severity
from .table import CORRUPTIONS as CORRUPTIONS
from .table import EXTRA as EXTRA
from .table import Corruption as Corruption
from .table import Group as Group
