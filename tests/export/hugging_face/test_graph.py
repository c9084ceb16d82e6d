"""Folders of transformers: the graph finds what transformers' own pipeline finds, and wrong folders are refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("transformers", minversion="5")

import torch
from safetensors.torch import load_file, save_file

from edgedet import Detector
from edgedet.cli import main
from edgedet.detections import Detections
from edgedet.errors import (
    AssumptionError,
    CheckpointError,
    MissingDependencyError,
    UntrustedCheckpointError,
    UsageError,
)
from edgedet.export.options import ExportOptions, default_output
from edgedet.export.pipeline import export_model
from edgedet.opening import artifact_kind, read_card
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import Tolerance, match_detections, summarise
from tests.export.hugging_face_models import KINDS, save, transformers

CONF = 0.3
SHAPES = ((480, 640), (427, 333), (720, 1280), (90, 70))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("hub")
    return {kind: save(kind, place / f"{kind}-v1.5") for kind in KINDS}


@pytest.fixture(scope="module")
def graphs(folders: dict[str, Path]) -> dict[str, Path]:
    return {
        kind: export_model(folder, folder.with_name(f"{kind}.onnx"), ExportOptions(conf=CONF)).path
        for kind, folder in folders.items()
    }


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(folders["rt_detr"], tmp_path / "broken"))


class Pipeline:
    """What a user of transformers writes."""

    def __init__(self, folder: Path) -> None:
        self.processor = transformers.AutoImageProcessor.from_pretrained(folder)
        self.model = transformers.AutoModelForObjectDetection.from_pretrained(folder).eval()
        self.names = tuple(self.model.config.id2label.values())

    def __call__(self, frame: np.ndarray) -> Detections:
        height, width = frame.shape[:2]
        inputs = self.processor(images=frame[..., ::-1].copy(), return_tensors="pt")
        with torch.no_grad():
            outputs = self.model(**inputs)
        (found,) = self.processor.post_process_object_detection(
            outputs, threshold=CONF, target_sizes=[(height, width)]
        )
        boxes = found["boxes"].numpy().clip(0, [width, height, width, height])
        labels = found["labels"].numpy().astype(np.int32)
        # A box clipped to nothing, and what is called background, is no detection.
        kept = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (np.array(self.names)[labels] != "background")
        return Detections(boxes[kept], found["scores"].numpy()[kept], labels[kept], self.names, (height, width))


@cache
def pipeline_of(folder: Path) -> Pipeline:
    return Pipeline(folder)


@cache
def scenes() -> list[np.ndarray]:
    return [golden_frame(2, *shape) for shape in SHAPES]


def agreement(folder: Path, graph: Path, frames: list[np.ndarray]) -> tuple[int, float]:
    pipeline, tolerance = pipeline_of(folder), Tolerance(min_score=CONF + 0.001)
    with Detector(graph) as detector:
        report = summarise(
            [match_detections(pipeline(frame), detector.detect(frame), tolerance) for frame in frames]
        )
    return report.reference_count, min(report.found or 0.0, report.confirmed or 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_detections_are_transformers_own(kind: str, folders: dict[str, Path], graphs: dict[str, Path]) -> None:
    count, equal = agreement(folders[kind], graphs[kind], scenes())
    assert count > 20 and equal >= 0.99


@pytest.mark.parametrize("kind", KINDS)
def test_detections_in_photographs_are_transformers_own(
    kind: str, folders: dict[str, Path], graphs: dict[str, Path], shared: Path
) -> None:
    by_shape: dict[tuple[int, ...], np.ndarray] = {}
    for path in sorted((shared / "data" / "coco128" / "val2017").glob("*.jpg")):
        picture = cv2.imread(str(path))
        if picture is not None:
            by_shape.setdefault(picture.shape, picture)
    count, equal = agreement(folders[kind], graphs[kind], list(by_shape.values())[:12])
    assert count > 50 and equal >= 0.99


def test_the_graph_describes_itself(folders: dict[str, Path], graphs: dict[str, Path]) -> None:
    card = read_card(graphs["rt_detr"])
    assert (card.family, card.architecture, card.names) == ("detr", "RT-DETR", ("a", "b", "c", "d"))
    assert (card.resize.rule, card.resize.antialias, card.input.dtype) == ("stretch", True, "uint8")
    assert card.output.max_detections == 30 and card.provenance["nms"] == "none"
    for name, digest in card.provenance["source_files"].items():
        assert digest == hashlib.sha256((folders["rt_detr"] / name).read_bytes()).hexdigest()
    assert set(card.provenance["source_files"]) == {"config.json", "preprocessor_config.json", "model.safetensors"}
    assert card.provenance["tools"]["transformers"] == transformers.__version__
    assert card.measured["parity"]["found"] >= 0.98 and "assumed" not in card.provenance
    normalised = read_card(graphs["rf_detr"])
    assert normalised.input.mean == (0.485, 0.456, 0.406) and not normalised.resize.antialias
    assert normalised.input.dtype == "float32"


def test_a_column_called_background_is_no_class(folders: dict[str, Path], graphs: dict[str, Path]) -> None:
    assert len(pipeline_of(folders["rf_detr"]).names) == 5
    assert read_card(graphs["rf_detr"]).names == ("a", "b", "c", "d")


def test_nothing_is_written_into_the_folder(folders: dict[str, Path], graphs: dict[str, Path]) -> None:
    assert {path.name for path in folders["rt_detr"].iterdir()} == {
        "config.json", "model.safetensors", "preprocessor_config.json",
    }  # fmt: skip
    assert default_output(folders["rt_detr"], ExportOptions()) == folders["rt_detr"].with_name("rt_detr-v1.5.onnx")


def test_the_folder_itself_runs_and_agrees(
    folders: dict[str, Path], graphs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "frame.png"), golden_frame(4))
    assert artifact_kind(folders["d_fine"]) == "checkpoint"
    arguments = [str(folders["d_fine"]), str(graphs["d_fine"]), "--frames", str(tmp_path), "--min-score", "0.55"]
    assert main(["parity", *arguments]) == 0
    assert "they agree" in capsys.readouterr().out
    assert main(["inspect", str(folders["d_fine"])]) == 0
    assert "D-FINE (detr)" in capsys.readouterr().out
    assert main(["inspect", str(graphs["d_fine"])]) == 0
    assert "no NMS" in capsys.readouterr().out


def test_a_batch_holds_what_single_frames_hold(
    folders: dict[str, Path], graphs: dict[str, Path], tmp_path: Path
) -> None:
    two = export_model(folders["rt_detr"], tmp_path / "two.onnx", ExportOptions(conf=CONF, batch=2)).path
    frames = [golden_frame(1), golden_frame(5, 300, 200)]
    with Detector(two) as pair, Detector(graphs["rt_detr"]) as single:
        for found, frame in zip(pair.detect_batch(frames), frames, strict=True):
            assert not len(match_detections(single.detect(frame), found, Tolerance(CONF + 0.001)).missing)


def test_another_size_is_taken_where_the_network_can(folders: dict[str, Path], tmp_path: Path) -> None:
    options = ExportOptions(conf=CONF, imgsz=(96, 160))
    report = export_model(folders["rt_detr"], tmp_path / "wide.onnx", options)
    assert (report.card.input.height, report.card.input.width) == (96, 160)
    assert report.card.measured["parity"]["found"] >= 0.98
    with pytest.raises(UsageError, match=r"cannot take images of 100x100.*multiples of 32"):
        export_model(folders["rf_detr"], tmp_path / "odd.onnx", ExportOptions(imgsz=(100, 100)))


def test_half_precision_keeps_most(folders: dict[str, Path], graphs: dict[str, Path], tmp_path: Path) -> None:
    half = export_model(folders["rt_detr"], tmp_path / "half.onnx", ExportOptions(conf=CONF, precision="fp16"))
    assert half.card.measured["fp16"]["nodes_fp16"] > 50
    frame = golden_frame(3)
    with Detector(graphs["rt_detr"]) as full, Detector(half.path) as reduced:
        expected, found = full.detect(frame), reduced.detect(frame)
    assert len(expected) > 5
    parity = match_detections(expected, found, Tolerance(0.5, min_iou=0.9, max_score_difference=0.05))
    assert len(parity.missing) <= len(expected) / 4


def test_options_of_other_detectors_are_refused_before_pytorch_exports(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedet.export.hugging_face.graph._network", lambda *given: pytest.fail("it takes long"))
    folder, output = folders["rt_detr"], tmp_path / "x.onnx"
    for options, words in (
        (ExportOptions(iou=0.5), "works without NMS"),
        (ExportOptions(max_detections=31), "31, but the network has 30 queries"),
        (ExportOptions(arch="ssd300_vgg16"), "--arch is for checkpoints"),
        (ExportOptions(family="yolo"), "--family is for foreign ONNX files"),
        (ExportOptions(proposals=10), "--proposals is for Faster R-CNN"),
        (ExportOptions(classes=("x", "y")), "has 4 classes, but 2 names were given"),
    ):
        with pytest.raises(UsageError, match=words):
            export_model(folder, output, options)
    assert not output.exists()


def test_a_threshold_of_nms_is_refused_when_running(graphs: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="works without NMS"):
        Detector(graphs["rt_detr"], iou=0.5)


def test_invented_names_and_missing_pixels_are_assumptions(folder: Path, tmp_path: Path) -> None:
    edit(folder / "config.json", id2label={str(index): f"LABEL_{index}" for index in range(4)})
    (folder / "preprocessor_config.json").unlink()
    options = ExportOptions(imgsz=(64, 64), conf=CONF)
    report = export_model(folder, tmp_path / "assumed.onnx", options)
    said = " ".join(report.card.provenance["assumed"])
    assert "LABEL_0 to LABEL_3" in said and "antialiased" in said and "none, pixels / 255" in said
    assert any("assumed" in note for note in report.notes)
    with pytest.raises(AssumptionError, match=r"preprocessor_config\.json"):
        export_model(folder, tmp_path / "strict.onnx", ExportOptions(imgsz=(64, 64), strict=True))


def test_a_size_nothing_states_is_asked_for(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["rf_detr"], tmp_path / "rf"))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"at which size .* was trained"):
        export_model(folder, tmp_path / "x.onnx")


def edit(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def without(file: Path, key: str) -> None:
    tensors = load_file(file)
    del tensors[key]
    save_file(tensors, file, metadata={"format": "pt"})


def with_more(file: Path, key: str) -> None:
    save_file(load_file(file) | {key: torch.zeros(2)}, file, metadata={"format": "pt"})


HEAD = "model.decoder.class_embed.0.weight"
WRONG = {
    "no config": (lambda f: (f / "config.json").unlink(), "folder without config.json"),
    "damaged config": (lambda f: (f / "config.json").write_text("{"), "cannot be read as JSON"),
    "config of a list": (lambda f: (f / "config.json").write_text("[]"), "holds a list"),
    "text model": (
        lambda f: edit(f / "config.json", model_type="bert", architectures=["BertForMaskedLM"]),
        "describes model_type 'bert' (BertForMaskedLM)",
    ),
    "no head": (lambda f: edit(f / "config.json", architectures=["RTDetrModel"]), "which detects no objects"),
    "segmentation": (
        lambda f: edit(f / "config.json", model_type="rf_detr", architectures=["RfDetrForInstanceSegmentation"]),
        "which detects no objects",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "but no weights"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "is empty"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:9000]),
        "cannot load",
    ),
    "sharded": (
        lambda f: (f / "model.safetensors").rename(f / "model.safetensors.index.json"),
        "in several files",
    ),
    "adapter": (lambda f: (f / "adapter_config.json").write_text("{}"), "holds an adapter"),
    "missing tensor": (lambda f: without(f / "model.safetensors", HEAD), f"no value for {HEAD}"),
    "foreign tensor": (
        lambda f: with_more(f / "model.safetensors", "extra.weight"),
        "no place in the model for extra.weight",
    ),
    "other classes": (
        lambda f: edit(f / "config.json", id2label={str(i): str(i) for i in range(7)}),
        "another shape for",
    ),
    "names from one": (
        lambda f: edit(f / "config.json", id2label={str(i + 1): str(i) for i in range(4)}),
        "numbers its 4 classes 1 to 4",
    ),
    "value of another type": (lambda f: edit(f / "config.json", d_model="wide"), "cannot read"),
    "keeps proportions": (
        lambda f: edit(f / "preprocessor_config.json", size={"shortest_edge": 480, "longest_edge": 640}),
        "only height and width",
    ),
    "bicubic": (lambda f: edit(f / "preprocessor_config.json", resample=3), "resample 3"),
    "own size": (lambda f: edit(f / "preprocessor_config.json", do_resize=False), "do_resize false"),
    "padded": (
        lambda f: edit(f / "preprocessor_config.json", do_pad=True, pad_size={"height": 256, "width": 256}),
        "do_pad to 256x256 around 128x128",
    ),
    "other processor": (
        lambda f: edit(f / "preprocessor_config.json", image_processor_type="DetrImageProcessor"),
        "image processor DetrImageProcessor",
    ),
    "damaged processor": (lambda f: (f / "preprocessor_config.json").write_text("{"), "cannot read"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_folder_is_one_line_and_exit_code_2(
    name: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    breaks, words = WRONG[name]
    breaks(folder)
    assert main(["export", str(folder), "-o", str(tmp_path / "x.onnx")]) == 2
    said = capfd.readouterr().err.strip()
    assert words in said and said.startswith("edgedet: error: ") and "\n" not in said
    assert not list(tmp_path.glob("*.onnx"))


def test_a_pickle_is_read_only_when_trusted_and_half_weights_are_run_in_full(folder: Path, tmp_path: Path) -> None:
    tensors = {name: value.half() if value.is_floating_point() else value for name, value in
               load_file(folder / "model.safetensors").items()}  # fmt: skip
    edit(folder / "config.json", dtype="float16")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    with pytest.raises(UntrustedCheckpointError, match="--trust-checkpoint"):
        export_model(folder, tmp_path / "x.onnx")
    report = export_model(folder, tmp_path / "x.onnx", ExportOptions(trust="code", conf=CONF))
    assert "pytorch_model.bin" in report.card.provenance["source_files"]
    assert report.card.measured["parity"]["found"] >= 0.98


def test_without_transformers_the_line_that_installs_it_is_given(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgedet\[hf\]'"):
        Detector(folder)
