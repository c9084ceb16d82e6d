"""Engines from memory and with a signature: what reaches the library is what was checked, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detector
from edgedet.artifacts.engine_file import write_engine
from edgedet.artifacts.signature import signature_path
from edgedet.artifacts.signature_policy import VARIABLE
from edgedet.cli import main
from edgedet.errors import SignatureError
from tests.runtimes.test_tensorrt_rtx import FRAME, KERNELS, Bench, bench

__all__ = ["bench"]  # the fixture


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("cryptography", reason="needs edgedet[signing]")
    monkeypatch.delenv(VARIABLE, raising=False)
    assert main(["keygen", str(tmp_path / "owner")]) == 0
    return tmp_path / "owner.pub"


def sign(made: Bench, owner: Path) -> None:
    assert main(["sign", str(made.engine), "--key", str(owner.with_suffix(".key"))]) == 0


def calls(made: Bench, name: str) -> int:
    return sum(called.endswith(name) for called, _ in made.trt.calls)


def test_an_engine_from_memory_runs_and_leaves_no_kernels(bench: Any) -> None:
    """Nor does it take any: they are code that lay on a disk."""
    made = bench()
    expected = made.detect()
    (kept,) = made.kept
    made.given()
    for path in (kept.parent, kept.parent.parent):
        assert path.exists()
    with Detector(made.engine.read_bytes()) as detector:
        found = detector.detect(FRAME)
    np.testing.assert_array_equal(found.boxes, expected.boxes)
    assert made.given() == [] and made.kept == [kept]
    kept.unlink()
    with Detector(made.engine.read_bytes()) as detector:
        detector.detect(FRAME)
    assert made.kept == []


@pytest.mark.parametrize("container", ["file", "plan"])
def test_a_signed_engine_runs_from_what_was_read(bench: Any, owner: Path, container: Any) -> None:
    made = bench()
    made.engine = made.engine if container == "file" else made.engine.with_name("bare.rtx")
    write_engine(made.engine, made.card, made.plan, container=container)
    sign(made, owner)
    with Detector(made.engine, require_signature=owner) as detector:
        assert len(detector.detect(FRAME)) == 1
    assert made.given() == [] and made.kept == []


def test_kernels_that_somebody_put_into_the_cache_are_not_run(bench: Any, owner: Path) -> None:
    made = bench()
    made.detect()
    assert made.kept[0].read_bytes().endswith(KERNELS)
    sign(made, owner)
    made.given()
    with Detector(made.engine, require_signature=owner) as detector:
        detector.detect(FRAME)
    assert made.given() == []


@pytest.mark.parametrize("what", ["unsigned", "other plan", "other card", "other description"])
def test_what_was_not_signed_never_reaches_the_library(bench: Any, owner: Path, what: str) -> None:
    made = bench()
    bare = what == "other description"
    made.engine = made.engine.with_name("bare.rtx") if bare else made.engine
    write_engine(made.engine, made.card, made.plan, container="plan" if bare else "file")
    if what != "unsigned":
        sign(made, owner)
    content = made.engine.read_bytes()
    if what == "other plan":
        write_engine(made.engine, made.card, made.plan + b"\0")
    elif what == "other card":
        made.write(device="another")
    elif what == "other description":
        beside = made.engine.with_suffix(".json")
        beside.write_bytes(beside.read_bytes().replace(b"rectangle", b"rectangel"))
    made.trt.calls.clear()
    with pytest.raises(SignatureError):
        Detector(made.engine, require_signature=owner)
    assert calls(made, "deserialize_cuda_engine") == calls(made, "init_libnvinfer_plugins") == 0
    assert signature_path(made.engine).exists() == (what != "unsigned") and content
