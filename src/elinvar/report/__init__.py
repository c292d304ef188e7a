"""What runs found, for people who look: tables, charts and one self-contained page."""

from .gallery import Strip as Strip
from .gallery import gallery as gallery
from .html import write_report as write_report
from .result import RunResult as RunResult
from .samples import SampleSheet as SampleSheet
from .samples import sample_grid as sample_grid
from .statistics import Difference as Difference
from .statistics import Summary as Summary
from .table import Table as Table
from .table import headline as headline
from .table import per_corruption as per_corruption
from .verdict import verdict as verdict
