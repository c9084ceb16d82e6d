#!/usr/bin/env bash
# How the image processors of RT-DETR and of RF-DETR make a picture smaller.
# Versions: transformers 5.24.0, torch 2.14.1, torchvision 0.29.1.
# Guess: two processors of one library, both "bilinear" by their own settings, give the same pixels.
# Real:  RTDetrImageProcessor resizes bytes with antialiasing; RfDetrImageProcessor turns them into floats first and
#        resizes without: thin white lines become grey in one and vanish from the other. Whoever exports a detector
#        by the other's rule moves its boxes, and no setting in preprocessor_config.json tells which rule it is.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 numpy==2.4.6
HF_HUB_OFFLINE=1 venv/bin/python - <<'PYTHON'
import numpy as np
from transformers import RfDetrImageProcessor, RTDetrImageProcessor

size = {"height": 64, "width": 64}
picture = np.zeros((384, 384, 3), np.uint8)
picture[::6] = 255  # white lines, a sixth of the picture
found = {}
for kind in (RTDetrImageProcessor, RfDetrImageProcessor):
    processor = kind(size=size, do_normalize=False, do_pad=False)
    pixels = processor(images=picture, return_tensors="np")["pixel_values"][0]
    found[kind.__name__] = float(pixels.mean())
    print(f"{kind.__name__}: {processor.resample!r}, mean value {pixels.mean():.3f} of {1 / 6:.3f}")
assert abs(found["RTDetrImageProcessor"] - 1 / 6) < 0.01
assert found["RfDetrImageProcessor"] == 0
PYTHON
