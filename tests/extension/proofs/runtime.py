"""A runtime is a module and an entry of the table: no other product file knows its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import onnx

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY
from edgedet.errors import ArtifactError, EdgedetError, RuntimeUnavailableError, UsageError
from tests.extension.proofs.commands import said
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

GRAPH = Path("rectangle.onnx")


def refusal(expected: type[EdgedetError], path: Path, **options: Any) -> str:
    """The sentence with which an artifact is not opened."""
    try:
        Detector(path, **options).close()
    except expected as error:
        return str(error)
    raise AssertionError(f"{path} was opened with {options}")


def it_runs_where_it_is_asked_for() -> None:
    cv2.imwrite("frame.png", frame_with_rectangle(64, 64, (10, 10, 30, 30)))
    usual, ours = (
        json.loads(said("detect", GRAPH, "frame.png", *more)) for more in ((), ("--runtime", "nothing:left"))
    )
    assert (len(usual["detections"]), len(ours["detections"])) == (1, 0)
    with Detector(GRAPH) as detector:
        assert detector.description.startswith("onnxruntime")
    with Detector(GRAPH, runtime="nothing:left") as detector:
        assert (detector.description, detector.device) == ("nothing 1.0", "cpu")


def commands_and_messages_know_it() -> None:
    assert "nothing[:left|:right]" in "".join(said("detect", "--help").split())
    sentence = refusal(UsageError, GRAPH, runtime="nobody")
    assert "expected auto, " in sentence and "nothing[:left|:right]" in sentence
    assert "+ nothing" in said("doctor")


def it_is_the_choice_where_the_others_are_missing() -> None:
    there = patch("edgedet.opening.find_spec", lambda name: object() if name == "numpy" else None)
    with there, Detector(GRAPH) as detector:
        assert detector.description == "nothing 1.0"
    with patch("edgedet.opening.find_spec", lambda name: None):
        assert "pip install onnxruntime" in refusal(RuntimeUnavailableError, GRAPH)


def its_input_is_held_against_the_card() -> None:
    save_rectangle_graph(Path("small.onnx"), height=32)
    model = onnx.load("small.onnx")
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = entry.value.replace('"height": 32', '"height": 48')
    onnx.save(model, "wrong.onnx")
    sentence = refusal(ArtifactError, Path("wrong.onnx"), runtime="nothing")
    assert "takes images uint8 [1, 32, 64, 3], its card says " in sentence and "[1, 48" in sentence


if __name__ == "__main__":
    save_rectangle_graph(GRAPH)
    it_runs_where_it_is_asked_for()
    commands_and_messages_know_it()
    it_is_the_choice_where_the_others_are_missing()
    its_input_is_held_against_the_card()
