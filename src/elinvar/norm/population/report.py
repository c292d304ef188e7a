"""What a procedure measured, how far the memory was from it, and the way back."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class LayerReport:
    """One layer: what was seen of each channel, and how far the former memory was from what was written.

    name             in the model
    count            values of each channel
    calls            how often the layer ran in one forward; above 1 its statistics are pooled over the calls
    partial          whether some examples passed without being measured (layerwise, where control flow differs)
    shift            |old mean - new mean| / sqrt(new variance + eps): "sigma units"
    ratio            (old variance + eps) / (new variance + eps)
    standard_error   of the measured mean, in sigma units, taking batches as independent draws; NaN for one batch.
                     Use more examples where it is not far below `shift`
    """

    name: str
    count: int
    calls: int
    partial: bool
    shift: Float64[Tensor, " channels"]
    ratio: Float64[Tensor, " channels"]
    standard_error: Float64[Tensor, " channels"]

    def __str__(self) -> str:
        notes = [f"{self.calls} calls pooled"] * (self.calls > 1) + ["partial"] * self.partial
        low, high = self.ratio.min().item(), self.ratio.max().item()
        shift, worst = self.shift.median().item(), self.shift.max().item()
        text = f"{self.name:<32} {shift:8.3f} {worst:8.3f}   {low:7.3f} to {high:7.3f}"
        return f"{text}   {', '.join(notes)}".rstrip()


@dataclass(frozen=True)
class PopulationReport:
    """What `precise` or `adapt` did. `print` it for a table of the layers whose memory was farthest off.

    method      "joint" or "layerwise"
    examples    how many were measured, on all workers together
    batches     their sizes
    layers      what was written, in the order of the model
    unused      layers that no forward reached; they keep their memory
    frozen      layers that were left alone because they are frozen
    forgetful   layers without memory: they normalize by the batch at hand
    passes      how often an example went through a layer, on average: 1 where nothing was computed twice
    """

    method: str
    examples: int
    batches: tuple[int, ...]
    layers: tuple[LayerReport, ...]
    unused: tuple[str, ...]
    frozen: tuple[str, ...]
    forgetful: tuple[str, ...]
    passes: float
    _undo: Callable[[], None] = field(repr=False)

    def undo(self) -> None:
        """Give every written layer the memory that it had before. Raises `InputError` if the layer is gone."""
        self._undo()

    def __str__(self) -> str:
        worst = sorted(self.layers, key=lambda layer: -layer.shift.median().item())[:5]
        sizes = sorted(set(self.batches))
        of = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        lines = [
            f"{self.method} statistics of {len(self.layers)} layers from {self.examples:,} examples in batches of {of}",
            "the memory was off by   |mean| in sigma: median      max   variance, old / new",
            *map(str, worst),
        ]
        for title, names in (("unused", self.unused), ("frozen", self.frozen), ("without memory", self.forgetful)):
            if names:
                lines.append(f"{title}: {', '.join(names)}")
        return "\n".join(lines)
