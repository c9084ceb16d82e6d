"""The first convolution on rows of pixels: the same numbers, only where it comes first, and back again."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from edgedet.artifacts.card import InputSpec
from edgedet.export.families.image_input import add_image_input
from edgedet.export.for_cpu.interleaved import read_interleaved, read_planes
from edgedet.onnx_graph.builder import GraphBuilder


def network(
    *,
    spec: InputSpec | None = None,
    pad: tuple[int, int] | None = None,
    filters: int = 4,
    kernel: int = 3,
    between: str | None = None,
    twice: bool = False,
    shown: bool = False,
    pad_channels: bool = False,
    **attributes: object,
) -> onnx.ModelProto:
    """Pixels, centred, padded by ``pad`` rows and columns, then a convolution; ``between``: an operator before it;
    ``twice``: something else reads the planes, too; ``shown``: they are an output; ``pad_channels``: a fourth."""
    spec = spec or InputSpec(height=10, width=14, mean=(0.4, 0.5, 0.6), std=(1, 1, 1))
    generator = np.random.default_rng(6)
    graph = GraphBuilder("pixels")
    image = add_image_input(graph, spec)
    if twice:
        graph.output(graph.op("Relu", image, name="relu"), "z", "float32", (None,) * 4)
    centred = image
    if pad:
        image = graph.op("Pad", image, graph.ints(0, 0, 0, 0, 0, int(pad_channels), *pad), name="input/pad")
    if between:
        image = graph.op(between, image, name="between")
    settings = {"strides": [2, 2], "pads": [kernel // 2] * 4, "kernel_shape": [kernel] * 2} | attributes
    channels = (3 + pad_channels) // int(settings.get("group", 1))  # type: ignore[call-overload]
    weights = graph.constant(generator.normal(0, 0.1, (filters, channels, kernel, kernel)))
    bias = graph.constant(generator.normal(size=filters))
    graph.output(graph.op("Conv", image, weights, bias, name="conv", **settings), "y", "float32", (None,) * 4)
    model = graph.model()
    if shown:
        model.graph.output.append(onnx.helper.make_tensor_value_info(centred, onnx.TensorProto.FLOAT, None))
    return onnx.shape_inference.infer_shapes(model)


def without_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    del model.graph.value_info[:]
    return model


def run(model: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    pixels = np.random.default_rng(7).integers(0, 256, image.shape)
    outputs: list[np.ndarray] = session.run(
        None, {image.name: pixels.astype(np.uint8 if "uint8" in image.type else np.float32)}
    )
    return outputs


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def constants(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], bytes]]:
    return {t.name: (tuple(t.dims), onnx.numpy_helper.to_array(t).tobytes()) for t in model.graph.initializer}


CASES = {
    "uint8": network(),
    "float32": network(spec=InputSpec(height=9, width=11, dtype="float32", mean=(0.1, 0.2, 0.3))),
    "one mean": network(spec=InputSpec(height=8, width=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))),
    "no mean": network(spec=InputSpec(height=8, width=8)),
    "batch": network(spec=InputSpec(height=8, width=10, batch=3, mean=(0.1, 0.2, 0.3))),
    "padded": network(pad=(3, 5)),
    "7 x 7": network(kernel=7),
    "stride 1": network(strides=[1, 1]),
    "uneven padding": network(pads=[0, 1, 2, 1]),
}


@pytest.mark.parametrize("case", CASES)
def test_same_numbers_there_and_back(case: str) -> None:
    model = onnx.ModelProto.FromString(CASES[case].SerializeToString())
    (expected,) = run(model)
    read_interleaved(model)
    assert "Transpose" not in kinds(model)
    onnx.checker.check_model(model, full_check=True)
    np.testing.assert_allclose(run(model)[0], expected, atol=1e-4)
    read_planes(model)
    assert list(model.graph.node) == list(CASES[case].graph.node)
    assert constants(model) == constants(CASES[case])
    np.testing.assert_array_equal(run(model)[0], expected)


@pytest.mark.parametrize(
    "model",
    [
        network(between="Relu"),
        network(filters=3, group=3),
        network(dilations=[2, 2], pads=[2, 2, 2, 2]),
        network(twice=True),
        network(shown=True),
        network(pad=(1, 1), pad_channels=True),
        without_shapes(network()),
    ],
    ids=["an operator between", "groups", "dilation", "two readers", "an output", "padded colours", "no shapes"],
)
def test_others_stay_as_they_are(model: onnx.ModelProto) -> None:
    before = model.SerializeToString(deterministic=True)
    assert read_interleaved(model).SerializeToString(deterministic=True) == before
    assert read_planes(model).SerializeToString(deterministic=True) == before
