"""The steps that build and judge engines, on doubles: what is wrong fails, what is missing was not measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_day import accuracy, engines, latency
from gpu_day.inputs import Graph, Inputs
from gpu_day.library import choose
from gpu_day.outcome import NotHereError, Report, judge
from gpu_day.pictures import read_answers, save_answers

from edgedet.artifacts.engine_library import TENSORRT, TENSORRT_RTX
from edgedet.detections import Detections
from edgedet.errors import ExportError, RuntimeUnavailableError, SelftestError
from edgedet.runtimes.cuda.device import Cuda
from tests.tensorrt_api.cuda_double import FakeCuda
from tests.tensorrt_api.installed import install

GRAPH = Graph("a-fp16", "a", "ssd", "fp16", "a.onnx", 3, "cells", "a.npz", 0.5, 0.5)
INPUTS = Inputs(Path("/nowhere"), "0", "today", "tensorrt", (GRAPH,), {}, {}, {}, {})


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return install(monkeypatch, "10.16.1.11", FakeCuda())


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: Cuda, device: int = 0) -> None:
        raise RuntimeUnavailableError("there is none")

    install(monkeypatch, "10.16.1.11", FakeCuda())
    monkeypatch.setattr(Cuda, "__init__", absent)


def result(tmp_path: Path, work: Callable[[Report], None]) -> Any:
    work(Report(tmp_path / "result.json"))
    return json.loads((tmp_path / "result.json").read_text())


def test_an_engine_is_built_proved_and_counted(gpu: Any, tmp_path: Path) -> None:
    found = result(tmp_path, lambda report: engines.build_selftest(report, tmp_path, TENSORRT))
    checks = {check["what"]: (check["outcome"], check["detail"]) for check in found["checks"]}
    assert [outcome for outcome, _ in checks.values()] == ["passed"] * 3
    assert "by TensorRT" in checks[engines.BUILT][1] and "golden frame" in checks[engines.PROVED][1]
    assert "fp32" in checks[engines.LAYERS][1]
    assert found["figures"]["engine"]["tensorrt"] == "10.16.1.11" and found["figures"]["bytes"] > 0
    assert engines.require_engine(tmp_path, "selftest", TENSORRT).suffix == ".trt"
    assert (tmp_path / "engines" / "timing.cache").exists()


@pytest.mark.parametrize("error", [ExportError("no tactic"), SelftestError("other boxes"), ValueError("a bug")])
def test_a_build_that_fails_is_a_failure(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(engines, "export_model", fail)
    found = result(tmp_path, lambda report: engines.build_selftest(report, tmp_path, TENSORRT))
    assert judge(found)[0] == "failed" and str(error) in judge(found)[1]
    with pytest.raises(NotHereError, match="see the step 'engine selftest'"):
        engines.require_engine(tmp_path, "selftest", TENSORRT)


def test_a_gpu_that_fails_while_building_is_a_failure_and_no_absence(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise RuntimeUnavailableError("an illegal address")

    monkeypatch.setattr(engines, "export_model", fail)
    found = result(tmp_path, lambda report: engines.build_selftest(report, tmp_path, TENSORRT))
    assert judge(found)[0] == "failed"


def test_without_a_gpu_tensorrt_builds_nothing(no_gpu: None, tmp_path: Path) -> None:
    with pytest.raises(NotHereError, match="no GPU: there is none"):
        engines.build_selftest(Report(tmp_path / "result.json"), tmp_path, TENSORRT)


def test_roi_align_of_the_other_library_is_not_tried(gpu: Any, tmp_path: Path) -> None:
    graph = replace(GRAPH, family="faster_rcnn")
    with pytest.raises(NotHereError, match=r"prepared for tensorrt, .* --library tensorrt-rtx"):
        engines.build(Report(tmp_path / "result.json"), INPUTS, graph, tmp_path, TENSORRT_RTX)


def test_accuracy_and_latency_without_an_engine_say_which_step_to_see(gpu: Any, tmp_path: Path) -> None:
    judged = result(tmp_path, lambda report: accuracy.measure(report, INPUTS, GRAPH, tmp_path, TENSORRT))
    timed = result(tmp_path, lambda report: latency.measure(report, INPUTS, [GRAPH], tmp_path, TENSORRT))
    for found in (judged, timed):
        assert judge(found)[0] == "not_measured" and "see the step 'engine a-fp16'" in judge(found)[1]


def test_accuracy_without_a_gpu_names_every_figure(no_gpu: None, tmp_path: Path) -> None:
    found = result(tmp_path, lambda report: accuracy.measure(report, INPUTS, GRAPH, tmp_path, TENSORRT))
    assert found["bars"][0]["name"] == "mAP of a-fp16 (against the fp32 graph's)"
    assert judge(found)[0] == "not_measured" and "no GPU: there is none" in judge(found)[1]


def some_detections(seed: int, *, moved: float = 0.0) -> Detections:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 200, (6, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + 40], axis=1) + np.float32(moved)
    scores = np.sort(random.uniform(0.4, 1, 6).astype(np.float32))[::-1]
    return Detections(boxes, scores, np.arange(6, dtype=np.int32) % 2, ("a", "b"), (240, 320))


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    nothing = Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("a", "b"), (10, 20)
    )
    saved = [some_detections(0), nothing, some_detections(1)]
    save_answers(tmp_path / "a.npz", saved)
    for one, other in zip(read_answers(tmp_path / "a.npz", ("a", "b")), saved, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.frame_size == other.frame_size


def test_an_engine_that_gives_other_boxes_fails() -> None:
    answers = [some_detections(seed) for seed in range(4)]
    assert accuracy._parity(answers, answers, "fp16").startswith("100.00% of 24 detections on 4 pictures agree")
    with pytest.raises(SelftestError, match="expected 97%"):
        accuracy._parity(answers, [some_detections(seed, moved=8) for seed in range(4)], "fp16")
    with pytest.raises(SelftestError, match="none of 0 detections"):
        accuracy._parity([answers[0][:0]], [answers[0][:0]], "fp16")


def test_a_picture_too_few_is_no_agreement() -> None:
    with pytest.raises(ValueError):
        accuracy._parity([some_detections(0)], [], "fp16")


def test_the_library_is_tensorrt_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    there: set[str] = set()
    monkeypatch.setattr("gpu_day.library.find_spec", lambda name: name if name in there else None)
    assert choose("auto") is TENSORRT
    there.add("tensorrt_rtx_bindings")
    assert choose("auto") is TENSORRT_RTX and choose("tensorrt") is TENSORRT
    there.add("tensorrt")
    assert choose("auto") is TENSORRT and choose("tensorrt-rtx") is TENSORRT_RTX


def test_a_golden_frame_that_shows_nothing_proves_nothing(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engines.export_model

    def empty(*arguments: Any, **named: Any) -> Any:
        report = real(*arguments, **named)
        return replace(report, card=replace(report.card, golden={"seed": 1, "boxes": []}))

    monkeypatch.setattr(engines, "export_model", empty)
    found = result(tmp_path, lambda report: engines.build_selftest(report, tmp_path, TENSORRT))
    assert {check["what"]: check["outcome"] for check in found["checks"]}[engines.PROVED] == "not_measured"
