"""Balancing changes ranges, never what is computed, and only before layers where the mathematics holds."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration import tensorrt_rules
from edgedet.calibration.observe import observe
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.smooth_quant import balance
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare

CHANNELS = 8
FRAMES = [np.random.default_rng(i).normal(size=(1, CHANNELS, 12, 12)).astype(np.float32) for i in range(4)]
UNEVEN = np.geomspace(1, 500, CHANNELS).astype(np.float32)


def behind_silu(kernel: int, *, group: int = 1, readers: int = 1, **attributes: object) -> Network:
    """Channels of very different size through SiLU into ``readers`` convolutions, which even them out again."""
    rng = np.random.default_rng(0)
    per_group = CHANNELS // group
    constants = {"sizes": UNEVEN[None, :, None, None]}
    nodes = [
        helper.make_node("Mul", ["x", "sizes"], ["z"], "uneven"),
        helper.make_node("Sigmoid", ["z"], ["g"], "gate"),
        helper.make_node("Mul", ["z", "g"], ["m"], "silu"),
    ]
    for index in range(readers):
        weight = rng.normal(size=(CHANNELS, per_group, kernel, kernel)).astype(np.float32)
        weight /= UNEVEN[:, None, None, None] if group > 1 else UNEVEN[None, :, None, None]
        constants |= {f"w{index}": weight, f"b{index}": rng.normal(size=CHANNELS).astype(np.float32)}
        nodes.append(
            helper.make_node(
                "Conv", ["m", f"w{index}", f"b{index}"], [f"y{index}"], f"conv{index}", group=group, **attributes
            )
        )
    graph = helper.make_graph(
        nodes,
        "behind_silu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 12, 12])],
        [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, None) for i in range(readers)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))


def outputs(network: Network) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(network.model.SerializeToString())
    return [np.stack([session.run(None, {"x": frame})[i] for frame in FRAMES]) for i in range(len(network.outputs))]


def unevenness(network: Network, tensor: str) -> float:
    channels = observe(network, FRAMES, [tensor])[tensor].channel_high
    return float(channels.max() / channels.min())


@pytest.mark.parametrize(
    ("kernel", "group", "attributes"),
    [
        (3, CHANNELS, {"pads": [1, 1, 1, 1]}),
        (3, CHANNELS, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        (1, 1, {}),
    ],
)
def test_channels_meet_one_scale_and_the_answers_stay(
    kernel: int, group: int, attributes: dict[str, object]
) -> None:
    network = behind_silu(kernel, group=group, **attributes)
    before = outputs(network)[0]
    assert unevenness(network, "m") > 300
    done = balance(network, network.layers(), FRAMES)
    assert set(done) == {"conv0"} and done["conv0"] < 0.2
    onnx.checker.check_model(network.model, full_check=True)
    layer = next(layer for layer in network.layers() if layer.name == "conv0")
    assert unevenness(network, layer.input) < 60
    np.testing.assert_allclose(outputs(network)[0], before, atol=2e-5 * np.abs(before).max())


def test_before_pointwise_layers_the_middle_of_the_range_moves_to_zero() -> None:
    network = behind_silu(1)
    balance(network, network.layers(), FRAMES)
    layer = next(layer for layer in network.layers() if layer.name == "conv0")
    seen = observe(network, FRAMES, [layer.input])[layer.input]
    assert seen.low == pytest.approx(-seen.high, rel=0.05)


def test_readers_of_one_tensor_share_what_is_written_before_them() -> None:
    network = behind_silu(1, readers=2)
    before = outputs(network)
    assert set(balance(network, network.layers(), FRAMES)) == {"conv0", "conv1"}
    inputs = {layer.input for layer in network.layers()}
    assert len(inputs) == 1 and "m" not in inputs
    for now, then in zip(outputs(network), before, strict=True):
        np.testing.assert_allclose(now, then, atol=2e-5 * np.abs(then).max())


@pytest.mark.parametrize(("kernel", "attributes"), [(3, {}), (1, {"pads": [1, 1, 1, 1]})])
def test_layers_that_mix_channels_with_padding_or_neighbours_are_left_alone(
    kernel: int, attributes: dict[str, object]
) -> None:
    network = behind_silu(kernel, **attributes)
    graph = network.graph.SerializeToString()
    assert balance(network, network.layers(), FRAMES) == {}
    assert network.graph.SerializeToString() == graph


def test_a_channel_silent_while_calibrating_still_has_room() -> None:
    network = behind_silu(3, group=CHANNELS, pads=[1, 1, 1, 1])
    silent = [frame.copy() for frame in FRAMES]
    for frame in silent:
        frame[:, 2] = 0
    balance(network, network.layers(), silent)
    layer = next(layer for layer in network.layers() if layer.name == "conv0")
    widest = observe(network, silent, [layer.input])[layer.input].magnitude
    loud = [frame.copy() for frame in silent]
    # Behind SiLU a fortieth of what the median channel reaches.
    loud[0][:, 2] = np.median(observe(network, silent, ["m"])["m"].channel_high) / UNEVEN[2] / 40
    assert observe(network, loud, [layer.input])[layer.input].channel_high[2] < widest


def test_channels_that_are_never_positive_are_balanced_too() -> None:
    network = behind_silu(3, group=CHANNELS, pads=[1, 1, 1, 1])
    negative = helper.make_node("Neg", ["a"], ["m"], "negative")
    network.nodes["silu"].output[0] = "n"
    network.graph.node.insert(3, helper.make_node("Abs", ["n"], ["a"], "size"))
    network.graph.node.insert(4, negative)
    network.refresh()
    assert set(balance(network, network.layers(), FRAMES)) == {"conv0"}


def test_groups_that_mix_two_channels_are_left_alone() -> None:
    network = behind_silu(3, group=CHANNELS // 2, pads=[1, 1, 1, 1])
    weight = network.constant("w0")[: CHANNELS // 2]
    network.set_constant("w0", weight)
    network.set_constant("b0", network.constant("b0")[: CHANNELS // 2])
    network.refresh()
    assert network.layers()[-1].depthwise, "one output for each group"
    assert balance(network, network.layers(), FRAMES) == {}


def test_frames_of_nothing_change_nothing() -> None:
    network = behind_silu(1)
    assert balance(network, network.layers(), [np.zeros_like(FRAMES[0])] * 2) == {}


def test_all_layers_are_int8_when_asked_for_and_keep_the_rules(tiny: ModuleType) -> None:
    frames = tiny.frames(16)
    shares = {}
    for layers in ("dense", "all"):
        options = QuantiseOptions(layers=layers, max_drop=1.0)  # type: ignore[arg-type]
        done = quantise(tiny.tiny_detector(), tiny.card(), frames, options=options)
        assert tensorrt_rules.violations(done.model) == []
        shares[layers] = done.report["macs_int8"]
        if layers == "all":
            assert done.report["kept_float"] == {} and done.report["balanced"]
        else:
            assert done.report["balanced"] == {}
    assert shares["dense"] < shares["all"] == 1
