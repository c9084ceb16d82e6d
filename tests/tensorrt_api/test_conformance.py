"""What our code asks of TensorRT exists in 10.3, 10.16 and 11.4; and the check that says so notices when not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.tensorrt_api.conformance import complaints
from tests.tensorrt_api.double import VERSIONS, make_tensorrt, surface

ROOT = Path(__file__).parents[2]
ROOMS = ("edgedet", "export", "runtimes")


def sources() -> list[Path]:
    """Our modules that touch TensorRT."""
    return [
        path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if "trt." in path.read_text("utf-8")
    ]


def test_modules_that_touch_tensorrt_are_found() -> None:
    assert {"tensorrt.py", "tensorrt_log.py", "build_watch.py"} <= {path.name for path in sources()}


@pytest.mark.parametrize("path", sources(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_our_code_stays_inside_every_versions_surface(path: Path) -> None:
    assert complaints(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", "trt.BuilderFlag.FP16 is not in TensorRT 11.4"),
        ("network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))", "11.4"),
        ("config.int8_calibrator = None", "config.int8_calibrator is not in TensorRT 11.4"),
        ("size = engine.device_memory_size", "engine.device_memory_size is not in TensorRT 11.4"),
        ("self._engine.device_memory_size", "engine.device_memory_size is not in TensorRT 11.4"),
        ("trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY", "is not in TensorRT 10.3.0"),
        (
            "builder.build_engine(network, config)",
            "builder.build_engine is not in TensorRT 10.3.0, 10.16.1.11, 11.4",
        ),
        ("context.execute_async_v2([])", "context.execute_async_v2 is not in"),
        ("config.set_timing_cache(cache, ignore=True)", "no argument ignore"),
        ("parser.parse(graph, None, 1)", "takes 2 arguments"),
        ("getattr(trt.BuilderFlag, 'FP17', None)", "no TensorRT has trt.BuilderFlag.FP17"),
        ("getattr(trt.BuilderFlag, 'FP16')", "needs a default"),
    ],
)
def test_what_some_version_lacks_is_noticed(line: str, said: str) -> None:
    assert any(said in complaint for complaint in complaints(line)), complaints(line)


def test_removing_a_guard_from_the_builder_is_noticed() -> None:
    source = (ROOT / "export" / "tensorrt.py").read_text("utf-8")
    guarded = "getattr(trt.HardwareCompatibilityLevel, wanted.upper(), None)"
    assert guarded in source
    assert complaints(source.replace(guarded, "trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY"))
    flags = "getattr(trt.BuilderFlag, name)"
    assert flags in source
    assert complaints(source.replace(flags, "trt.BuilderFlag.INT8"))


def test_enum_numbers_are_nowhere_written_down() -> None:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = node.func if isinstance(node, ast.Call) else None
            if not isinstance(called, ast.Attribute) or called.attr not in ("create_network", "set_flag"):
                continue
            shifts = [part for part in ast.walk(node) if isinstance(part, ast.BinOp)]
            assert not any(isinstance(shift.right, ast.Constant) for shift in shifts), f"{path}: flags move"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_double_refuses_what_the_real_one_would(version: str) -> None:
    trt = make_tensorrt(version)
    if version.startswith("11"):
        with pytest.raises(AttributeError):
            _ = trt.BuilderFlag.FP16
        with pytest.raises(AttributeError):
            _ = trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    with pytest.raises(TypeError):
        trt.Builder()
    with pytest.raises(TypeError, match="incompatible"):
        trt.Builder("a logger")
    with pytest.raises(TypeError):
        trt.IBuilderConfig()

    class Forgetful(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="__init__"):
        trt.Builder(Forgetful())

    class Careful(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

    builder = trt.Builder(Careful())
    config = builder.create_builder_config()
    with pytest.raises(AttributeError):
        config.max_workspace_size = 1
    with pytest.raises(TypeError):
        config.set_flag(3)
    with pytest.raises(TypeError):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1.5)
    with pytest.raises(AttributeError):
        builder.build_cuda_engine(None)


def test_the_surface_knows_the_differences_the_versions_are_known_for() -> None:
    old, middle, new = (surface(version) for version in VERSIONS)
    assert "INT8" in old["BuilderFlag"] and "INT8" in middle["BuilderFlag"] and "INT8" not in new["BuilderFlag"]
    assert "SAME_COMPUTE_CAPABILITY" not in old["HardwareCompatibilityLevel"]
    assert all("STRONGLY_TYPED" in known["NetworkDefinitionCreationFlag"] for known in (old, middle, new))
