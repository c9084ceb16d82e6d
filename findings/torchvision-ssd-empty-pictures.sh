#!/usr/bin/env bash
# torchvision's SSD on pictures without objects: do they teach it what is none?
# Versions: torch 2.14.1, torchvision 0.29.1.
# Guess: they add to the loss, as they do for a RetinaNet or a Faster R-CNN.
# Real:  hard negatives are mined by picture, three for each default box with an object; without one the loss is exactly
#        0, and so is every gradient, though the network is random. Nothing warns. The same pictures teach a RetinaNet.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 torchvision==0.29.1
venv/bin/python - <<'PYTHON'
import torch
from torchvision.models.detection import retinanet_resnet50_fpn, ssdlite320_mobilenet_v3_large

torch.manual_seed(0)
pictures = [torch.rand(3, 320, 320) for _ in range(2)]
empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)} for _ in pictures]
found = {}
for name, build in (("SSDLite", ssdlite320_mobilenet_v3_large), ("RetinaNet", retinanet_resnet50_fpn)):
    model = build(weights=None, weights_backbone=None, num_classes=3).train()
    loss = sum(model(pictures, empty).values())
    loss.backward()
    gradient = max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None)
    found[name] = float(loss.detach()), gradient
    print(f"{name}: loss of two pictures without objects {found[name][0]:.4f}, largest gradient {gradient:.2g}")
assert found["SSDLite"] == (0.0, 0.0), "an SSD learns from empty pictures now"
assert found["RetinaNet"][0] > 0 and found["RetinaNet"][1] > 0, "a RetinaNet learns nothing from them"
PYTHON
