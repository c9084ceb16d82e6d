"""Graphs through ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY, InputSpec
from edgedet.errors import ArtifactError, RuntimeUnavailableError
from edgedet.runtimes.base import TensorSpec, require_outputs
from edgedet.runtimes.onnxruntime import open as open_graph
from tests.rectangle_detector import frame_with_rectangle, save_foreign_graph, save_rectangle_graph


def test_bound_buffers_hold_what_a_plain_run_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    card = save_rectangle_graph(path)
    image = frame_with_rectangle(64, 64, (10, 20, 30, 50))[None]
    runtime = open_graph(path, card=card, threads=1)
    plain = onnxruntime.InferenceSession(str(path)).run(None, {"images": image})
    outputs = runtime.run({"images": image})
    for spec, expected in zip(runtime.outputs, plain, strict=True):
        np.testing.assert_array_equal(outputs[spec.name], expected)
        assert spec.shape == expected.shape and spec.dtype == expected.dtype
    again = runtime.run({"images": np.zeros_like(image)})
    assert again["boxes"] is outputs["boxes"], "buffers are kept"
    assert again["count"].tolist() == [0]
    runtime.close()
    runtime.close()


def test_between_frames_the_threads_sleep(tmp_path: Path) -> None:
    """By default ONNX Runtime's go on looking for work for 0.1 s and more, at full power."""
    side = 512
    shape = (1, 3, side, side)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("images", "y")]
    weight = numpy_helper.from_array(np.ones((3, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["images", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "convolution", values[:1], values[1:], [weight])
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    spec = InputSpec(height=side, width=side, layout="NCHW", dtype="float32")
    card = replace(save_rectangle_graph(tmp_path / "b.onnx"), input=spec)

    def busy_while_idle(run: Callable[[dict[str, Any]], object]) -> float:
        run({"images": np.ones(shape, np.float32)})
        begin = time.process_time()
        time.sleep(0.1)
        return time.process_time() - begin

    plain = onnxruntime.SessionOptions()
    plain.intra_op_num_threads = 2
    if busy_while_idle(partial(onnxruntime.InferenceSession(str(path), plain).run, None)) < 0.02:
        pytest.skip("this build of ONNX Runtime spares idle threads by itself")
    assert busy_while_idle(open_graph(path, card=card, threads=2).run) < 0.02


def test_outputs_of_unknown_shape_are_given_too(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    card = save_rectangle_graph(path)
    model = onnx.load(str(path))
    for output in model.graph.output:
        output.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, str(path))
    outputs = open_graph(path, card=card).run({"images": frame_with_rectangle(64, 64, (10, 20, 30, 50))[None]})
    assert outputs["boxes"].tolist() == [[[10, 20, 30, 50]]]


def test_a_card_that_contradicts_the_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    card = save_rectangle_graph(path)
    wrong = replace(card, input=replace(card.input, width=128))
    with pytest.raises(
        ArtifactError, match=r"takes images uint8 \[1, 64, 64, 3\], its card says images uint8 \[1, 64, 128, 3\]"
    ):
        open_graph(path, card=wrong)
    with pytest.raises(ArtifactError, match=r"takes images .*, its card says pixels"):
        open_graph(path, card=replace(card, input=replace(card.input, name="pixels")))


def test_a_graph_the_runtime_refuses_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    card = save_rectangle_graph(path)
    model = onnx.load(str(path))
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, str(path))
    with pytest.raises(ArtifactError, match=r"ONNX Runtime cannot load .*a.onnx.*NoSuchOperator") as caught:
        open_graph(path, card=card)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
def test_cuda_that_is_not_there_says_what_to_install(tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "a.onnx")
    with pytest.raises(RuntimeUnavailableError, match=r"no CUDA provider; pip install 'edgedet\[gpu\]'"):
        open_graph(tmp_path / "a.onnx", card=card, device="cuda")


def test_it_says_what_runs_and_where(tmp_path: Path) -> None:
    card = save_rectangle_graph(tmp_path / "a.onnx")
    runtime = open_graph(tmp_path / "a.onnx", card=card, threads=1, device="cpu")
    assert runtime.description == f"onnxruntime {onnxruntime.__version__} CPUExecutionProvider, 1 threads"


@pytest.mark.parametrize("shape", [(1, 1 << 37, 1), (1, 300, 1 << 62)])
def test_outputs_that_no_memory_holds_are_refused(shape: tuple[int, ...]) -> None:
    """A size that came to be another would take all of it. Sizes that are not fixed are for the run to tell."""
    names = [TensorSpec("count", (1,), np.dtype(np.int32)), TensorSpec("boxes", shape, np.dtype(np.float32))]
    with pytest.raises(ArtifactError, match=r"gives boxes float32 \[1, .*more than any detector does"):
        require_outputs(Path("large.onnx"), names)
    require_outputs(Path("usual.onnx"), [TensorSpec("boxes", (-1, 300, 4), np.dtype(np.float32))])


def test_a_graph_that_does_not_load_leaves_the_results_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The bindings' second try prints to standard output, where boxes go."""
    path = tmp_path / "broken.onnx"
    save_foreign_graph(path)
    model = onnx.load(str(path))
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, str(path))
    with pytest.raises(ArtifactError, match="cannot load"):
        Detector(path, runtime="onnxruntime:cpu")
    assert capfd.readouterr().out == ""
