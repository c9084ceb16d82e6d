"""The rectangle's detector with two keypoints: its upper left corner, which is seen, and its lower right one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import METADATA_KEY, KeypointSpec, ModelCard
from edgedet.artifacts.keypoint_skeleton import Skeleton
from tests.rectangle_detector import save_rectangle_graph

CORNERS = Skeleton(("first", "last"), ((0, 1),))
SCORES = (0.75, 0.25)


def save_keypoint_graph(path: Path, *, aside: float = 0.0, skeleton: Skeleton = CORNERS) -> ModelCard:
    """Write the graph; returns its card.

    ``aside``: canvas pixels by which all points lie further right. ``skeleton``: of more points than two, where
    those past the second lie at the upper left corner.
    """
    card = save_rectangle_graph(path)
    card = replace(card, output=replace(card.output, keypoints=KeypointSpec("points", skeleton)))
    model = onnx.load(str(path))
    count = len(skeleton.names)
    constants = {
        "of_box": np.array([0, 1, 2, 3] + [0, 1] * (count - 2), np.int64),
        "by_point": np.array([1, 1, count, 2], np.int64),
        "aside": np.array([aside, 0], np.float32),
        "point_scores": np.array([*SCORES, *[0.0] * (count - 2)], np.float32).reshape(1, 1, count, 1),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    model.graph.node.extend(
        [
            helper.make_node("Gather", ["boxes", "of_box"], ["of_points"], axis=2),
            helper.make_node("Reshape", ["of_points", "by_point"], ["corners"]),
            helper.make_node("Add", ["corners", "aside"], ["places"]),
            helper.make_node("Concat", ["places", "point_scores"], ["keypoints"], axis=3),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, [1, 1, count, 3]))
    set_card(model, card)
    onnx.save(model, str(path))
    return card


def set_card(model: onnx.ModelProto, card: ModelCard) -> None:
    """Put ``card`` in the place of the graph's own."""
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = card.to_json()
