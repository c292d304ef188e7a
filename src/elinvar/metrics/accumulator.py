"""What a metric is that sees its data in pieces."""

from abc import ABC, abstractmethod
from typing import Any


class Accumulator(ABC):
    """`update` with each piece, `compute` at any time, `merge` what another process saw, `reset` to start again.

    The contract is that of torchmetrics. The result does not depend on how the data was cut into pieces.
    """

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything."""

    @abstractmethod
    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take in one piece."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Take in all that `other`, a metric of the same class, has seen."""

    @abstractmethod
    def compute(self) -> Any:
        """The metric of everything seen. Raises `InputError` if that is nothing."""
