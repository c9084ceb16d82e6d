"""A further array per detection goes from a graph's output to JSON and COCO by name: no product file knows it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


def test_track_ids_come_from_a_real_graph(tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "plain.onnx")
    model = onnx.load(str(tmp_path / "plain.onnx"))
    model.graph.initializer.append(numpy_helper.from_array(np.full((1, 1), 41, np.int32), "last_id"))
    model.graph.node.append(helper.make_node("Add", ["labels", "last_id"], ["track_id"]))
    model.graph.output.append(helper.make_tensor_value_info("track_id", TensorProto.INT32, [1, 1]))
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = replace(card, output=replace(card.output, data=("track_id",))).to_json()
    onnx.save(model, str(tmp_path / "tracked.onnx"))
    frame = frame_with_rectangle(64, 64, (10, 10, 30, 30))
    with Detector(tmp_path / "tracked.onnx") as detector, Detector(tmp_path / "plain.onnx") as plain:
        found = detector.detect(frame)
        assert plain.detect(frame).data == {}
    assert json.loads(found.to_json())["detections"][0]["track_id"] == 42
    assert found.to_coco(3)[0]["track_id"] == 42
