"""What runs found, for people who look: tables, charts and one self-contained page."""

from .attacked import attack_tables as attack_tables
from .attacked import doubts as doubts
from .gallery import Strip as Strip
from .gallery import gallery as gallery
from .heatmap import heatmap_figure as heatmap_figure
from .heatmap import heatmap_png as heatmap_png
from .heatmap import write_heatmaps as write_heatmaps
from .html import write_report as write_report
from .result import RunResult as RunResult
from .samples import SampleSheet as SampleSheet
from .samples import sample_grid as sample_grid
from .statistics import Difference as Difference
from .statistics import Summary as Summary
from .suites import suite_tables as suite_tables
from .table import Table as Table
from .table import headline as headline
from .table import per_corruption as per_corruption
from .verdict import verdict as verdict
