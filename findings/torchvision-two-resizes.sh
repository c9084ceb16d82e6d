#!/usr/bin/env bash
# torchvision's two namespaces: do transforms.functional.resize and transforms.v2.functional.resize give the same bytes?
# Versions: torchvision 0.29.2, torch 2.15.0, Pillow 13.0.0 (seen on an Intel Xeon with AVX-512).
# Guess: v2 is the other's replacement with the same arguments: of one uint8 tensor, both with antialias, the bytes agree.
# Real:  a tenth of the values are one grey level apart. The older one computes in float32 and rounds; v2 has PyTorch's
#        uint8 kernel, which nearly gives Pillow's bytes. A preset of the older kind (torchvision's for segmentation) on
#        tensors thus differs from itself on Pillow images, by more than v2 does.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 pillow==13.0.0
venv/bin/python - <<'PYTHON'
import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as older
from torchvision.transforms.v2 import functional as newer

image = torch.randint(0, 256, (3, 480, 640), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
resized = {"v1": older.resize(image, [128, 170], antialias=True), "v2": newer.resize(image, [128, 170], antialias=True)}
picture = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((170, 128), Image.Resampling.BILINEAR)
resized["Pillow"] = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
shares = {}
for one, two in (("v1", "v2"), ("v1", "Pillow"), ("v2", "Pillow")):
    apart = (resized[one].int() - resized[two].int()).abs()
    shares[one, two] = float((apart > 0).float().mean())
    print(f"{one} and {two}: {shares[one, two]:.2%} of the values differ, by {int(apart.max())} at most")
assert shares["v1", "v2"] > 0.05 and shares["v1", "Pillow"] > 0.05 and shares["v2", "Pillow"] < 0.01
PYTHON
