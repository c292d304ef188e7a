"""Accumulators inside of torchmetrics' collections, for those who have torchmetrics."""

from functools import cache, wraps
from importlib import import_module
from typing import Any

from ..check import InputError
from .accumulator import Accumulator


def as_torchmetrics(accumulator: Accumulator, **settings: Any) -> Any:
    """A `torchmetrics.Metric` around an accumulator: for `MetricCollection`, Lightning's `self.log`, and the like.

    It has the class name of the accumulator, which is under `.accumulator`. Processes are gathered by the accumulator,
    after `process_group` and `sync_on_compute` of `settings`, which go to `torchmetrics.Metric`.

    Raises `InputError` where torchmetrics is not installed.
    """
    return _wrapper(type(accumulator))(accumulator, **settings)


@cache
def _wrapper(kind: type[Accumulator]) -> Any:
    try:
        base: Any = import_module("torchmetrics").Metric
    except ImportError as error:
        raise InputError(
            "torchmetrics is not installed: pip install torchmetrics, or use the accumulator itself"
        ) from error

    def start(self: Any, accumulator: Accumulator, **settings: Any) -> None:
        base.__init__(self, **settings)
        self.accumulator, self.settings = accumulator, settings

    @wraps(kind.update)
    def update(self: Any, *args: Any, **kwargs: Any) -> None:
        self.accumulator.update(*args, **kwargs)

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        self._computed, self._update_count = None, self._update_count + 1
        return self.accumulator(*args, **kwargs)

    def compute(self: Any) -> Any:
        if not self.sync_on_compute:
            return self.accumulator.value()
        self.accumulator.group = self.process_group
        return self.accumulator.compute()

    def reset(self: Any) -> None:
        base.reset(self)
        if "accumulator" in vars(self):
            self.accumulator.reset()

    body = {
        "__init__": start,
        "__reduce__": lambda self: (_rebuilt, (self.accumulator, self.settings, self._update_count)),
        "update": update,
        "forward": forward,
        "compute": compute,
        "reset": reset,
        "full_state_update": False,
    }
    return type(kind.__name__, (base,), body)


def _rebuilt(accumulator: Accumulator, settings: dict[str, Any], updates: int) -> Any:
    metric = as_torchmetrics(accumulator, **settings)
    metric._update_count = updates
    return metric
