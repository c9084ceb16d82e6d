"""A segmenter opened, streamed, replayed and refused, with the toy that knows colours."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edgedet import Detector, Segmenter
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.errors import ArtifactError, SelftestError, TaskError, UsageError
from edgedet.proof.golden_map import record_map, replay_map
from edgedet.task_dispatch import TimedSegmenter, open_by_task, require_golden_of
from tests.colour_segmenter import NAMES, card, colour_segmenter, save_segmenter
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

BOX = (24, 18, 60, 54)


@pytest.fixture(scope="module", name="graph")
def _graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("segmenter") / "colours.onnx"
    save_segmenter(path)
    return path


def with_card(path: Path, described: ModelCard) -> Path:
    """The toy with another card."""
    model = colour_segmenter(card())
    onnx.helper.set_model_props(model, {METADATA_KEY: described.to_json()})
    onnx.save(model, str(path))
    return path


def test_every_pixel_of_the_frame_has_a_class(graph: Path) -> None:
    frame = frame_with_rectangle(72, 96, BOX, channel=1)
    with Segmenter(graph, scores=True) as segmenter:
        found = segmenter.segment(frame)
        assert segmenter.names == NAMES and segmenter.last_timing.total > 0 and "colours" in repr(segmenter)
    assert found.labels.shape == (72, 96) and found.labels.dtype == np.uint8
    truth = np.zeros((72, 96), bool)
    truth[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    shared = (found.mask("green") & truth).sum() / (found.mask("green") | truth).sum()
    assert shared > 0.85 and found.areas().keys() == {"background", "green"}
    assert found.scores is not None and found.scores.shape == (72, 96)
    assert found.scores.min() > 0 and found.scores.max() <= 1


def test_frames_of_any_shape_come_back_whole(graph: Path) -> None:
    frames = [frame_with_rectangle(height, width, (4, 4, 20, 20)) for height, width in ((90, 40), (30, 200))]
    with Segmenter(graph) as segmenter:
        assert [found.frame_size for found in segmenter.segment_batch(frames)] == [(90, 40), (30, 200)]


def test_streams_and_lanes_give_what_segment_gives(graph: Path, tmp_path: Path) -> None:
    for number in range(5):
        frame = frame_with_rectangle(72, 96, (6 + number, 4, 40, 30), channel=number % 3)
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    with Segmenter(graph) as segmenter:
        expected = [segmenter.segment(cv2.imread(str(tmp_path / f"{number}.png"))) for number in range(5)]
    for lanes in (1, 2):
        with Segmenter(graph, lanes=lanes) as segmenter, segmenter.stream(tmp_path) as stream:
            found = [each for _, each in stream]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgedet-lane")]


def test_each_refuses_the_others_artifacts_and_names_it(graph: Path, tmp_path: Path) -> None:
    save_rectangle_graph(tmp_path / "boxes.onnx")
    with pytest.raises(TaskError, match=r"is a segmenter.*Segmenter\(path\)\.segment"):
        Detector(graph)
    with pytest.raises(TaskError, match=r"is a detector.*Detector\(path\)\.detect"):
        Segmenter(tmp_path / "boxes.onnx")
    with open_by_task(graph) as opened, open_by_task(tmp_path / "boxes.onnx") as other:
        assert isinstance(opened, Segmenter) and isinstance(other, Detector)
        timed = TimedSegmenter(opened)
        assert timed.detect(frame_with_rectangle(72, 96, BOX)).frame_size == (72, 96)


def test_a_closed_one_and_wrong_numbers_are_refused(graph: Path) -> None:
    segmenter = Segmenter(graph)
    segmenter.close()
    with pytest.raises(UsageError, match=r"the segmenter of .* is closed"):
        segmenter.segment(frame_with_rectangle(72, 96, BOX))
    with pytest.raises(UsageError, match="2 lanes and 3 threads"):
        Segmenter(graph, lanes=2, threads=3)


def test_a_card_of_another_network_is_refused(tmp_path: Path) -> None:
    fewer = replace(card(), names=NAMES[:3])
    with (
        Segmenter(with_card(tmp_path / "fewer.onnx", fewer)) as segmenter,
        pytest.raises(ArtifactError, match="the card names 3 classes"),
    ):
        segmenter.segment(frame_with_rectangle(72, 96, BOX))


def test_the_golden_input_shows_whether_a_machine_computes_the_same(tmp_path: Path) -> None:
    save_segmenter(tmp_path / "plain.onnx")
    with Segmenter(tmp_path / "plain.onnx") as segmenter:
        golden = record_map(segmenter)
        with pytest.raises(ArtifactError, match="carries no golden input"):
            replay_map(segmenter)
    assert len({label for label, _ in golden["classes"]}) > 1 and golden["steadiness"] > 0.9
    described = replace(card(), golden=golden)
    same = with_card(tmp_path / "same.onnx", described)
    with Segmenter(same, selftest=True) as segmenter:
        assert "of 1200 pixels have the class" in str(require_golden_of(segmenter))
    other = tmp_path / "other.onnx"
    save_segmenter(other, described, faint=0.3)
    with pytest.raises(SelftestError, match="computes something else"):
        Segmenter(other, selftest=True)
    for broken in (golden | {"classes": [[0, 3]]}, golden | {"step": 0}, {"seed": 1}):
        path = with_card(tmp_path / "broken.onnx", replace(described, golden=broken))
        with Segmenter(path) as segmenter, pytest.raises(ArtifactError, match="golden input is broken"):
            replay_map(segmenter)


def test_a_golden_frame_of_one_class_proves_nothing(graph: Path, tmp_path: Path) -> None:
    with Segmenter(graph) as segmenter:
        golden = record_map(segmenter) | {"classes": [[0, 1200]], "steadiness": 0.0}
    with Segmenter(with_card(tmp_path / "one.onnx", replace(card(), golden=golden))) as segmenter:
        with pytest.raises(SelftestError, match="one class throughout"):
            require_golden_of(segmenter)
        assert "it ran" in str(require_golden_of(segmenter, unproved="accept"))
