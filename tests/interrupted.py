"""Whoever stops a run in its middle, for tests of what goes on afterwards."""

from elinvar.train import Observer, Report


class Stop(Observer):
    """Interrupts a run after some steps."""

    def __init__(self, after: int) -> None:
        self.left = after

    def step(self, report: Report) -> None:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
