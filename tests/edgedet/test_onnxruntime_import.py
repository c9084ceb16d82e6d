"""Nothing about what a detector runs leaves the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
import numpy, onnx, sys, time
from onnx import TensorProto, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "secret", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
{importing}
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
session.run(None, dict(x=numpy.ones(1, numpy.float32)))
"""


def files_left_by(importing: str, home: Path, **environment: str) -> list[str]:
    """What a process that opens a graph writes into its user's folders."""
    home.mkdir()
    # Runtimes keep quiet in CI of their own accord.
    silent = (
        "CI",
        "GITHUB_ACTIONS",
        "TF_BUILD",
        "ORT_DISABLE_TELEMETRY",
        "ORT_RUNNING_UNIT_TESTS",
        "XDG_CACHE_HOME",
    )
    inherited = {name: value for name, value in os.environ.items() if name not in silent}
    code = SAMPLE.format(importing=importing)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"HOME": str(home)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_nothing_is_kept_for_anybody(tmp_path: Path) -> None:
    assert files_left_by("from edgedet.onnxruntime_import import onnxruntime", tmp_path / "home") == []


def test_the_check_would_see_it(tmp_path: Path) -> None:
    if not files_left_by("import onnxruntime", tmp_path / "home"):
        pytest.skip("this build of ONNX Runtime keeps nothing by itself")


def test_only_one_place_imports_it() -> None:
    root = Path(__file__).resolve().parents[2]
    importers = {
        path.relative_to(root).as_posix()
        for folder in ("edgedet", "export", "calibration", "runtimes")
        for path in (root / folder).rglob("*.py")
        if any(
            line.strip().startswith(("import onnxruntime", "from onnxruntime"))
            for line in path.read_text().splitlines()
        )
    }
    assert importers == {"edgedet/onnxruntime_import.py"}


@pytest.mark.parametrize(("value", "off"), [("0", True), ("1", False), (None, False)])
def test_spinning_can_be_switched_off(value: str | None, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEDET_SPINNING", raising=False)
    if value is not None:
        monkeypatch.setenv("EDGEDET_SPINNING", value)
    from edgedet.onnxruntime_import import session_options

    options = session_options(2)
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"
    if off:
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    else:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry("session.intra_op.allow_spinning")
