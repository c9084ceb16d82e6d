"""Mask R-CNN against torchvision, object by object, on photographs of coco128: are the masks the same?

    python benchmarks/mask_parity.py [--photographs 128] [--only mobilenet|resnet] [--scenes] [--others]
    python benchmarks/mask_parity.py --checkpoint build/cells/masks.pt [--folder FOLDER]

Both architectures with weights of a seed that have seen the first eight photographs (``--scenes``: two rendered
scenes in their place, on which photographs are magnified with all that is rounded in them), ResNet50's residual
branches as light as in trained ones (``RESIDUAL`` of tests/export/mask_networks.py); or a trained network
(benchmarks/int8_masks.py makes one). A graph for every size of photograph. For every object that both find: the IoU
of our pixels with those torchvision pasted itself. torchvision cuts the corners of an enlarged box to whole pixels,
so that a corner that another rounding moves past a whole number moves the whole mask by a pixel.
*itself*: torchvision against itself in double precision, and edgedet against torchvision in double precision: how
far either is from what the network means, beside how far they are from one another. ``--others`` prints every
object below the bar. Photographs of one size come together, the commonest sizes first.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

COCO128 = Path(os.environ.get("EDGEDET_SHARED", ROOT.parent / "shared")) / "data" / "coco128"
REQUIRED_IOU, REQUIRED = 0.99, 0.995
Found = tuple[Any, Any]
"""Detections, and a full-frame mask bool [H, W] of each."""


@dataclass
class Agreement:
    """Objects compared.

    ``alone``: found by one side only. ``ious``: of every pair's pixels. ``below``: pairs below the bar, ``moved``
    those of them whose corners are other whole pixels. ``corners``: the largest difference of a corner of each
    pair, pixels of the frame.
    """

    objects: int = 0
    alone: int = 0
    ious: list[float] = field(default_factory=list)
    moved: int = 0
    below: int = 0
    corners: list[float] = field(default_factory=list)

    def share(self) -> float:
        """Share of the pairs that reach the bar."""
        return float(np.mean(np.array(self.ious) >= REQUIRED_IOU)) if self.ious else 0.0

    def text(self) -> str:
        """The comparison in a line."""
        good, corners = len(self.ious) - self.below, np.array(self.corners or [0.0])
        return (
            f"{good} of {len(self.ious)} objects ({self.share():.2%}) with an IoU of at least {REQUIRED_IOU}, "
            f"worst {min(self.ious, default=0):.3f}; {self.moved} of the {self.below} others begin or end at other "
            f"pixels; {self.alone} of {self.objects} without a partner; corners {corners.max():.1e} apart at most, "
            f"{np.median(corners):.1e} in the middle"
        )


def compare(theirs: Found, ours: Found, into: Agreement, show: Callable[[str], None]) -> None:
    """Add what two sides found in one frame."""
    from edgedet.masks.box_masks import _stretched
    from edgedet.proof.parity import Tolerance, match_detections

    reference, candidate = theirs[0], ours[0]
    matched = match_detections(reference, candidate, Tolerance(min_score=0.06))
    into.objects += matched.reference_count
    into.alone += len(matched.missing) + len(matched.extra)
    for number, other in matched.pairs:
        first, second = theirs[1][number], ours[1][other]
        union = int((first | second).sum())
        iou = int((first & second).sum()) / union if union else 1.0
        into.ious.append(iou)
        apart = float(np.abs(reference.boxes[number] - candidate.boxes[other]).max())
        into.corners.append(apart)
        if iou < REQUIRED_IOU:
            corners = [_stretched(box, 28) for box in (reference.boxes[number], candidate.boxes[other])]
            into.below += 1
            into.moved += corners[0] != corners[1]
            show(f"IoU {iou:.4f} of {union} pixels, corners {apart:.1e} apart, whole pixels {corners[0]} and "
                 f"{corners[1]}, box {reference.boxes[number].tolist()}")  # fmt: skip


def photographs(folder: Path, count: int) -> list[tuple[str, np.ndarray]]:
    """Names and BGR frames."""
    from edgedet.pictures.image_file import read_image

    return [(path.name, read_image(path)) for path in sorted(folder.rglob("*.jpg"))[:count]]


def examples() -> tuple[Path, ...]:
    """Photographs for networks to see."""
    return tuple(sorted(COCO128.rglob("*.jpg"))[:8])


def by_size(pictures: Sequence[tuple[str, np.ndarray]]) -> list[list[tuple[str, np.ndarray]]]:
    """Photographs of one size together, most first."""
    groups: dict[tuple[int, ...], list[tuple[str, np.ndarray]]] = {}
    for name, frame in pictures:
        groups.setdefault(frame.shape, []).append((name, frame))
    return sorted(groups.values(), key=len, reverse=True)


def checkpoint(path: Path, **settings: int) -> tuple[dict[str, Any], Any]:
    """A checkpoint of examples/train.py, which says its sizes, and its model with other ``settings``."""
    import torch

    from edgedet.export.families.torchvision_architectures import build
    from edgedet.export.training.settings import SECTION

    saved = torch.load(path, weights_only=True)
    sizes = {name: saved[SECTION][name] for name in ("min_size", "max_size")}
    return saved, build(saved["arch"], saved["num_classes"], saved["state_dict"], **sizes, **settings).eval()


def measure(arch: str, model: Any, pictures: Sequence[tuple[str, np.ndarray]], *, others: bool) -> bool:
    """Print what agrees; whether the bar is met."""
    from edgedet.export.built_graph import card_of
    from edgedet.export.embedded_card import embed, opened
    from edgedet.export.families import faster_rcnn
    from edgedet.export.families.base import GraphOptions
    from edgedet.export.finished_graph import checked
    from edgedet.export.for_cpu.interleaved import read_interleaved
    from edgedet.export.for_cpu.winograd import add_winograd
    from tests.export.families.test_mask_head import torchvisions

    names = tuple(f"class {number}" for number in range(1, model.roi_heads.box_predictor.cls_score.out_features))
    exact = copy.deepcopy(model).double()
    results = {what: Agreement() for what in ("edgedet", "itself in double", "edgedet against that")}

    def show(begin: str, text: str) -> None:
        if others:
            print(begin + text, flush=True)

    done = 0
    for group in by_size(pictures):
        height, width = group[0][1].shape[:2]
        exported = faster_rcnn.export(model, GraphOptions(pooling="products"), frame_size=(width, height))
        graph = read_interleaved(add_winograd(checked(exported.model, nms="graph")))
        with opened(embed(graph, card_of(exported, "faster_rcnn", arch, names))) as detector:
            for name, frame in group:
                found = detector.detect(frame)
                assert found.masks is not None
                ours = (found, list(found.masks.dense()))
                theirs, in_double = (torchvisions(each, frame) for each in (model, exact))
                for what, first, second in zip(
                    results, (theirs, theirs, in_double), (ours, in_double, ours), strict=True
                ):
                    compare(first, second, results[what], partial(show, f"  {name}, {what}: "))
                done += 1
        for what, result in results.items():
            print(f"{arch}, {done} photographs, {what}: {result.text()}", flush=True)
    return results["edgedet"].share() >= REQUIRED


def main() -> int:
    """Measure; 1 where the bar is not met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=int, default=128)
    parser.add_argument("--only", choices=["mobilenet", "resnet"], default="")
    parser.add_argument("--scenes", action="store_true", help="networks that have seen rendered scenes")
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--checkpoint", type=Path, help="a trained Mask R-CNN in place of weights of a seed")
    parser.add_argument("--folder", type=Path, default=COCO128, help="of the photographs (coco128)")
    arguments = parser.parse_args()
    pictures = photographs(arguments.folder, arguments.photographs)
    if arguments.checkpoint is not None:
        saved, model = checkpoint(arguments.checkpoint)
        networks = [(saved["arch"], model)]
    else:
        from tests.export.families.test_mask_head import ARCHITECTURES, PHOTOGRAPHS
        from tests.export.mask_networks import mask_network

        how = PHOTOGRAPHS | {
            "full": True,
            "spread": 0.5,
            "examples": () if arguments.scenes else examples(),
        }
        networks = [(arch, mask_network(arch, 6, **how)) for arch in ARCHITECTURES if arguments.only in arch]
    met = [measure(arch, model, pictures, others=arguments.others) for arch, model in networks]
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
