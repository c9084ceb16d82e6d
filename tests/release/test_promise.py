"""What SUPPORT.md promises to keep is there."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("edgedet.export.pipeline", reason="needs edgedet[export]")

from release import promise


def test_what_was_promised_is_there() -> None:
    promised = json.loads(promise.PROMISED.read_text("utf-8"))
    gone = promise.missing(promised, promise.public_names() | promise.commands())
    assert gone == [], "SUPPORT.md says how a public name goes; before its first release: python release/promise.py"


def test_what_goes_is_seen() -> None:
    promised = {"edgedet.Detector.detect": ["frame"], "edgedet eval": ["--conf"], "edgedet.Frame": []}
    found = {"edgedet.Detector.detect": ["image"], "edgedet eval": ["--conf", "--iou"]}
    assert promise.missing(promised, found) == ["edgedet.Frame", "edgedet.Detector.detect: frame"]


def test_names_parameters_fields_and_options_are_promised() -> None:
    found = promise.public_names()
    assert found["edgedet.Detector.detect"] == ["frame", "proposals"]
    assert {"runtime", "conf", "iou", "max_detections"} <= set(found["edgedet.Detector"])
    assert {"edgedet.Detections.boxes", "edgedet.ModelCard.names", "edgedet.export.export_model"} <= found.keys()
    options = promise.commands()["edgedet export"]
    assert {"source", "--int8", "--precision fp16", "--target tensorrt"} <= set(options)
