"""Ultralytics' segment and pose heads, given to NVIDIA's own parser and builder in every precision."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.export.built_graph import graph_options
from edgedet.export.families import yolo
from edgedet.export.finished_graph import checked
from edgedet.export.foreign import open_foreign
from tests.export.engines.family_graphs import ENGINE
from tests.export.engines.real_builder import real_builder
from tests.export.engines.test_families_built import require_built
from tests.export.task_heads import TaskHead, save_task_head


@pytest.mark.parametrize(("points", "chosen"), [(None, False), (None, True), ((17, 3), False)])
def test_masks_and_keypoints_are_built(tmp_path: Path, points: tuple[int, int] | None, chosen: bool) -> None:
    library = real_builder()
    source = save_task_head(tmp_path / "head.onnx", TaskHead(points=points, chosen=chosen))
    exported, _, _ = yolo.export(open_foreign(source), graph_options(ENGINE), classes=3)
    beside = {"prototypes", "coefficients"} if points is None else {"keypoints"}
    assert beside <= {value.name for value in exported.model.graph.output}
    require_built(library, checked(exported.model, nms="runtime"))
