"""The detectors that are prepared, one of each family: trained ones where they are, small ones elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgedet.export.options import ExportOptions

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "examples" / "sample" / "camera_phone_ssdlite320.pt"
SCENES, CALIBRATION_SCENES = 48, 24
COCO_PICTURES = 48
"""Of 128: those of a second kind of detector, which need not fill the first piece."""


@dataclass(frozen=True)
class Prepared:
    """A detector to prepare.

    ``source``: gives the file to export, made in the folder that it is handed. ``options``: of every precision.
    ``calib``: what int8 is calibrated on, None for made pictures. ``pictures``: name, dataset, and how many of it
    judge the engines; None where the weights are random. ``level``: of the builder's optimisation. ``rival``: its
    checkpoint is torchvision's own and goes along.
    """

    name: str
    family: str
    source: Callable[[Path], Path]
    options: ExportOptions = field(default_factory=ExportOptions)
    calib: str | None = None
    pictures: tuple[str, str, int | None] | None = None
    level: int = 1
    rival: bool = False


def shared_folder() -> Path:
    """Where real models and pictures may be."""
    return Path(os.environ.get("EDGEDET_SHARED") or REPOSITORY.parent / "shared")


def detectors(shared: Path, scratch: Path) -> list[Prepared]:
    """Those there are, most telling first. ``scratch``: a folder for pictures that are rendered."""
    found = list(_trained(shared)) or list(_sample(scratch))
    families = {detector.family for detector in found}
    return found + [detector for detector in _small() if detector.family not in families]


def _trained(shared: Path) -> Iterator[Prepared]:
    models, data = shared / "models", shared / "data"
    cells = data / "bccd"
    for name, checkpoint in (
        ("ssdlite", "ssdlite320_mobilenet_v3_large_bccd.pt"),
        ("fasterrcnn", "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt"),
    ):
        if (models / checkpoint).is_file() and cells.is_dir():
            yield Prepared(
                name, "ssd" if name == "ssdlite" else "faster_rcnn", _existing(models / checkpoint),
                ExportOptions(frame_size=(640, 480)), f"{cells}:train", ("bccd", f"{cells}:test", None), level=3,
                rival=name == "fasterrcnn",
            )  # fmt: skip
    yolox, coco = models / "yolox_nano.onnx", data / "coco128"
    if yolox.is_file() and coco.is_dir():
        from edgedet.datasets import read_dataset

        val = f"{coco / 'instances_val2017.json'}"
        options = ExportOptions(
            family="yolox", classes=tuple(read_dataset(val).names), frame_size=(640, 480), conf=0.01
        )
        yield Prepared(
            "yolox", "yolox", _existing(yolox), options, f"{coco / 'instances_train2017.json'}",
            ("coco", val, COCO_PICTURES),
        )  # fmt: skip


def _sample(scratch: Path) -> Iterator[Prepared]:
    """The trained detector that comes with the repository, on rendered scenes."""
    from examples.render import write_dataset

    judge = write_dataset(scratch / "scenes", SCENES, seed=5)
    calib = write_dataset(scratch / "calibration", CALIBRATION_SCENES, seed=3)
    yield Prepared(
        "sample", "ssd", _existing(SAMPLE), ExportOptions(frame_size=(480, 360)), str(calib),
        ("scenes", str(judge), None), level=3,
    )  # fmt: skip


def _small() -> Iterator[Prepared]:
    """With random weights: whether engines of the family build and give what their graph gives."""
    yield Prepared("small-fasterrcnn", "faster_rcnn", _faster_rcnn, ExportOptions(frame_size=(320, 240)))
    yield Prepared("small-yolo", "yolo", _one_stage("yolo"))
    yield Prepared(
        "small-yolox", "yolox", _one_stage("yolox"), ExportOptions(family="yolox", classes=("a", "b", "c"))
    )
    yield Prepared("small-detr", "detr", _transformer)


def _existing(path: Path) -> Callable[[Path], Path]:
    return lambda folder: path


def _one_stage(family: Any) -> Callable[[Path], Path]:
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

    from edgedet.export.families.architectures import build

    torch.manual_seed(0)
    arch = "fasterrcnn_mobilenet_v3_large_320_fpn"
    module: Any = build(arch, 4, min_size=160, max_size=320)
    content = {"arch": arch, "num_classes": 4, "classes": ["a", "b", "c"], "state_dict": module.state_dict()}
    torch.save(content | {"detector": {"min_size": 160, "max_size": 320}}, folder / "fasterrcnn.pt")
    return folder / "fasterrcnn.pt"
