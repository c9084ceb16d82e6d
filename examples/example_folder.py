"""Make the files that the examples of the API reference open: python examples/example_folder.py FOLDER

Every example of the Python documentation runs inside this folder (the tests run all of them there), without a
network, a GPU or a trained detector. In it are

    model.onnx          a graph of edgedet's, 64 x 64: finds one bright rectangle (blue, green or red)
    slow.onnx           the same at 256 x 256, for comparisons
    segmenter.onnx      a graph of edgedet's, 64 x 64: tells blue, green, red and background apart
    yolo.onnx           the same detector as Ultralytics exports its own
    tiny.onnx           a float graph of five layers with random weights, 32 x 32, quantised in seconds
    spiky.onnx          the same with one channel a thousand times as large as the others, which INT8 spoils
    frame.png           a frame with a green rectangle
    photos/             twelve such frames, 96 x 72, of all three colours
    photos/labels.json  their boxes, as COCO JSON
    maps/               three frames in images/, and in labels/ the class of each pixel, as PNGs
    bench.json          what ``edgedet bench model.onnx slow.onnx --json bench.json`` writes, measured briefly
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from colour_segmenter import save_segmenter
from rectangle_detector import NAMES, frame_with_rectangle, save_foreign_graph, save_rectangle_graph
from tiny_detector import card, tiny_detector

from edgedet.artifacts.card import METADATA_KEY
from edgedet.bench import BenchOptions, Rules, load_frames, run_bench, write_result

PHOTOS = 12
HEIGHT, WIDTH = 72, 96


def main() -> int:
    """Make the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to make, or to write into")
    write_examples(parser.parse_args().folder)
    return 0


def write_examples(folder: Path) -> None:
    """Write every file into ``folder``, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    save_rectangle_graph(folder / "model.onnx", conf=0.001)
    save_rectangle_graph(folder / "slow.onnx", height=256, width=256, conf=0.001)
    save_segmenter(folder / "segmenter.onnx")
    save_foreign_graph(folder / "yolo.onnx")
    for name, hostile in (("tiny.onnx", None), ("spiky.onnx", "widen")):
        graph = tiny_detector(hostile=hostile)
        onnx.helper.set_model_props(graph, {METADATA_KEY: card().to_json()})
        onnx.save(graph, str(folder / name))
    _write_photos(folder / "photos")
    cv2.imwrite(str(folder / "frame.png"), frame_with_rectangle(HEIGHT, WIDTH, (24, 18, 60, 54)))
    _write_maps(folder / "maps")
    _write_benchmark(folder)


def _write_maps(folder: Path) -> None:
    """Frames with one rectangle each, and labels of their pixels by the numbers of segmenter.onnx."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(len(NAMES)):
        left, top = 8 + 4 * number, 8
        frame = frame_with_rectangle(64, 64, (left, top, left + 24, top + 16), channel=number)
        labels = np.zeros((64, 64), np.uint8)
        labels[top : top + 16, left : left + 24] = 1 + number
        cv2.imwrite(str(folder / "images" / f"{number:02d}.png"), frame)
        cv2.imwrite(str(folder / "labels" / f"{number:02d}.png"), labels)
    (folder / "classes.txt").write_text("\n".join(("background", *NAMES)) + "\n")


def _write_photos(folder: Path) -> None:
    """Frames with one rectangle each, at different places, and their labels."""
    folder.mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(PHOTOS):
        left, top, label = 6 + 3 * number, 4 + 2 * number, number % len(NAMES)
        box = (left, top, left + 30, top + 24)
        name = f"{number:02d}.png"
        cv2.imwrite(str(folder / name), frame_with_rectangle(HEIGHT, WIDTH, box, channel=label))
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": label,
                "bbox": [left, top, 30, 24],
                "area": 30 * 24,
                "iscrowd": 0,
            }
        )
    categories = [{"id": label, "name": name} for label, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))


def _write_benchmark(folder: Path) -> None:
    """Enough blocks for a verdict, and no more."""
    rules = Rules(warmup_frames=5, warmup_seconds=0.01, frames=20, seconds=0.3, max_seconds=2.0, turn_seconds=0.01)
    options = BenchOptions(rules, threads=1, batches=(1,), streams=(1,), load_seconds=0.05, cold_starts=1)
    frames = load_frames(folder / "photos", count=4)
    paths = [folder / "model.onnx", folder / "slow.onnx"]
    write_result(run_bench(paths, frames, options), folder / "bench.json")


if __name__ == "__main__":
    sys.exit(main())
