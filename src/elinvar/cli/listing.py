"""`elinvar list`: what there is."""

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..catalog import KINDS, catalog
from ..check import unknown
from .options import parser, write_json


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "list",
        "Everything that can be named: recipes, models, data, policies, operations, mixing methods, corruptions ...",
        "elinvar list model",
    )
    made.add_argument("kind", type=str, nargs="?", default=None, help=f"one of {', '.join(KINDS)}; default: all")
    options = made.parse_args(list(arguments))
    if options.kind is not None and options.kind not in KINDS:
        raise unknown("kind", options.kind, KINDS)
    entries = catalog(options.kind)
    if options.json:
        write_json([asdict(entry) for entry in entries])
        return 0
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    before = None
    for entry in entries:
        if before not in (None, entry.kind):
            table.add_row("", "", "")
        table.add_row(entry.kind if entry.kind != before else "", Text(entry.name, "bold"), Text(entry.about))
        before = entry.kind
    Console(highlight=False).print(table)
    return 0
