"""Parity, the golden input and INT8's judge look at keypoints where there are some."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from edgedet import Detector
from edgedet.artifacts.card import KeypointSpec, ModelCard
from edgedet.artifacts.keypoint_skeleton import Skeleton
from edgedet.calibration.judge import AgreementJudge
from edgedet.calibration.moved_boxes import cost_of_keypoints
from edgedet.cli import main
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, SelftestError
from edgedet.proof.golden import record, replay, require_golden
from edgedet.proof.keypoint_similarity import keypoint_similarities
from edgedet.proof.parity import Tolerance, match_detections, summarise
from tests.keypoint_detector import CORNERS, save_keypoint_graph, set_card
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

BOXES = np.array([[10, 10, 60, 70], [30, 20, 90, 80]], np.float32)


def found(aside: float = 0.0, **changes: Any) -> Detections:
    """Two objects; one keypoint of the second is ``aside``, and a third one is seen by nobody."""
    points = np.zeros((2, 3, 3), np.float32)
    points[0, :, :2], points[1, :, :2] = 30, 50
    points[..., :2, 2] = 0.9
    points[1, 0, 0] += aside
    points[:, 2, 0] += 20 * aside
    values: dict[str, Any] = {"keypoints": points, "skeleton": Skeleton(("a", "b", "c"))}
    return Detections(BOXES, [0.9, 0.8], [0, 1], ("x", "y"), (100, 120), **(values | changes))


def test_similarity_is_cocos_with_one_sigma() -> None:
    asked = np.array([[True, False], [True, True]])
    alike = keypoint_similarities(found(), found(6.0), asked)
    # 6 pixels of an object of 60 x 60: twice sigma, of one of two keypoints that are seen.
    np.testing.assert_allclose(np.diag(alike), [1, (1 + np.exp(-0.5)) / 2], atol=1e-6)
    assert alike[0, 1] == 0 and alike[1, 0] < 0.05
    unseen = found().keypoints * np.array([1, 1, 0], np.float32)  # type: ignore[operator]
    both = keypoint_similarities(found(keypoints=unseen), found(30.0, keypoints=unseen), asked)
    np.testing.assert_array_equal(np.diag(both), 1)
    one = keypoint_similarities(found(keypoints=unseen), found(30.0), asked)
    assert one[1, 1] < 0.6, "what one of the two sees counts"
    other = found(keypoints=np.zeros((2, 5, 3), np.float32), skeleton=None)
    assert not keypoint_similarities(found(), other, asked).any()


def test_other_keypoints_in_the_same_box_are_another_detection() -> None:
    report = summarise([match_detections(found(), found(0.5), Tolerance())])
    assert report.matched == 2 and report.worst_keypoint_similarity is not None
    assert 0.99 < report.worst_keypoint_similarity < 1
    report = summarise([match_detections(found(), found(30.0), Tolerance())])
    assert (report.matched, report.missing, report.extra) == (1, 1, 1)
    loose = Tolerance(min_keypoint_similarity=0.4)
    assert summarise([match_detections(found(), found(30.0), loose)]).matched == 2
    report = summarise([match_detections(found(), found(keypoints=None), Tolerance())])
    assert (report.matched, report.worst_keypoint_similarity) == (2, None)


def test_cost_grows_with_how_far_keypoints_are_off() -> None:
    costs = [cost_of_keypoints([found()], [found(aside)], least=0.3) for aside in (0, 1, 8, 40)]
    assert costs[:2] == [0, 0] and 0 < costs[2] < costs[3]
    plain = found(keypoints=None)
    assert cost_of_keypoints([plain], [plain], least=0.3) == 0


def with_card(path: Path, card: ModelCard, *, aside: float = 0.0) -> Path:
    """The graph anew, its keypoints ``aside``, with another card."""
    save_keypoint_graph(path, aside=aside)
    model = onnx.load(str(path))
    set_card(model, card)
    onnx.save(model, str(path))
    return path


def test_the_golden_input_holds_keypoints(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    card = save_keypoint_graph(path)
    with Detector(path) as detector:
        golden = record(detector, range(6))
    assert np.shape(golden["keypoints"]) == (1, 2, 3)
    # One detection is the most that the toy keeps, and the last one kept is not compared.
    golden |= {"steadiness": 1.0, "truncated": False}
    card = ModelCard.from_json(replace(card, golden=golden).to_json())
    with Detector(with_card(path, card), selftest=True) as detector:
        report = replay(detector)
        assert report.parity.keypoint_similarities is not None and report.parity.keypoint_similarities.min() > 0.99
    with Detector(with_card(path, card, aside=20.0)) as detector, pytest.raises(SelftestError):
        require_golden(detector)
    for damage in ([[[1, 2, 3]]], "abc", [[[1, 2, float("inf")]] * 2]):
        broken = replace(card, golden=golden | {"keypoints": damage})
        with (
            Detector(with_card(path, broken)) as detector,
            pytest.raises(ArtifactError, match="golden input is broken"),
        ):
            replay(detector)


def test_the_command_compares_keypoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, plain = (str(tmp_path / f"{name}.onnx") for name in "abc")
    card = save_keypoint_graph(Path(first))
    save_keypoint_graph(Path(second), aside=6.0)
    cv2.imwrite(str(tmp_path / "frame.png"), frame_with_rectangle(200, 200, (40, 40, 160, 160)))
    frames = ["--frames", str(tmp_path / "frame.png")]
    assert main(["parity", first, first, *frames]) == 0
    assert "keypoints among them: similarity at least 1.0000" in capsys.readouterr().out
    assert main(["parity", first, second, *frames]) == 1
    capsys.readouterr()
    assert main(["parity", first, second, *frames, "--min-keypoint-similarity", "0.2", "--json"]) == 0
    assert 0.2 < json.loads(capsys.readouterr().out)["worst_keypoint_similarity"] < 0.7
    save_rectangle_graph(Path(plain))
    assert main(["parity", plain, first, *frames]) == 0
    assert f"keypoints are not compared: only {first} gives any" in capsys.readouterr().out
    renamed = replace(card, output=replace(card.output, keypoints=KeypointSpec("points", Skeleton(("x", "y")))))
    with_card(Path(second), renamed)
    assert main(["parity", first, second, *frames]) == 2
    assert "do not give the same keypoints (2 from 'first' on and 2 from 'x' on)" in capsys.readouterr().err


def test_the_judge_of_int8_sees_keypoints_that_move(tmp_path: Path) -> None:
    card = save_keypoint_graph(tmp_path / "model.onnx")
    assert card.output.keypoints == KeypointSpec("points", CORNERS)
    frame = frame_with_rectangle(64, 64, (10, 10, 50, 50))[None]
    outputs = ("boxes", "scores", "labels", "count", "keypoints")
    with Detector(tmp_path / "model.onnx") as detector:

        def run(tensor: Any, aside: float = 0.0) -> Any:
            values = {name: each.copy() for name, each in detector._runtime.run({"images": tensor}).items()}
            values["keypoints"][..., 0] += aside
            return values

        judge = AgreementJudge(card, [frame], outputs, run)
        assert judge(run) == 1.0
        worse = judge(lambda tensor: run(tensor, 6.0))
        assert worse is not None and worse < 0.9
