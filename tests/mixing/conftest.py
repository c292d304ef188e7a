"""Images to mix, and streams."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from elinvar.rng import streams


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Torch's threads cost more than they gain on what is tested here; tests that want more say so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def noise(
    count: int, channels: int, height: int, width: int, *, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Tensor:
    """Images of independent values: all 256 levels, as uint8 or on unit scale."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, channels, height, width), generator=generator)
    return images.to(dtype) if dtype == torch.uint8 else (images.double() / 255).to(dtype)


def keys(count: int, key: int = 0) -> Tensor:
    return streams(key, torch.arange(count))
