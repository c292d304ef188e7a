"""Population statistics of a fixed model: measured precisely, layer by layer, or on another domain."""

from .adapt import adapt as adapt
from .precise import precise as precise
from .report import LayerReport as LayerReport
from .report import PopulationReport as PopulationReport
