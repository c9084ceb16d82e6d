"""What attention, norms and GELU are made of is told from what looks like them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from edgedet.calibration.attention import attention, float_core, gelus, normalisations
from edgedet.calibration.decoder_boundary import feature_layers
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare
from tests import attention_graphs as graphs
from tests.attention_graphs import Sketch


def core(network: Network) -> frozenset[str]:
    return float_core(network, {layer.name for layer in feature_layers(network)})


def test_a_core_reaches_from_the_first_product_to_the_second() -> None:
    network = prepare(graphs.encoder())
    assert attention(network) == {"products", "scaled", "masked", "map", "mixed"}


def test_the_weights_of_deformable_attention_are_a_core_with_the_samples_they_weigh() -> None:
    network = prepare(graphs.decoder())
    assert attention(network) == {"sampled", "point_weights", "point_weights_wide", "weighed", "summed"}


def test_bins_of_an_edge_and_class_scores_are_no_attention() -> None:
    assert attention(prepare(graphs.box_bins())) == set()
    found = attention(prepare(graphs.area_attention()))
    assert found == {"products", "scaled", "map", "map_columns", "mixed"}
    assert "scores" not in attention(prepare(graphs.encoder()))


def test_attention_to_learned_values_is_attention() -> None:
    assert attention(prepare(graphs.learned_values())) == {"products", "map", "mixed"}


def test_a_softmax_of_one_layer_that_mixes_activations_is_attention() -> None:
    """Learned queries against the image: the first product has a constant side and is a layer."""
    sketch = Sketch()
    tokens = sketch.tokens()
    weights = sketch.linear("asked", tokens, 8, 5)
    sketch.node("Transpose", "rows", weights, perm=[0, 2, 1])
    sketch.node("Softmax", "map", "rows", axis=-1)
    sketch.node("MatMul", "mixed", "map", tokens)
    sketch.linear("head", "mixed", 8, 4)
    assert attention(prepare(sketch.model("head_bias"))) == {"map", "mixed"}


def test_products_with_quantised_weights_are_no_products_of_activations() -> None:
    """A Softmax behind an INT8 layer, whose weights are no initialiser of float any more."""
    sketch = Sketch()
    integers, scales = np.ones((8, 4), np.int8), np.ones(4, np.float32)
    sketch.node("DequantizeLinear", "weight", integers, scales, np.zeros(4, np.int8), axis=1)
    sketch.node("MatMul", "classes", sketch.tokens(), "weight")
    sketch.node("Softmax", "scores", "classes", axis=-1)
    sketch.node("DequantizeLinear", "bins", np.ones((4, 1), np.int8), np.ones(1, np.float32), np.zeros(1, np.int8))
    sketch.node("MatMul", "mean", "scores", "bins")
    model = sketch.model("mean")
    assert attention(prepare(model, quantised="allow")) == set()


def test_norms_are_found_whole_or_spelled_out() -> None:
    assert normalisations(prepare(graphs.encoder())) == {"norm"}
    spelled = {"mean", "centred", "squares", "variance", "steadied", "deviation", "quotient"}
    assert normalisations(prepare(graphs.spelled_norm())) == spelled


def test_root_mean_square_norms_are_norms_and_other_roots_are_none() -> None:
    sketch = Sketch()
    tokens = sketch.tokens()
    sketch.node("Mul", "squares", tokens, tokens)
    sketch.node("ReduceMean", "power", "squares", axes=[-1])
    sketch.node("Sqrt", "root", "power")
    sketch.node("Div", "quotient", tokens, "root")
    sketch.node("Sqrt", "side", "quotient")
    sketch.node("Div", "share", "quotient", "side")
    sketch.node("Mul", "areas", "share", tokens)
    sketch.node("ReduceMean", "area", "areas", axes=[-1])
    sketch.node("Sqrt", "size", "area")
    sketch.node("Div", "relative", "share", "size")
    network = prepare(sketch.model("relative"))
    assert normalisations(network) == {"squares", "power", "root", "quotient"}


@pytest.mark.parametrize("kind", ["Erf", "Tanh"])
def test_gelu_is_told_from_its_function(kind: str) -> None:
    model = graphs.encoder()
    for node in model.graph.node:
        node.op_type = kind if node.op_type == "Erf" else node.op_type
    assert gelus(prepare(model)) == {"gelu_in", "gelu_erf", "gelu_plus", "gelu_times", "gelu"}


def test_a_tanh_of_its_own_is_no_gelu() -> None:
    sketch = Sketch()
    sketch.node("Tanh", "tanh", sketch.tokens())
    sketch.node("Add", "shifted", "tanh", 2.0)
    sketch.node("Mul", "scaled", "shifted", "tokens")
    assert gelus(prepare(sketch.model("scaled"))) == set()


def test_what_a_core_reads_stays_in_float_down_to_the_layer_that_makes_it() -> None:
    network = prepare(graphs.encoder())
    found = core(network)
    assert {"q_bias", "k_bias", "k_columns", "v_bias", "residual", "norm", "gelu"} <= found
    # In front of a norm the stream of residuals, too, up to the layers that feed it.
    assert {"o_bias", "tokens", "flat"} <= found
    assert not found & {layer.name for layer in feature_layers(network)}
    assert not found & {"classes_bias", "second_residual", "narrow_bias"}


def test_sampled_features_stay_in_float() -> None:
    sketch = Sketch()
    sketch.conv("offsets", "images", 3, 2)
    sketch.node("Transpose", "points", "offsets", perm=[0, 2, 3, 1])
    sketch.conv("values", "images", 3, 8)
    sketch.node("Reshape", "image", "values", np.array([1, 8, 8, 8]))
    sketch.nodes.append(helper.make_node("GridSample", ["image", "points"], ["sampled"], "sampled"))
    sketch.conv("head", "sampled", 8, 4)
    network = prepare(sketch.model("head"))
    assert {"sampled", "image"} <= core(network) and attention(network) == set()


@pytest.mark.parametrize("make", [graphs.encoder, graphs.decoder, graphs.area_attention, graphs.learned_values])
def test_the_sketches_are_whole_graphs(make: object) -> None:
    onnx.checker.check_model(make(), full_check=True)  # type: ignore[operator]
