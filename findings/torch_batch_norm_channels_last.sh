#!/usr/bin/env bash
# torch 2.13.0, CPU, one thread: BatchNorm2d in training measures another variance when the same tensor is channels_last.
#
# A good guess is that the memory format changes speed, not numbers. It changes numbers: the channels_last kernel adds up
# a channel's values in one float32 running sum, the contiguous one does not. For 8 x 3 x 224 x 224 values of mean 1,000
# and standard deviation 1 the variance comes out 8 times too large, so the normalized output has a standard deviation of
# 0.35 in place of 1. For pixels from 0 to 255 it is wrong in the fifth digit. With two threads the error nearly vanishes,
# so the same program gives other numbers on a machine with another number of cores.
#
# Seen:
#   torch 2.13.0+cpu
#   mean 1,000, SD 1: variance / exact: contiguous 1.0000, channels_last 8.06, output SD 0.353
#   pixels 0..255: relative error: contiguous 5e-08, channels_last 6e-05
#
# Exit 0: as described. Exit 1: this has changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch import nn

torch.set_num_threads(1)
generator = torch.Generator().manual_seed(0)
print("torch", torch.__version__)


def variance(x, layout):
    layer = nn.BatchNorm2d(3, momentum=1.0)  # running_var is the variance of this batch
    y = layer(x.contiguous(memory_format=layout)).detach()
    ratio = layer.running_var.double() / x.double().var((0, 2, 3))
    return float((ratio - 1).abs().max()), float(ratio.max()), float(y.std())


far = 1000 + torch.randn(8, 3, 224, 224, generator=generator)
plain, last = variance(far, torch.contiguous_format), variance(far, torch.channels_last)
print(f"mean 1,000, SD 1: variance / exact: contiguous {plain[1]:.4f}, channels_last {last[1]:.2f}, output SD {last[2]:.3f}")
pixels = torch.randint(0, 256, (8, 3, 224, 224), generator=generator).float()
plain_pixels, last_pixels = variance(pixels, torch.contiguous_format), variance(pixels, torch.channels_last)
print(f"pixels 0..255: relative error: contiguous {plain_pixels[0]:.0e}, channels_last {last_pixels[0]:.0e}")
as_described = plain[0] < 1e-5 and last[1] > 4 and last[2] < 0.6 and plain_pixels[0] < 1e-6 and last_pixels[0] > 1e-5
sys.exit(not as_described)
PYTHON
