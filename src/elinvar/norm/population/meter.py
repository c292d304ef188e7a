"""How far a procedure is: a bar on a terminal, or a callback of the user's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Meter = Callable[[int, int | None, str], None]
"""(done, total, note): examples, or examples times layers, so far and in all (None: unknown); what is done just now"""


@contextmanager
def metered(progress: bool | Meter, title: str, *, first: bool) -> Iterator[Meter]:
    """A meter for the duration. `first` is whether this is the worker that may show a bar."""
    if progress is False or not first:
        yield lambda done, total, note: None
        return
    if progress is not True:
        yield progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[share]}"),
        TextColumn("[dim]elapsed"),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, note="", share="")

        def show(done: int, total: int | None, note: str) -> None:
            share = f"{done:,}" if total is None else f"{100 * done / max(total, 1):3.0f} %"
            bar.update(task, completed=done, total=total, note=note, share=share)

        yield show
