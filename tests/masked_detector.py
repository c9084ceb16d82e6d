"""The rectangle's detector with masks: the cells of a box are the object's, but for those of the upper rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.artifacts.card import METADATA_KEY, ModelCard
from tests.rectangle_detector import save_rectangle_graph

ABSENT_ROWS = 7
"""Of 28: what the masks leave out."""


def save_masked_graph(path: Path) -> ModelCard:
    """Write the graph; returns its card."""
    card = save_rectangle_graph(path)
    card = replace(card, output=replace(card.output, masks="in_boxes"))
    model = onnx.load(str(path))
    cells = np.ones((1, 1, 28, 28), np.float32)
    cells[:, :, :ABSENT_ROWS] = 0
    model.graph.initializer.append(numpy_helper.from_array(cells, "cells"))
    model.graph.node.append(helper.make_node("Identity", ["cells"], ["masks"]))
    model.graph.output.append(helper.make_tensor_value_info("masks", TensorProto.FLOAT, [1, 1, 28, 28]))
    (entry,) = (each for each in model.metadata_props if each.key == METADATA_KEY)
    entry.value = card.to_json()
    onnx.save(model, str(path))
    return card
