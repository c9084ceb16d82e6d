"""From a ``.cfg`` to a file: weights and names found beside it, what was assumed, and what cannot be exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet import Detector
from edgedet.cli import main
from edgedet.errors import CheckpointError, EdgedetError, UsageError
from edgedet.export.darknet.source import Darknet, open_darknet
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.sources import build_graph
from tests.export import darknet_reference as reference

TEXT = """[net]
height=64
width=96
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky
[convolutional]
filters=21
size=1
activation=linear
[yolo]
classes=2
num=3
mask=0,1,2
anchors=10,14, 23,27, 37,58
"""
CONVOLUTION = 4 * (4 * 8 + 8 * 27)
HEAD = 4 * (21 + 21 * 8)


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    path = tmp_path / "cats.cfg"
    path.write_text(TEXT)
    reference.write(path.with_suffix(".weights"), TEXT)
    return path


def opened(cfg: Path, text: str = TEXT, **options: object) -> Darknet:
    cfg.write_text(text)
    defaults = {"weights": None, "imgsz": None, "fork": None, "resize": None}
    return open_darknet(cfg, **(defaults | options))  # type: ignore[arg-type]


def refuse(cfg: Path, message: str, kind: type[EdgedetError] = CheckpointError, **options: object) -> None:
    out = cfg.with_name("out.onnx")
    with pytest.raises(kind, match=message) as caught:
        export_model(cfg, out, ExportOptions(**options))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and "report this" not in str(caught.value)
    assert not out.exists()


def test_one_command(cfg: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg.with_name("cats.names").write_text("cat\r\ndog\r\n\r\n")
    assert main(["export", str(cfg), "--conf", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "cats.cfg with cats.weights (version 0.2.5, 32000 pictures seen), computed as pjreddie's Darknet" in said
    assert "anchors of its heads (mask): 0,1,2 at 16x24" in said
    assert "class names from cats.names" in said
    assert "resizing: letterbox, as pjreddie's does; AlexeyAB's, if that trained it, stretches" in said
    with Detector(cfg.with_suffix(".onnx")) as detector:
        card = detector.card
        found = detector.detect(np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8))
    assert (card.family, card.architecture, card.names) == ("darknet", "cats", ("cat", "dog"))
    assert (card.input.dtype, card.input.height, card.input.width) == ("float32", 64, 96)
    assert (card.resize.rule, card.resize.rounding, card.resize.coordinates) == (
        "letterbox",
        "divide",
        "align_corners",
    )
    assert card.output.iou_threshold == 0.45 and card.output.label_mode == "all"
    facts = card.provenance["darknet"]
    assert (facts["weights"], facts["fork"], facts["pictures_seen"]) == ("cats.weights", "pjreddie", 32000)
    assert len(facts["weights_sha256"]) == 64
    assert len(found) and (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_whose_program_it_is(cfg: Path) -> None:
    own = opened(cfg)
    assert own.fork.name == "pjreddie" and own.resize == "letterbox"
    assert [entry.what for entry in own.assumed] == ["program", "resizing"]
    asked = opened(cfg, fork="pjreddie")
    assert asked.assumed == () and "as asked" in asked.notes[0]
    found = opened(cfg, TEXT + "scale_x_y=1.05\n")
    assert found.fork.name == "alexeyab" and found.resize == "stretch"
    assert "its .cfg has scale_x_y in [yolo]" in found.notes[0]
    assert [entry.what for entry in found.assumed] == ["resizing"]
    boxed = opened(cfg, TEXT.replace("[net]\n", "[net]\nletter_box=1\n"))
    assert (boxed.fork.name, boxed.resize, boxed.assumed) == ("alexeyab", "letterbox", ())
    chosen = opened(cfg, TEXT + "scale_x_y=1.05\n", resize="letterbox")
    assert (chosen.resize, chosen.assumed) == ("letterbox", ())


def test_nms_by_another_measure_is_said(cfg: Path) -> None:
    found = opened(cfg, TEXT + "nms_kind=greedynms\nbeta_nms=0.6\n")
    assert "its test command compares DIoU" in found.assumed[-1].text()


def test_small_variances_are_said_where_the_programs_differ(cfg: Path) -> None:
    weights = cfg.with_suffix(".weights")
    content = bytearray(weights.read_bytes())
    at = 20 + 4 * 3 * 8
    content[at : at + 4] = np.array(1e-7, "<f4").tobytes()
    weights.write_bytes(content)
    assert opened(cfg).assumed[-1].what == "batch normalisation"
    assert "batch normalisation" not in [entry.what for entry in opened(cfg, fork="alexeyab").assumed]


@pytest.mark.parametrize(("masks", "other"), [("0,1,2", "1,2,3"), ("1,2,3", "0,1,2")])
def test_the_two_tiny_cfgs_are_told_apart(cfg: Path, masks: str, other: str) -> None:
    anchors = "num=6\nanchors=10,14,  23,27,  37,58,  81,82,  135,169,  344,319\n"
    head = "[convolutional]\nfilters=21\nsize=1\nactivation=linear\n[yolo]\nclasses=2\n" + anchors
    text = TEXT[: TEXT.index("[convolutional]\nfilters=21")] + head + "mask=3,4,5\n[route]\nlayers=0\n" + head
    text += f"mask={masks}\n"
    reference.write(cfg.with_suffix(".weights"), text)
    found = opened(cfg, text)
    assert f"mask): 3,4,5 at 16x24; {masks} at 16x24" in found.notes[1]
    assert f"second head has mask {masks}; with weights trained with {other}" in found.notes[2]


def test_weights_are_found_or_asked_for(cfg: Path, tmp_path: Path) -> None:
    own = cfg.with_suffix(".weights")
    own.rename(tmp_path / "cats_final.weights")
    assert opened(cfg).weights.name == "cats_final.weights"
    (tmp_path / "cats_1000.weights").write_bytes(b"")
    refuse(
        cfg, "no cats.weights beside .*; beside it there are cats_1000.weights, cats_final.weights; .* --weights"
    )
    assert opened(cfg, weights=tmp_path / "cats_final.weights").header.seen == 32000
    refuse(cfg, "no such file: gone.weights .--weights.", weights="gone.weights")
    for path in tmp_path.glob("*.weights"):
        path.unlink()
    refuse(cfg, "no cats.weights beside .*: --weights FILE")


def test_an_empty_line_among_names_would_move_classes_and_is_refused(cfg: Path) -> None:
    cfg.with_name("cats.names").write_text("cat\n\ndog\n")
    with pytest.raises(CheckpointError, match=r"cats.names: line 2 is empty"):
        opened(cfg)


def test_outputs_of_a_darknet_network_are_not_stated(cfg: Path) -> None:
    with pytest.raises(UsageError, match="--outputs is for foreign ONNX files"):
        build_graph(cfg, ExportOptions(outputs="boxes=a:xyxy@input, scores=b:none"), frame_size=(64, 64))


def test_names_are_found_or_invented(cfg: Path, tmp_path: Path) -> None:
    built = build_graph(cfg, ExportOptions(), frame_size=None)
    assert built.card.names == ("class_0", "class_1")
    assert built.assumed[-1].text() == "class names: invented (class_0 to class_1)"
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pets.names").write_text("a\nb\n")
    (tmp_path / "cats.data").write_text("classes = 2\nnames = data/pets.names\n")
    assert opened(cfg).names == ("a", "b")
    (tmp_path / "cats.data").unlink()
    (tmp_path / "other.names").write_text("a\nb\nc\n")
    assert opened(cfg).names == () and "names 3 classes, and the network has 2: not taken" in opened(cfg).notes[-1]
    (tmp_path / "other.names").write_text("c\nd\n")
    assert opened(cfg).names == ("c", "d")
    (tmp_path / "cats.names").write_text("only\n")
    refuse(cfg, "cats.names names 1 classes, and the network has 2")
    (tmp_path / "cats.names").write_bytes(b"\xff\xfe\0")
    refuse(cfg, "is not UTF-8 text")
    (tmp_path / "cats.names").unlink()
    refuse(cfg, "has 2 classes, but 1 names were given", classes=("x",))
    refuse(cfg, "classes in another order", classes=("d", "c"))


@pytest.mark.parametrize(
    ("classes", "first", "whose"), [(20, "aeroplane", "Pascal VOC's"), (80, "person", "COCO's")]
)
def test_names_that_their_number_makes_likely_are_said_to_be_assumed(
    cfg: Path, classes: int, first: str, whose: str
) -> None:
    text = TEXT.replace("filters=21", f"filters={3 * (5 + classes)}").replace("classes=2", f"classes={classes}")
    reference.write(cfg.with_suffix(".weights"), text)
    cfg.write_text(text)
    built = build_graph(cfg, ExportOptions(), frame_size=None)
    assert (built.card.names[0], len(built.card.names)) == (first, classes)
    assert built.assumed[-1].text() == f"class names: {whose}, because there are {classes} classes"


def test_weights_of_another_length_name_the_layer(cfg: Path) -> None:
    weights = cfg.with_suffix(".weights")
    content = weights.read_bytes()
    assert len(content) == 20 + CONVOLUTION + HEAD
    weights.write_bytes(content[:-1])
    refuse(cfg, r"layer 1, \[convolutional\] in line 12: .*cats.weights ends in its weights, .* it is cut short")
    weights.write_bytes(content[: 20 + CONVOLUTION - 4])
    refuse(cfg, r"layer 0, \[convolutional\] in line 5: .*\(the last layer with weights is 1\)")
    weights.write_bytes(content + b"\0" * 8)
    refuse(cfg, r"has 8 bytes left after .*layer 1, \[convolutional\].*; it is of another .cfg")
    # Another width of the header, with a version that does not have it.
    weights.write_bytes(content[:16] + content[20:])
    refuse(cfg, "ends in its weights")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a Darknet .weights file"),
        (b"\0\0\0\0", "is too short; expected a Darknet"),
        (
            b"PK\x03\x04" + bytes(100),
            "expected a Darknet .weights file|begins with the version|ends in its weights",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer; run git lfs pull"),
        (b"<!DOCTYPE html><html>" + bytes(40), "is an HTML or XML text"),
        (bytes(2000), "is a file of zeros"),
        (np.array([-1, 2, 0, 0, 0], "<i4").tobytes(), "begins with the version -1.2.0"),
    ],
)
def test_other_files_in_place_of_weights(cfg: Path, content: bytes, message: str) -> None:
    cfg.with_suffix(".weights").write_bytes(content)
    refuse(cfg, message)


def test_old_headers_are_shorter(cfg: Path) -> None:
    reference.write(cfg.with_suffix(".weights"), TEXT, version=(0, 1, 0))
    assert cfg.with_suffix(".weights").stat().st_size == 16 + CONVOLUTION + HEAD
    found = opened(cfg)
    assert (found.header.version, found.header.bytes, found.header.seen) == ((0, 1, 0), 16, 32000)


def test_numbers_that_are_none_are_refused(cfg: Path) -> None:
    weights = cfg.with_suffix(".weights")
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + np.array(np.nan, "<f4").tobytes())
    refuse(cfg, "its weights in .* are not all finite numbers")
    at = 20 + 4 * 3 * 8
    weights.write_bytes(content[:at] + np.array(-1, "<f4").tobytes() + content[at + 4 :])
    refuse(cfg, "its variances in .* are not all positive")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT[: TEXT.index("[yolo]")], "has no .yolo., .region. or .detection.; it is no detector"),
        (TEXT + "[route]\nlayers=0\n", "is the last layer, and no head"),
        (TEXT.replace("channels=3", "channels=1"), "has channels=1; edgedet exports detectors of colour"),
        (TEXT.replace("width=96", ""), "has no width="),
        (TEXT.replace("width=96", "width=100000"), "its input is 64x100000, expected 8192 at most"),
        (TEXT.replace("[net]\n", "[net]\nfancy=1\n"), "has the option fancy=1"),
        (TEXT.replace("filters=8", "filters=16000000"), "is a number .*too large"),
        (TEXT + "new_coords=1\n", "has new_coords=1, which needs activation=logistic in layer 1"),
    ],
)
def test_networks_that_cannot_be_exported(cfg: Path, text: str, message: str) -> None:
    cfg.write_text(text)
    refuse(cfg, message)


def test_options_for_other_sources_are_refused(cfg: Path, tmp_path: Path) -> None:
    refuse(cfg, "--arch is for checkpoints; .* is Darknet's", UsageError, arch="ssd300_vgg16")
    refuse(cfg, "--family is for foreign ONNX files", UsageError, family="yolo")
    for option, value in (("weights", "cats.weights"), ("darknet", "alexeyab"), ("resize", "stretch")):
        options = ExportOptions(**{option: value})  # type: ignore[arg-type]
        with pytest.raises(UsageError, match=f"--{option} is for Darknet's [.]cfg files; .*done.onnx is none"):
            build_graph(tmp_path / "done.onnx", options, frame_size=None)


def test_strict_takes_nothing_for_granted(cfg: Path) -> None:
    cfg.with_name("cats.names").write_text("cat\ndog\n")
    refuse(cfg, "stated by: --darknet, --darknet, --resize", strict=True)


def test_another_size_of_the_input(cfg: Path) -> None:
    built = build_graph(cfg, ExportOptions(imgsz=(32, 64), batch=2, nms="runtime"), frame_size=None)
    assert (built.card.input.height, built.card.input.width) == (32, 64)
    shape = [size.dim_value for size in built.model.graph.output[0].type.tensor_type.shape.dim]
    assert shape == [2, 8 * 16 * 3, 4]
