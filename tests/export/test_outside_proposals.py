"""A detector that is told where to look: exported, opened, asked in every way, and refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
import torch

from edgedet import Detector
from edgedet.artifacts.card import Precision
from edgedet.cli import main
from edgedet.errors import ArtifactError, EdgedetError, ProposalsError, UsageError
from edgedet.export.options import ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.export.pipelines.export import export_pipeline
from edgedet.opening import read_card
from edgedet.proof.golden import require_golden
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.made_proposals import strewn_proposals
from edgedet.proof.parity import Tolerance, match_detections
from tests.export.test_families import detector

ARCH = "fasterrcnn_mobilenet_v3_large_320_fpn"
PLACES = 16
FRAME = golden_frame(9, 240, 320)
SSDLITE = Path(__file__).resolve().parents[2] / "examples/sample/camera_phone_ssdlite320.pt"
SAME = Tolerance(min_score=0.0)


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as it is saved whole, which keeps its sizes; graphs with and without its RPN; frames."""
    folder = tmp_path_factory.mktemp("outside")
    torch.save(detector(ARCH), folder / "model.pt")
    told = ExportOptions(outside_proposals=PLACES, trust="code", conf=0.05)
    export_model(folder / "model.pt", folder / "told.onnx", told)
    export_model(folder / "model.pt", folder / "own.onnx", ExportOptions(proposals=PLACES, trust="code", conf=0.05))
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), golden_frame(ord(name), 240, 320))
    return folder


def test_the_card_says_so_and_older_cards_do_not(folder: Path) -> None:
    told, own = read_card(folder / "told.onnx"), read_card(folder / "own.onnx")
    assert told.input.proposals == PLACES and own.input.proposals is None
    assert told.provenance["options"]["outside_proposals"] == PLACES
    assert told.measured["parity"]["found"] == 1.0 and told.measured["parity"]["detections"] > 20
    assert told.golden is not None and len(told.golden["boxes"])
    card = json.loads(own.to_json())
    assert "proposals" not in card["input"], "as earlier versions wrote it"
    assert type(own).from_json(json.dumps(card)) == own
    card["input"]["proposals"] = 0
    with pytest.raises(ArtifactError, match=r"input\.proposals is 0, expected 1 to"):
        type(own).from_json(json.dumps(card))


@pytest.mark.parametrize("runtime", ["onnxruntime:cpu", "openvino"])
def test_the_rpns_own_proposals_from_outside_give_the_whole_detectors_boxes(folder: Path, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    model = detector(ARCH)
    kept: list[Any] = []
    model.rpn._post_nms_top_n["testing"] = PLACES
    hook = model.rpn.register_forward_hook(lambda module, inputs, output: kept.append((output[0][0], inputs[0])))
    try:
        with torch.no_grad():
            model([torch.from_numpy(FRAME[:, :, ::-1].copy()).permute(2, 0, 1).float() / 255])
    finally:
        hook.remove()
    (boxes, images), size = kept[0], np.array(FRAME.shape[1::-1])
    proposals = boxes.numpy() * np.tile(size / np.array(images.image_sizes[0][::-1]), 2)
    with (
        Detector(folder / "own.onnx", runtime=runtime) as own,
        Detector(folder / "told.onnx", runtime=runtime) as told,
    ):
        expected, found = own.detect(FRAME), told.detect(FRAME, proposals=proposals)
    report = match_detections(expected, found, SAME)
    assert len(expected) > 10
    assert max(len(report.missing), len(report.extra)) <= 0.05 * len(expected)


def test_checkpoint_and_graph_agree_on_given_proposals(folder: Path) -> None:
    from edgedet.export.torch_runtime import second_stage

    proposals = strewn_proposals(240, 320, PLACES)
    with Detector(folder / "told.onnx", runtime="onnxruntime:cpu") as told:
        found = told.detect(FRAME, proposals=proposals)
        assert len(told.detect(FRAME, proposals=proposals[:3])) < len(found)
    model = detector(ARCH)
    image = torch.from_numpy(FRAME[:, :, ::-1].copy()).permute(2, 0, 1).float() / 255
    with torch.no_grad():
        expected = second_stage(model, image, torch.from_numpy(proposals))
    assert len(found) == len(expected["scores"])
    np.testing.assert_allclose(found.scores, expected["scores"].numpy(), atol=1e-3)


def test_without_or_with_unwanted_proposals_it_is_one_sentence(folder: Path) -> None:
    with Detector(folder / "told.onnx") as told, Detector(folder / "own.onnx") as own:
        for call in (
            lambda: told.detect(FRAME),
            lambda: told.detect_batch([FRAME]),
            lambda: next(told.stream([FRAME])),
        ):
            with pytest.raises(UsageError, match=r"makes no proposals of its own: pass .* 16 at most"):
                call()
        with pytest.raises(UsageError, match=r"own\.onnx takes no proposals from outside"):
            own.detect(FRAME, proposals=[[0, 0, 9, 9]])
        with pytest.raises(ProposalsError, match="17 proposals, and this artifact takes 16"):
            told.detect(FRAME, proposals=[[0, 0, 9, 9]] * 17)
        with pytest.raises(UsageError, match="2 frames and proposals of 1"):
            told.detect_batch([FRAME, FRAME], proposals=[[]])
        assert len(told.detect(FRAME, proposals=[])) == 0 and told.last_timing.run == 0
        told.warmup(1)


def test_a_proposer_is_asked_for_every_frame_in_order(folder: Path) -> None:
    seen: list[float] = []

    def propose(frame: np.ndarray) -> np.ndarray:
        seen.append(float(frame.mean()))
        return strewn_proposals(240, 320, PLACES)

    with Detector(folder / "told.onnx", lanes=2) as told:
        told.proposer = propose
        expected = [told.detect(cv2.imread(str(folder / name))) for name in ("a.png", "b.png")]
        with told.stream(str(folder / "*.png")) as stream:
            found = [detections for _, detections in stream]
        assert seen[:2] == seen[2:] and len(found) == 2
        assert all(len(one) for one in found)
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_array_equal(one.boxes, other.boxes)
        # Proposals that are passed come before.
        assert len(told.detect(FRAME, proposals=[])) == 0 and len(seen) == 4


@pytest.mark.parametrize("proposer", [5, "boxes", [[0, 0, 5, 5]], True])
def test_what_is_no_proposer_is_refused_at_once(folder: Path, proposer: Any) -> None:
    with Detector(folder / "told.onnx") as told:
        with pytest.raises(UsageError, match="expected a function from a frame to its boxes"):
            told.proposer = proposer
        assert told.proposer is None
        told.proposer = lambda frame: None
        with pytest.raises(ProposalsError, match=r"the proposer gave None .* \[\] where there are none"):
            told.detect(FRAME)
        with told.stream([FRAME]) as stream, pytest.raises(ProposalsError, match="the proposer gave None"):
            list(stream)
        told.proposer = None
        with pytest.raises(UsageError, match="1 frames and proposals of int: expected those of each frame"):
            told.detect_batch([FRAME], proposals=5)  # type: ignore[arg-type]
    with Detector(folder / "own.onnx") as own, pytest.raises(UsageError, match="takes no proposals from outside"):
        own.proposer = lambda frame: []


def test_the_golden_input_is_replayed_on_proposals_of_its_own(folder: Path) -> None:
    with Detector(folder / "told.onnx", selftest=True) as told:
        told.proposer = lambda frame: [[0, 0, 5, 5]]
        assert require_golden(told).passed
    assert main(["selftest", str(folder / "told.onnx")]) == 0


def test_commands_work_or_say_in_one_sentence_why_not(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told, frames = str(folder / "told.onnx"), str(folder / "a.png")

    def refused(*words: str) -> str:
        assert main(list(words)) == 2
        return capsys.readouterr().err

    assert "makes no proposals of its own: --proposals FILE" in refused("detect", told, frames)
    assert main(["detect", str(folder / "own.onnx"), frames]) == 0
    lines = capsys.readouterr().out
    (tmp_path / "own.jsonl").write_text(lines)
    found = json.loads(lines)["detections"]
    boxes = [one["box"] for one in found][:PLACES]
    plain = {"source": frames, "index": 0, "boxes": boxes}
    (tmp_path / "plain.jsonl").write_text(json.dumps(plain))
    assert main(["detect", told, frames, "--proposals", str(tmp_path / "plain.jsonl")]) == 0
    assert json.loads(capsys.readouterr().out)["detections"]
    unknown = refused("detect", told, str(folder / "b.png"), "--proposals", str(tmp_path / "plain.jsonl"))
    assert "has no line for frame 0 of" in unknown
    (tmp_path / "bad.jsonl").write_text('{"source": "a"}')
    assert "line 1 is no proposals" in refused("detect", told, frames, "--proposals", str(tmp_path / "bad.jsonl"))
    (tmp_path / "outside.jsonl").write_text(json.dumps(plain | {"boxes": [[9000, 9000, 9001, 9001]]}))
    outside = refused("detect", told, frames, "--proposals", str(tmp_path / "outside.jsonl"))
    assert f"frame 0 of {frames}: proposal 0 is [9000, " in outside, "one of how many frames?"
    own = str(folder / "own.onnx")
    assert "with --then nobody does" in refused("detect", told, frames, "--then", own)
    assert "takes no proposals" in refused("detect", own, frames, "--proposals", str(tmp_path / "plain.jsonl"))
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 320, "height": 240}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}],
        "categories": [{"id": 1, "name": read_card(told).names[0]}],
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    assert "edgedet eval has no proposals to pass" in refused("eval", told, str(folder / "labels.json"))
    blur = refused("detect", own, frames, "--save", str(tmp_path), "--blur-with", told)
    assert "has no proposals to pass" in blur
    assert main(["parity", told, told, "--frames", str(folder / "*.png")]) == 0
    assert "the same 16 made proposals" in capsys.readouterr().out
    bench = ["bench", told, "--seconds", "0.2", "--cold-starts", "0", "--streams", "none", "--frames", frames]
    assert main(bench) == 0
    assert "16 strewn proposals" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outside_proposals": 4, "proposals": 4}, "leave one of them out"),
        ({"outside_proposals": 0}, "--outside-proposals is 0"),
        ({"outside_proposals": 10**6}, "--outside-proposals is 1000000, expected 65536 at most"),
        ({"outside_proposals": 4, "eval": "x"}, "leave --eval out"),
        ({"outside_proposals": 4, "reference": "x"}, "leave --reference out"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(**options)


def test_what_has_no_second_stage_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a one-stage detector"):
        export_model(SSDLITE, tmp_path / "out.onnx", ExportOptions(outside_proposals=4))
    with pytest.raises(UsageError, match="--outside-proposals can no longer be changed"):
        export_model(folder / "own.onnx", tmp_path / "out.onnx", ExportOptions(outside_proposals=4))
    for source, options in (("told.onnx", ExportOptions()), ("model.pt", ExportOptions(outside_proposals=4))):
        with pytest.raises(EdgedetError, match="have no way in there"):
            export_pipeline(folder / source, "triton", tmp_path / "repository", options)


@pytest.mark.parametrize(("precision", "target"), [("fp16", "cpu"), ("int8", "tensorrt")])
def test_lower_precisions_know_the_second_input(
    folder: Path, tmp_path: Path, precision: Precision, target: Literal["cpu", "tensorrt"]
) -> None:
    """Of the finished graph, on the frames beside it; what INT8 costs is measured on strewn proposals."""
    proposals = strewn_proposals(240, 320, PLACES)
    with Detector(folder / "told.onnx") as told:
        expected = told.detect(FRAME, proposals=proposals)
    options = ExportOptions(
        precision=precision, target=target, calib=str(folder / "*.png"), effort="quick", max_drop=1.0
    )
    report = export_model(folder / "told.onnx", tmp_path / f"{precision}.onnx", options)
    assert report.card.precision == precision and report.card.input.proposals == PLACES
    with Detector(report.path, runtime="onnxruntime:cpu") as reduced:
        found = reduced.detect(FRAME, proposals=proposals)
    assert abs(len(found) - len(expected)) < 0.5 * len(expected) and len(expected) > 10
