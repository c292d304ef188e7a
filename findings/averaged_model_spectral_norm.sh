#!/usr/bin/env bash
# torch 2.13.0: AveragedModel(use_buffers=True) breaks networks with spectral normalization.
#
# A good guess is that use_buffers=True is the safe choice for a network with BatchNorm: running statistics are averaged
# as the weights are. But every floating-point buffer is averaged, and spectral_norm keeps unit vectors u and v in
# buffers. Their average is shorter than 1, so the weight is divided by an estimate of its norm that is too small: layers
# that must have norm 1 get norms well above 1, and the averaged network predicts worse than either. Averages of all
# floats of a state dict (a common way to write an EMA) have the same fault. Averaging parameters and BatchNorm's running
# statistics, and copying every other buffer, is right.
#
# Seen:
#   torch 2.13.0+cpu
#   trained network: largest norm of a layer 1.04
#   averaged, use_buffers=False: 1.05
#   averaged, use_buffers=True: 16.90
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
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

print("torch", torch.__version__)


def run(use_buffers):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    hidden = [spectral_norm(nn.Linear(a, 64)) for a in (20, 64, 64)]
    network = nn.Sequential(hidden[0], nn.ReLU(), hidden[1], nn.ReLU(), hidden[2], nn.ReLU(), nn.Linear(64, 5))
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=use_buffers)
    optimizer, rule = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9), torch.randn(20, 5)
    for _ in range(1000):
        x = torch.randn(64, 20)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), (x @ rule).argmax(1)).backward()
        optimizer.step()
        average.update_parameters(network)
    return norms(network), norms(average.module)


@torch.no_grad()
def norms(network):
    network.eval()
    return max(float(torch.linalg.matrix_norm(network[place].weight, 2)) for place in (0, 2, 4))


trained, copied = run(False)
_, averaged = run(True)
print(f"trained network: largest norm of a layer {trained:.2f}")
print(f"averaged, use_buffers=False: {copied:.2f}")
print(f"averaged, use_buffers=True: {averaged:.2f}")
sys.exit(not (trained < 1.05 and copied < 1.1 and averaged > 1.5))
PYTHON
