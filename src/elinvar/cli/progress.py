"""A progress bar for a run: epoch, loss, test error, time left."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..train import Observer, Report


def bar(console: Console) -> Progress:
    """The one look of all progress bars; nothing where nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("[dim]elapsed"),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class RunBar(Observer):
    """Shows a run on a progress bar that somebody else opened."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.title = progress, title
        self.task = progress.add_task(title, total=None, note="")
        self.loss: float | None = None
        self.error: float | None = None

    def begin(self, steps: int, done: int) -> None:
        self.progress.update(self.task, total=steps, completed=done)

    def step(self, report: Report) -> None:
        self.loss = report.loss if self.loss is None else 0.95 * self.loss + 0.05 * report.loss
        error = "" if self.error is None else f"  test error {self.error:.1f} %"
        self.progress.update(self.task, advance=1, note=f"loss {self.loss:.3f}{error}")

    def epoch(self, row: dict[str, Any]) -> None:
        self.error = row.get("test_error", self.error)

    def close(self) -> None:
        """Take the bar off the screen."""
        self.progress.remove_task(self.task)
