"""Graphs through ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from edgedet.card import METADATA_KEY
from edgedet.errors import ArtifactError, RuntimeUnavailableError
from edgedet.runtimes.onnxruntime import open as open_graph
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


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
    with pytest.raises(ArtifactError, match=r"takes uint8 \[1, 64, 64, 3\], its card says uint8 \[1, 64, 128, 3\]"):
        open_graph(path, card=wrong)
    with pytest.raises(ArtifactError, match="takes images, its card says pixels"):
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
