"""What is measured, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpu_day.__main__ import BUDGET
from gpu_day.inputs import Graph, Inputs
from gpu_day.plan import plan
from gpu_day.sequence import Step
from gpu_day.step import KINDS

DETECTORS = {"small": None, "ssdlite": "bccd", "fasterrcnn": "bccd", "yolox": "coco"}
GRAPHS = tuple(
    Graph(f"{name}-{precision}", name, "ssd", precision, f"{name}-{precision}.onnx", 3, pictures, None)  # type: ignore[arg-type]
    for name, pictures in DETECTORS.items()
    for precision in ("fp32", "fp16", "int8")
)


def steps(*engines: Path) -> list[Step]:
    inputs = Inputs(
        Path("/in"), "0", "today", "tensorrt", GRAPHS, {}, {"fasterrcnn": "fasterrcnn.pt"}, {"detr-fp32": "why"}, {}
    )
    return plan(inputs, work=Path("/work"), library="tensorrt", engines=engines)


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [step.name for step in steps()]


def test_every_graph_becomes_an_engine_and_every_labelled_one_is_judged(names: list[str]) -> None:
    for graph in GRAPHS:
        assert names.count(f"engine {graph.name}") == 1
        assert names.count(f"accuracy {graph.name}") == (graph.pictures is not None)
    for detector in DETECTORS:
        assert names.count(f"latency {detector}") == 1
    assert len(set(names)) == len(names)


def test_what_decides_most_comes_first(names: list[str]) -> None:
    assert names[:5] == ["machine", "kernels", "selftest", "engine ssdlite-fp16", "accuracy ssdlite-fp16"]
    order = [
        "engine fasterrcnn-fp16", "engine ssdlite-int8", "end-to-end ssdlite-fp16", "torchvision fasterrcnn-fp16",
        "kernel-speed", "latency ssdlite", "engine yolox-fp16", "engine small-fp16", "engine ssdlite-fp32",
    ]  # fmt: skip
    assert [name for name in names if name in order] == order
    assert names[-1] == "left-out detr-fp32"


def test_an_engine_comes_before_what_needs_it(names: list[str]) -> None:
    for index, name in enumerate(names):
        kind, _, graph = name.partition(" ")
        if kind in ("accuracy", "end-to-end", "torchvision"):
            assert f"engine {graph}" in names[:index], name


def test_the_decisive_steps_fit_into_the_budget_at_their_limits() -> None:
    every = steps()
    last = next(index for index, step in enumerate(every) if step.name == "accuracy ssdlite-fp16")
    assert sum(step.limit for step in every[: last + 1]) < BUDGET < 540
    assert all(0 <= step.least <= step.limit for step in every)


def test_every_step_has_something_to_do_it() -> None:
    assert {step.command[3] for step in steps(Path("mine.trt"))} == set(KINDS)


def test_the_users_own_engines_are_timed() -> None:
    given = [step for step in steps(Path("/mine.trt")) if step.name.startswith("given")]
    assert [step.name for step in given] == ["given /mine.trt"]
