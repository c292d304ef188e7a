"""Data sets: arrays on the device and folders of images, in keyed orders, behind one protocol."""

from .array import ArraySplit as ArraySplit
from .corrupted import CorruptedFiles as CorruptedFiles
from .corrupted import read_corrupted as read_corrupted
from .corrupting import write_corrupted as write_corrupted
from .crop import Crop as Crop
from .dataset import DataSet as DataSet
from .dataset import Match as Match
from .dataset import Split as Split
from .folder import FolderSplit as FolderSplit
from .generating import Generator as Generator
from .grouped import grouped_order as grouped_order
from .matching import match_classes as match_classes
from .order import cut_batches as cut_batches
from .order import epoch_order as epoch_order
from .order import stratified_order as stratified_order
from .perturbed import PerturbedFiles as PerturbedFiles
from .perturbed import read_perturbed as read_perturbed
from .subset import hold_out as hold_out
from .subset import subset as subset
from .table import DATASETS as DATASETS
from .table import Reader as Reader
from .table import load as load
