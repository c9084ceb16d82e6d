"""Render a labelled dataset of wearable's-view scenes, as COCO JSON and JPEG files.

    python examples/render.py build/scenes --count 5000 --seed 0
    python examples/render.py build/visits --count 5000 --seed 4 --kind visit
    python examples/render.py build/outlined --count 5000 --seed 1 --outlines

Gives build/scenes/instances_scenes.json and build/scenes/scenes/*.jpg; edgedet reads it as
build/scenes/instances_scenes.json. Scene N of seed S is the same on every machine with the same OpenCV.

Visits are frames of clips: things that look like devices, and in every other frame a camera that is pointed at the
wearer. An alert that must never be false is trained on those.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edgedet.datasets.outlines import pixels_outline
from examples.scenes.scene import NAMES, Scene, render_scene, render_visit

SEED_STEP = 1_000_000
"""Datasets of different seeds share no scene as long as they have fewer than so many."""


def main() -> int:
    """Render and write; an interrupted run leaves no JSON file, so nothing takes it for whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--count", type=int, default=1000, help="scenes (1000)")
    parser.add_argument("--seed", type=int, default=0, help="which scenes (0)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), default=(480, 360))
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("--kind", choices=tuple(KINDS), default="scene", help="what is rendered (scene)")
    parser.add_argument("--outlines", action="store_true", help="also write which pixels each object has")
    arguments = parser.parse_args()
    if arguments.count < 1 or min(arguments.size) < 64 or not 0 <= arguments.seed < 2000:
        parser.error("expected --count of 1 or more, --size of 64x64 or more, --seed from 0 to 1999")
    path = write_dataset(
        arguments.out,
        arguments.count,
        arguments.seed,
        size=tuple(arguments.size),
        workers=arguments.workers,
        kind=arguments.kind,
        outlines=arguments.outlines,
    )
    print(path)
    return 0


def write_dataset(
    out: Path,
    count: int,
    seed: int,
    *,
    size: tuple[int, int] = (480, 360),
    workers: int = 1,
    kind: str = "scene",
    outlines: bool = False,
) -> Path:
    """Render ``count`` pictures of (width, height), of a kind of ``KINDS``, into ``out``; the COCO JSON file.

    ``outlines``: every object also has its ``segmentation``, as COCO's compressed run lengths.
    """
    pictures = out / "scenes"
    pictures.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    render = partial(_render, pictures, seed * SEED_STEP, size, KINDS[kind], outlines=outlines)
    for index, objects in enumerate(_map(render, count, workers)):
        images.append({"id": index, "file_name": f"{index:06d}.jpg", "width": size[0], "height": size[1]})
        for found in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": index} | found)
        if sys.stderr.isatty() and index % 50 == 0:
            print(f"\r{index}/{count} scenes", end="", file=sys.stderr)
    categories = [{"id": label, "name": name} for label, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = out / "instances_scenes.json"
    partial_path = path.with_suffix(".partial")
    partial_path.write_text(json.dumps(content))
    partial_path.replace(path)
    return path


def _map(render: partial[list[dict[str, Any]]], count: int, workers: int) -> Iterator[list[dict[str, Any]]]:
    if workers <= 1:
        yield from map(render, range(count))
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(render, range(count), chunksize=8)


def _visit(seed: int, *, width: int, height: int) -> Scene:
    """One frame of a visit, with the camera in every other one: stepping in, there, or stepping out."""
    comes = -int(np.random.default_rng(seed).integers(0, 10)) if seed % 2 else None
    return next(render_visit(seed, 1, comes=comes, goes=10, width=width, height=height))


KINDS: dict[str, Callable[..., Scene]] = {"scene": render_scene, "visit": _visit}


def _render(
    pictures: Path,
    first: int,
    size: tuple[int, int],
    render: Callable[..., Scene],
    index: int,
    *,
    outlines: bool,
) -> list[dict[str, Any]]:
    """Write scene ``index`` and return what COCO says of each of its objects."""
    cv2.setNumThreads(1)
    scene = render(first + index, width=size[0], height=size[1])
    cv2.imwrite(str(pictures / f"{index:06d}.jpg"), scene.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    objects: list[dict[str, Any]] = []
    for place, (box, label) in enumerate(zip(scene.boxes, scene.labels, strict=True)):
        left, top, right, bottom = map(float, box)
        bounds = [left, top, right - left, bottom - top]
        found = {"category_id": int(label), "bbox": bounds, "area": bounds[2] * bounds[3], "iscrowd": 0}
        if outlines:
            seen = scene.owner == place
            found |= {"area": int(seen.sum()), "segmentation": pixels_outline(seen)}
        objects.append(found)
    return objects


if __name__ == "__main__":
    sys.exit(main())
