#!/usr/bin/env bash
# PyTorch's bilinear interpolation on the CPU: does the number of threads change the pixels?
# Versions: torch 2.15.0, numpy 2.4.6 (seen on an Intel Xeon with AVX-512).
# Guess: every output pixel is mixed of the same four, so that threads share out the work and no bit of it.
# Real:  one thread takes other roundings than two or more, which agree among themselves to the bit. Where 425 rows become
#        384, a third of the values differ, the worst by 0.004 of 255: the rank of two nearly equal proposals can turn.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.15.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import torch
from torch.nn.functional import interpolate

image = torch.rand(1, 3, 425, 640, generator=torch.Generator().manual_seed(0)) * 255


def resized(threads):
    torch.set_num_threads(threads)
    return interpolate(image, size=(384, 384), mode="bilinear", align_corners=False)


one, two, three = (resized(threads) for threads in (1, 2, 3))
apart = (one - two).abs()
print(f"{torch.backends.cpu.get_cpu_capability()}: one thread and two differ in {float((apart > 0).float().mean()):.0%} of")
print(f"the values, by {float(apart.max()):.4f} of 255 at most; two and three in {int((two != three).sum())}")
assert torch.equal(one, resized(1)) and torch.equal(two, three)
assert apart.max() > 0.001
PYTHON
