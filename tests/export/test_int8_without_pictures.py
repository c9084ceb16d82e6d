"""``edgedet export model --int8`` and nothing else: made pictures, said so, or a reason why not."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgedet.calibration import made_frames
from edgedet.calibration.pictures import pictures_of
from edgedet.cli import main
from edgedet.detector import Detector
from edgedet.export.embedded_card import embed
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.opening import read_card
from tests.once import exported


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made_frames, "POOL", 48)
    monkeypatch.setattr(made_frames, "SMALLEST_POOL", 48)


def graph(folder: Path, tiny: ModuleType, *, stem: float = 1.0) -> Path:
    """The tiny detector as a file of edgedet's own, its first layer's weights multiplied by ``stem``."""
    model: onnx.ModelProto = tiny.tiny_detector()
    for constant in model.graph.initializer:
        if constant.name == "stem.w":
            value = numpy_helper.to_array(constant) * np.float32(stem)
            constant.CopyFrom(numpy_helper.from_array(value, constant.name))
    path = folder / "tiny.onnx"
    path.write_bytes(embed(model, tiny.card()).SerializeToString())
    return path


def test_one_command_and_one_line_that_says_what_real_pictures_add(
    tmp_path: Path, tiny: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = graph(tmp_path, tiny), tmp_path / "int8.onnx"
    words = ["export", str(source), "--int8", "--int8-layers", "all", "--target", "tensorrt", "--max-drop", "0.1"]
    assert main([*words, "-o", str(out)]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "without pictures" in one]
    assert "--calib" in line and "--eval" in line
    report = read_card(out).measured["int8"]
    assert report["pictures"] == "made" and report["made"]["drawn"] == 48 and "made pictures" in report["judge"]
    assert report["layers_int8"] > 0 and report["before"] == pytest.approx(1.0)


def test_pictures_that_are_given_are_used_and_said(tmp_path: Path, tiny: ModuleType) -> None:
    (tmp_path / "photos").mkdir()
    for number, frame in enumerate(tiny.frames(20)):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), frame[0])
    options = ExportOptions(
        precision="int8", target="tensorrt", int8_layers="all", calib=str(tmp_path / "photos"), max_drop=1.0
    )
    report = export_model(graph(tmp_path, tiny), tmp_path / "int8.onnx", options)
    assert report.card.measured["int8"]["pictures"] == "given" and "made" not in report.card.measured["int8"]
    assert not any("without pictures" in note for note in report.notes)


def test_a_dead_network_is_refused_and_nothing_is_written(
    tmp_path: Path, tiny: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = graph(tmp_path, tiny, stem=0), tmp_path / "int8.onnx"
    assert main(["export", str(source), "--int8", "--target", "tensorrt", "-o", str(out)]) == 2
    assert "dead or saturated on made pictures" in capsys.readouterr().err and not out.exists()


def test_calib_takes_a_split_of_a_dataset(tmp_path: Path) -> None:
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for split, names in (("train", "abc"), ("val", "de")):
        (tmp_path / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            cv2.imwrite(str(tmp_path / "JPEGImages" / f"{name}.jpg"), np.full((40, 60, 3), ord(name), np.uint8))
            size = "<size><width>60</width><height>40</height><depth>3</depth></size>"
            (tmp_path / "Annotations" / f"{name}.xml").write_text(
                f"<annotation><filename>{name}.jpg</filename>{size}</annotation>"
            )
    for split, names in (("train", "abc"), ("val", "de")):
        found = pictures_of(f"{tmp_path}:{split}")
        assert [Path(one.name).stem for one in found.pictures] == list(names)


def test_a_real_detector_keeps_its_accuracy(
    shared: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SSDLite of blood cells, with fewer pictures than usual; its training's statistics are found and agree."""
    monkeypatch.setattr(made_frames, "POOL", 96)
    out = tmp_path / "int8.onnx"
    source = shared / "models" / "ssdlite320_mobilenet_v3_large_bccd.pt"
    assert main(["export", str(source), "--int8", "--target", "tensorrt", "-o", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["card"]["measured"]["int8"]
    assert report["made"]["layers_with_statistics"] > 60
    assert report["made"]["layers_agreeing"] > 0.8 * report["made"]["layers_with_statistics"]
    assert report["macs_int8"] > 0.8
    float_graph = exported(tmp_path_factory, source).path
    pictures = sorted((shared / "data" / "bccd" / "JPEGImages").glob("*.jpg"))[:12]
    with Detector(float_graph, conf=0.5) as before, Detector(out, conf=0.5) as after:
        for path in pictures:
            frame = cv2.imread(str(path))
            counts = [len(one.detect(frame)) for one in (before, after)]
            assert abs(counts[0] - counts[1]) <= max(2, 0.2 * counts[0]), path.name
