"""`elinvar reproduce`: a small experiment that shows one effect, and says whether it did."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ..check import InputError, unknown
from ..experiments import EXPERIMENTS, Experiment, Scale, Series, collect, experiment
from ..files import write_text
from ..report.experiment import json_text, judged, overall, table, to_csv, to_json
from ..report.experiment_chart import save
from .options import add_device, data_forms, device, output_console, parser, progress_console, say, write_json


def _list(as_json: bool) -> None:
    if as_json:
        write_json([{"name": row.name, "title": row.title, "source": row.source} for row in EXPERIMENTS.values()])
        return
    shown = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in EXPERIMENTS.values():
        shown.add_row(f"[bold]{row.name}", row.title)
    console = output_console()
    console.print(shown)
    say(console, "\nRun one: elinvar reproduce NAME --scale smoke|small|paper")


def _published(of: Experiment) -> Table | None:
    if of.published is None:
        return None
    measures = list(dict.fromkeys(measure for row in of.published.numbers.values() for measure in row))
    shown = Table(
        title=f"The paper's numbers: {of.published.where}", title_justify="left", title_style="bold", box=None,
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    shown.add_column("")
    for measure in measures:
        shown.add_column(measure, justify="right")
    for setting, row in of.published.numbers.items():
        shown.add_row(setting, *(f"{row[measure]:g}" if measure in row else "" for measure in measures))
    return shown


def _show(series: Series, console: Console) -> None:
    of, found = series.experiment, judged(series)

    def paragraph(text: str, indent: str = "") -> None:
        width = max(40, min(console.width, 110))
        say(console, textwrap.fill(text, width, initial_indent=indent, subsequent_indent=" " * len(indent)))

    paragraph(f"{of.source}. {of.claim}")
    console.print()
    console.print(table(series).to_rich())
    paper = _published(of)
    if paper is not None:
        console.print(paper)
        console.print()
    paragraph(overall(found))
    for item in found:
        paragraph(f"{item.sentence}.", "- ")
    if of.remark:
        console.print()
        paragraph(of.remark)


def run(arguments: Sequence[str]) -> int:
    """The verb."""
    made = parser(
        "reproduce",
        "Run a small experiment that shows one effect, and say whether it showed and how sure that is. Without a name: "
        "what there is. The same command again continues an interrupted one.",
        "elinvar reproduce rethinking.figure8 --scale smoke",
    )
    made.add_argument("name", type=str, nargs="?", default=None, help="an experiment; default: list them")
    made.add_argument(
        "--scale", type=str, default="small", help="smoke: seconds; small: minutes on two cores; paper: as published"
    )
    made.add_argument("--seeds", type=int, default=3, help="runs; a verdict needs two or more")
    made.add_argument("--data", type=str, default=None, help=f"for --scale paper: {data_forms()}")
    made.add_argument("--out", type=str, default=None, help="where it goes; default: runs/reproduce/NAME-SCALE")
    made.add_argument("--threads", type=int, default=None, help="processor threads; default: all cores")
    add_device(made)
    options = made.parse_args(list(arguments))

    if options.name is None:
        _list(options.json)
        return 0
    if options.scale not in set(Scale):
        raise unknown("scale", options.scale, Scale)
    if options.threads is not None:
        if options.threads < 1:
            raise InputError(f"--threads: got {options.threads}, expected at least 1")
        torch.set_num_threads(options.threads)
    chosen, scale, progress = experiment(options.name), Scale(options.scale), progress_console()
    out = Path(options.out or f"runs/reproduce/{chosen.name}-{scale.value}")
    series = collect(
        chosen, scale, out, seeds=options.seeds, data=options.data, device=device(options.device),
        say=lambda line: say(progress, line),
    )  # fmt: skip
    write_text(out / "findings.json", json_text(series))
    write_text(out / "findings.csv", to_csv(series))
    save(series, out / "figure.png")
    if options.json:
        write_json(to_json(series))
    else:
        _show(series, output_console())
        say(progress, f"wrote {out / 'findings.json'}, findings.csv and figure.png")
    return 0
