"""What workers see of calibration frames is what one machine sees; ``test_ray.py`` has the workers of Ray."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from edgedet import __version__
from edgedet.calibration.executor import frames_run_by
from edgedet.calibration.observe import observe
from edgedet.cluster.calibration_pass import FrameWork, RunOrder
from edgedet.onnx_graph.network import Array, Network
from edgedet.onnxruntime_import import onnxruntime
from tests import tiny_detector as tiny


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's store, in which references are the things themselves."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda reference: reference))


def work(model: onnx.ModelProto, **changed: str) -> FrameWork:
    order = {"cores": 2, "version": __version__, "runtime": onnxruntime.__version__} | changed
    return FrameWork(RunOrder(**order), [np.frombuffer(model.SerializeToString(), np.uint8)])  # type: ignore[arg-type]


def test_two_workers_see_what_one_machine_sees() -> None:
    network, frames = Network(tiny.tiny_detector()), tiny.frames(6)
    tensors = ["stem_out", "widen_out", "head_out"]
    asked: list[int] = []

    def run(
        model: onnx.ModelProto, inputs: Iterable[Mapping[str, Array]], threads: int | None
    ) -> Iterator[dict[str, Array]]:
        # They are sent to the workers, and what they see is sent back.
        workers = [pickle.loads(pickle.dumps(work(model))) for _ in range(2)]
        for number, feed in enumerate(inputs):
            asked.append(number)
            yield pickle.loads(pickle.dumps(workers[number % 2](feed)))

    here = observe(network, frames, tensors)
    with frames_run_by(run):
        there = observe(network, frames, tensors)
    assert asked == list(range(6))
    assert pickle.dumps(there) == pickle.dumps(here)
    asked.clear()
    observe(network, frames, tensors)
    assert not asked, "it was switched off"


@pytest.mark.parametrize("what", ["version", "runtime"])
def test_another_version_is_refused(what: str) -> None:
    said = work(tiny.tiny_detector(), **{what: "9.9"})({})
    assert isinstance(said, str) and "9.9" in said and "install the same on all nodes" in said
