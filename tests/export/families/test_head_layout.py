"""What a head gives becomes corners in pixels of a canvas that need not be square."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from edgedet.export.families.head_layout import Layout, add_boxes_and_scores
from edgedet.onnx_graph.builder import GraphBuilder

HEIGHT, WIDTH, CLASSES = 120, 200, 2
CORNERS = np.array([[20.0, 30.0, 60.0, 90.0], [100.0, 6.0, 180.0, 54.0], [0.0, 0.0, 200.0, 120.0]], np.float32)
SCORES = np.array([[0.9, 0.1], [0.2, 0.7], [0.4, 0.3]], np.float32)


def written(form: str, unit: str) -> np.ndarray:
    """CORNERS as a head writes them."""
    near, far = CORNERS[:, :2], CORNERS[:, 2:]
    boxes = {
        "corners": CORNERS,
        "top_left": np.concatenate([near, far - near], axis=1),
        "centre": np.concatenate([(near + far) / 2, far - near], axis=1),
    }[form]
    return boxes / np.float32([WIDTH, HEIGHT, WIDTH, HEIGHT]) if unit == "shares" else boxes


def decoded(raw: np.ndarray, layout: Layout) -> list[np.ndarray]:
    graph = GraphBuilder("head")
    boxes, scores = add_boxes_and_scores(
        graph, graph.input("raw", "float32", raw.shape), layout, height=HEIGHT, width=WIDTH
    )
    graph.output(boxes, "boxes", "float32", (1, len(CORNERS), 4))
    graph.output(scores, "scores", "float32", (1, CLASSES, len(CORNERS)))
    session = onnxruntime.InferenceSession(graph.model().SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(values[0]) for values in session.run(None, {"raw": raw})]


@pytest.mark.parametrize("form", ["centre", "top_left", "corners"])
@pytest.mark.parametrize("unit", ["pixels", "shares"])
@pytest.mark.parametrize("order", ["rows", "columns"])
def test_boxes_of_every_form_become_corners_in_pixels(form: Any, unit: Any, order: Any) -> None:
    rows = np.concatenate([written(form, unit), SCORES], axis=1)[None].astype(np.float32)
    raw = rows if order == "rows" else np.ascontiguousarray(rows.transpose(0, 2, 1))
    boxes, scores = decoded(raw, Layout(order, CLASSES, form=form, unit=unit))
    np.testing.assert_allclose(boxes, CORNERS, atol=1e-4)
    np.testing.assert_array_equal(scores, SCORES.T)


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_score_of_nothing_is_no_class(place: Any) -> None:
    nothing = np.full((len(CORNERS), 1), 0.5, np.float32)
    scored = [nothing, SCORES] if place == "first" else [SCORES, nothing]
    raw = np.concatenate([written("corners", "pixels"), *scored], axis=1)[None]
    boxes, scores = decoded(raw, Layout("rows", CLASSES, form="corners", background=place))
    np.testing.assert_array_equal(boxes, CORNERS)
    np.testing.assert_array_equal(scores, SCORES.T)
