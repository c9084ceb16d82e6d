"""Write down what a torchvision detector finds, for `edgedet export --reference` and `edgedet parity --reference`.

    python examples/reference_boxes.py weights.pth --arch fasterrcnn_resnet50_fpn --classes camera,phone \
        --out boxes.json photos/*.jpg

In your own training code only `write_boxes` is needed, with your own model and your own way of making its input:
whatever the two know of anchors, sizes, mean and standard deviation goes into the boxes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torchvision.models import detection
from torchvision.transforms.functional import to_tensor


@torch.inference_mode()
def write_boxes(model: Any, classes: list[str], pictures: list[str], out: str) -> None:
    """`classes` without the background. Boxes in pixels of the upright picture."""
    images, results = [], []
    for number, name in enumerate(pictures):
        image = ImageOps.exif_transpose(Image.open(name)).convert("RGB")
        images.append({"id": number, "file_name": name, "width": image.width, "height": image.height})
        (found,) = model.eval()([to_tensor(image)])
        for (x1, y1, x2, y2), label, score in zip(
            found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            results.append({"image_id": number, "category_id": label, "bbox": box, "score": score})
    categories = [{"id": label, "name": name} for label, name in enumerate(classes, start=1)]
    content = {"images": images, "categories": categories, "results": results}
    Path(out).write_text(json.dumps(content))


def load(checkpoint: str, arch: str | None, classes: list[str] | None) -> tuple[Any, list[str]]:
    """A model and its class names, from a state_dict, or a dict with one."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content.get("model", content))
    arch, classes = arch or content.get("arch"), classes or content.get("classes")
    if arch is None or classes is None:
        raise SystemExit(f"{checkpoint} does not say its arch and classes; add --arch and --classes")
    model = getattr(detection, arch)(weights=None, weights_backbone=None, num_classes=len(classes) + 1)
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    )
    return model, list(classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--arch", help="torchvision's name, where the checkpoint does not say")
    parser.add_argument("--classes", type=lambda text: text.split(","), help="a,b,c without the background")
    parser.add_argument("--out", default="boxes.json")
    arguments = parser.parse_args()
    model, classes = load(arguments.checkpoint, arguments.arch, arguments.classes)
    write_boxes(model, classes, arguments.pictures, arguments.out)


if __name__ == "__main__":
    main()
