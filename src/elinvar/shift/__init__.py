"""Images that are not from the training distribution: corruptions, perturbations frame by frame, Fourier noise."""

from .corrupt import corrupt as corrupt
from .fourier import fourier_basis as fourier_basis
from .fourier import fourier_images as fourier_images
from .fourier_heatmap import FourierHeatmap as FourierHeatmap
from .fourier_heatmap import fourier_heatmap as fourier_heatmap
from .frost import FrostTextures as FrostTextures
from .frost import frost_textures as frost_textures
from .frost import load_frost as load_frost
from .low_pass import LowPassCurve as LowPassCurve
from .low_pass import low_pass as low_pass
from .low_pass import low_pass_curve as low_pass_curve
from .perturb import perturb as perturb
from .perturb import perturbation_frames as perturbation_frames
from .perturbation import EXTRA_PERTURBATIONS as EXTRA_PERTURBATIONS
from .perturbation import PERTURBATIONS as PERTURBATIONS
from .perturbation import Perturbation as Perturbation
from .severity import LEVELS as LEVELS
from .severity import SEVERITY as SEVERITY
from .severity import Constants as Constants
from .severity import Severity as Severity
from .table import CORRUPTIONS as CORRUPTIONS
from .table import EXTRA as EXTRA
from .table import Corruption as Corruption
from .table import Group as Group
