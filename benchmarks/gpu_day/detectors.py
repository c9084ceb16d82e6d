"""The detectors that are prepared, one of each family: trained ones where they are, small ones elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgedet.export.options import ExportOptions
from gpu_day.inputs import SCENES

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINT = REPOSITORY / "examples" / "sample" / "camera_phone_ssdlite320.pt"
CALIBRATION_SCENES = 24
COCO_PICTURES = 48
"""Pictures out of 128: those of a second kind of detector, which need not fill the first piece."""

Making = Callable[[Path], Path]
"""Gives a file, made in the folder that it is handed where it is not there yet."""


@dataclass(frozen=True)
class Pictures:
    """``judge``: a labelled dataset, whose first ``count`` judge engines; ``calib``: what calibrates int8."""

    name: str
    judge: str
    calib: str
    count: int | None = None


@dataclass(frozen=True)
class Prepared:
    """A detector to prepare.

    ``source``: the file to export. ``options``: of every precision. ``pictures``: None where weights are random;
    int8 is calibrated on made pictures then. ``level``: of the builder's optimisation. ``rival``: its checkpoint is
    torchvision's own, and goes along.
    """

    name: str
    family: str
    source: Making
    options: ExportOptions = field(default_factory=ExportOptions)
    pictures: Callable[[Path], Pictures] | None = None
    level: int = 1
    rival: bool = False


def shared_folder() -> Path:
    """Folder in which real models and pictures may be."""
    return Path(os.environ.get("EDGEDET_SHARED") or REPOSITORY.parent / "shared")


def detectors(shared: Path, scenes: int = SCENES) -> list[Prepared]:
    """Those there are, most telling first; small ones for families of which no other is here. ``scenes``: rendered
    ones that judge the sample detector."""
    found = list(_trained(shared)) or [_sample(scenes)]
    families = {detector.family for detector in found}
    return found + [detector for detector in SMALL if detector.family not in families]


def _trained(shared: Path) -> Iterator[Prepared]:
    models, data = shared / "models", shared / "data"
    bccd, coco = data / "bccd", data / "coco128"
    cells = Pictures("bccd", f"{bccd}:test", f"{bccd}:train")
    for name, family, checkpoint in (
        ("ssdlite", "ssd", "ssdlite320_mobilenet_v3_large_bccd.pt"),
        ("fasterrcnn", "faster_rcnn", "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt"),
    ):
        if (models / checkpoint).is_file() and bccd.is_dir():
            yield Prepared(
                name,
                family,
                _existing(models / checkpoint),
                ExportOptions(frame_size=(640, 480)),
                lambda folder: cells,
                level=3,
                rival=family == "faster_rcnn",
            )
    yolox = models / "yolox_nano.onnx"
    if yolox.is_file() and coco.is_dir():
        from edgedet.datasets import read_dataset

        judge, calib = (str(coco / f"instances_{split}2017.json") for split in ("val", "train"))
        names = tuple(read_dataset(judge).names)
        options = ExportOptions(family="yolox", classes=names, frame_size=(640, 480), conf=0.01)
        objects = Pictures("coco", judge, calib, COCO_PICTURES)
        yield Prepared("yolox", "yolox", _existing(yolox), options, lambda folder: objects)


def _existing(path: Path) -> Making:
    return lambda folder: path


def _sample(scenes: int) -> Prepared:
    """The trained detector that comes with the repository, on rendered scenes."""
    return Prepared(
        "sample",
        "ssd",
        _existing(CHECKPOINT),
        ExportOptions(frame_size=(480, 360)),
        lambda folder: _scenes(folder, scenes),
        level=3,
    )


def _scenes(folder: Path, count: int) -> Pictures:
    from examples.render import write_dataset

    judge = write_dataset(folder / "scenes", count, seed=5)
    calib = write_dataset(folder / "calibration", min(count, CALIBRATION_SCENES), seed=3)
    return Pictures("scenes", str(judge), str(calib))


def _one_stage(family: Literal["yolo", "yolox"]) -> Making:
    def make(folder: Path) -> Path:
        from tests.export.one_stage import save_one_stage

        save_one_stage(folder / f"{family}.onnx", family)
        return folder / f"{family}.onnx"

    return make


def _transformer(folder: Path) -> Path:
    from tests.export.hugging_face_models import save

    return save("rt_detr", folder / "rt_detr")


def _faster_rcnn(folder: Path) -> Path:
    import torch

    from edgedet.export.families.torchvision_architectures import build

    torch.manual_seed(0)
    arch = "fasterrcnn_mobilenet_v3_large_320_fpn"
    module: Any = build(arch, 4, min_size=160, max_size=320)
    content = {"arch": arch, "num_classes": 4, "classes": ["a", "b", "c"], "state_dict": module.state_dict()}
    torch.save(content, folder / "fasterrcnn.pt")
    return folder / "fasterrcnn.pt"


SMALL = (
    Prepared(
        "small-fasterrcnn", "faster_rcnn", _faster_rcnn, ExportOptions(frame_size=(320, 240), imgsz=(160, 160))
    ),
    Prepared("small-yolo", "yolo", _one_stage("yolo")),
    Prepared("small-yolox", "yolox", _one_stage("yolox"), ExportOptions(family="yolox", classes=("a", "b", "c"))),
    Prepared("small-detr", "detr", _transformer),
)
"""With random weights: whether engines of the family build and give what their graph gives."""
