#!/bin/sh
# torchvision's SSD learns nothing from a picture without objects.
#
# torchvision 0.29.1, torch 2.14.1.
# Guess: background pictures added to the training set teach an SSD what is no object, as they do a RetinaNet or a
# Faster R-CNN, which count them in their loss.
# Behaviour: hard negatives are mined by picture, three for each default box that has an object; a picture without
# objects has none, so its loss is exactly 0, and so are all gradients of the heads, though the network is random
# and finds thousands of boxes in it. Nothing warns. RetinaNet, with the same picture, gives a loss above 0.
# What to do: mine over the batch, or a least number in every picture (for edgedet: examples/training/negatives.py).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q torch==2.14.1 torchvision==0.29.1
"$folder/env/bin/python" - <<'PYTHON'
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
