"""The check in a process of its own says what the check itself says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from onnx import TensorProto, helper

from edgedet.errors import ArtifactError, ExportError
from edgedet.export.engines.operator_check_process import require_parsable_file
from edgedet.export.engines.operators import require_parsable
from edgedet.export.engines.parser_versions import TENSORRT, TENSORRT_RTX


def test_a_graph_that_is_refused_is_refused_in_the_same_words(tmp_path: Path) -> None:
    node = helper.make_node("NonZero", ["x"], ["places"], "where")
    graph = helper.make_graph(
        [node],
        "places",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("places", TensorProto.INT64, [2, None])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "places.onnx")
    for versions in (TENSORRT, TENSORRT_RTX):
        with pytest.raises(ArtifactError) as direct:
            require_parsable(model, versions, where=str(tmp_path / "places.onnx"))
        with pytest.raises(ArtifactError) as apart:
            require_parsable_file(tmp_path / "places.onnx", versions)
        assert str(apart.value) == str(direct.value)


def test_a_graph_that_passes_passes_and_onnx_is_not_loaded(tmp_path: Path, tiny: ModuleType) -> None:
    path = tmp_path / "tiny.onnx"
    onnx.save(tiny.tiny_detector(), path)
    lines = (
        "import sys; from pathlib import Path",
        "from edgedet.export.engines.operator_check_process import require_parsable_file",
        f"require_parsable_file(Path({str(path)!r}), ('10.3', 'rtx-1.7'))",
        "assert not {'onnx', 'torch'} & set(sys.modules)",
    )
    subprocess.run([sys.executable, "-c", "; ".join(lines[:2]) + "\n" + "\n".join(lines[2:])], check=True)


def test_a_check_that_breaks_down_is_no_approval(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"gone\.onnx could not be checked before the build: .*No such file"):
        require_parsable_file(tmp_path / "gone.onnx", TENSORRT)
