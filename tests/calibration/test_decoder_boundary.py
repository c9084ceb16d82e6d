"""Network is told from decoding: what turns predictions into boxes and scores is never quantised."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgedet.calibration.decoder_boundary import decoding, feature_layers, prediction_layers
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare
from tests import attention_graphs


def graph(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], *outputs: str) -> Network:
    """A graph over ``x`` [1, 3, 8, 8]; ``outputs`` are float and of any shape."""
    made = helper.make_graph(
        nodes,
        "regions",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return prepare(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


WEIGHT = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)


def test_layers_are_counted_and_decoding_is_told_from_network(tiny: ModuleType) -> None:
    network = prepare(tiny.tiny_detector())
    layers = {layer.name: layer for layer in feature_layers(network)}
    assert list(layers) == ["stem", "widen", "spread", "narrow", "head"]
    assert layers["stem"].multiply_adds == 16 * 3 * 9 * 16 * 16
    assert layers["spread"].depthwise and layers["spread"].multiply_adds == 32 * 9 * 16 * 16
    assert {"rows", "flat", "scores_", "boxes_"} <= decoding(network)
    assert not {"head", "residual", "stem_silu"} & decoding(network)


def test_matrices_of_decoding_are_no_layers() -> None:
    """A projection of softmaxed bins to distances (YOLO's DFL) or of selected scores must never be quantised."""
    rng = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(rng.normal(size=(16, 3, 1, 1)).astype(np.float32), "w"),
        numpy_helper.from_array(np.arange(16, dtype=np.float32).reshape(1, 16, 1, 1), "bins"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Softmax", ["c"], ["p"], "softmax", axis=1),
        helper.make_node("Conv", ["p", "bins"], ["y"], "dfl"),
    ]
    graph = helper.make_graph(
        nodes,
        "dfl",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 8, 8])],
        constants,
    )
    network = prepare(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    assert [layer.name for layer in feature_layers(network)] == ["conv"]
    assert decoding(network) == {"softmax", "dfl"}


def test_boxes_that_are_pooled_by_are_decoding_and_pooled_features_are_not() -> None:
    """A second stage: layers behind RoiAlign are network again, what makes its boxes is not."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["features"], "backbone"),
        helper.make_node("Mul", ["boxes", "two"], ["scaled"], "scale_boxes"),
        helper.make_node(
            "RoiAlign", ["features", "scaled", "batch"], ["near"], "near", output_height=2, output_width=2
        ),
        helper.make_node(
            "RoiAlign", ["features", "scaled", "batch"], ["far"], "far", output_height=2, output_width=2
        ),
        helper.make_node("Greater", ["sizes", "two"], ["large"], "large"),
        helper.make_node("Where", ["large", "far", "near"], ["pooled"], "level"),
        helper.make_node("Conv", ["pooled", "w"], ["head_out"], "head"),
        helper.make_node("Sigmoid", ["head_out"], ["y"], "scores"),
    ]
    constants = {
        "w": WEIGHT,
        "boxes": np.array([[0, 0, 4, 4]], np.float32),
        "two": np.array(2, np.float32),
        "sizes": np.ones((1, 1, 1, 1), np.float32),
        "batch": np.zeros(1, np.int64),
    }
    network = graph(nodes, constants, "y")
    assert [layer.name for layer in feature_layers(network)] == ["backbone", "head"]
    assert decoding(network) == {"scale_boxes", "large", "scores"}


def test_a_matrix_behind_a_selection_is_no_layer() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("TopK", ["c", "k"], ["best", "where"], "topk"),
        helper.make_node("Conv", ["best", "w"], ["y"], "weighting"),
    ]
    network = graph(nodes, {"w": WEIGHT, "k": np.array([4], np.int64)}, "y")
    assert [layer.name for layer in feature_layers(network)] == ["conv"]
    assert decoding(network) == {"topk", "weighting"}


def test_scores_that_select_features_are_decoding_though_a_layer_follows() -> None:
    """The best places of a feature map, gathered for a second look at them."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Sigmoid", ["c"], ["scores"], "scores"),
        helper.make_node("ArgMax", ["scores"], ["place"], "best", axis=3, keepdims=1),
        helper.make_node("GatherElements", ["c", "place"], ["taken"], "take", axis=3),
        helper.make_node("Conv", ["taken", "w"], ["y"], "second_look"),
    ]
    network = graph(nodes, {"w": WEIGHT}, "y")
    assert [layer.name for layer in feature_layers(network)] == ["conv", "second_look"]
    assert decoding(network) == {"scores", "best"}


def test_what_a_condition_is_made_of_is_no_feature() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Greater", ["c", "limit"], ["is_large"], "is_large"),
        helper.make_node("Cast", ["is_large"], ["large"], "as_float", to=TensorProto.FLOAT),
        helper.make_node("Cast", ["large"], ["mask"], "as_bool", to=TensorProto.BOOL),
        helper.make_node("Where", ["mask", "table", "table"], ["chosen"], "choose"),
        helper.make_node("Conv", ["chosen", "w"], ["y"], "weighting"),
    ]
    constants = {"w": WEIGHT, "limit": np.array(0, np.float32), "table": np.ones((1, 3, 8, 8), np.float32)}
    assert [layer.name for layer in feature_layers(graph(nodes, constants, "y"))] == ["conv"]


def test_features_before_pooling_are_no_decoding_even_where_pooling_is_the_last_step() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["features"], "relu"),
        helper.make_node("RoiAlign", ["features", "boxes", "batch"], ["y"], "pool"),
    ]
    constants = {"w": WEIGHT, "boxes": np.zeros((1, 4), np.float32), "batch": np.zeros(1, np.int64)}
    assert decoding(graph(nodes, constants, "y")) == set()


def test_products_of_two_activations_are_decoding_with_all_that_feeds_them() -> None:
    """The overlap matrix of an NMS in the graph."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["rows"], "rows"),
        helper.make_node("Transpose", ["rows"], ["columns"], "columns", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["rows", "columns"], ["overlap"], "overlap"),
        helper.make_node("Conv", ["c", "w"], ["z"], "deeper"),
        helper.make_node("Conv", ["overlap", "w"], ["y"], "behind"),
    ]
    network = graph(nodes, {"w": WEIGHT}, "z", "y")
    assert {"rows", "columns"} <= decoding(network)
    assert not {"conv", "deeper"} & decoding(network)


def test_decoding_is_the_same_in_a_quantised_graph() -> None:
    """fp16 comes after INT8: layers whose weights come through a pair still end the way up."""
    nodes = [
        helper.make_node("DequantizeLinear", ["w_q", "scale", "zero"], ["w"], "restore", axis=0),
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Sigmoid", ["r"], ["y"], "sigmoid"),
    ]
    constants = {
        "w_q": np.ones((3, 3, 1, 1), np.int8),
        "scale": np.ones(3, np.float32),
        "zero": np.zeros(3, np.int8),
    }
    model = graph([helper.make_node("Identity", ["x"], ["y"], "nothing")], {}, "y").model
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    assert decoding(prepare(model, quantised="allow")) == {"relu", "sigmoid"}


def test_prediction_layers_are_the_last_before_decoding(tiny: ModuleType) -> None:
    assert [layer.name for layer in prediction_layers(Network(tiny.tiny_detector()))] == ["head"]


def names(network: Network) -> list[str]:
    return [layer.name for layer in feature_layers(network)]


def test_projections_of_attention_are_layers_and_its_core_is_no_decoding() -> None:
    network = prepare(attention_graphs.encoder())
    assert names(network) == ["patches", "q", "k", "v", "o", "wide", "narrow", "classes"]
    assert decoding(network) == {"classes_bias", "scores"}


def test_a_layer_behind_attention_to_learned_values_is_a_layer() -> None:
    """Only the map comes from the image: its Softmax passes features on, that of scores does not."""
    network = prepare(attention_graphs.learned_values())
    assert names(network) == ["patches", "q", "k", "o", "head"]
    assert decoding(network) == {"head_bias"}


def test_bins_of_an_edge_are_decoding_in_a_network_with_attention() -> None:
    network = prepare(attention_graphs.area_attention())
    assert names(network) == ["stem", "qkv", "peep", "proj", "edges"]
    assert decoding(network) == {"bins", "bins_first", "shares", "distances"}
    network = prepare(attention_graphs.box_bins())
    assert names(network) == ["patches", "edges"]
    assert decoding(network) == {"edges_bias", "bins", "shares", "distances", "boxes"}


def test_what_samples_features_is_network_and_where_it_samples_is_decoding() -> None:
    network = prepare(attention_graphs.decoder())
    found = decoding(network)
    assert {"reference_bias", "place", "place_points", "offsets_bias", "offset_points", "points"} <= found
    assert {"delta_bias", "moved", "centres"} <= found
    assert not {"sampled", "point_weights", "weights_bias", "weighed", "summed", "queries", "asking"} & found


def test_layers_that_read_places_stay_in_float_and_those_behind_them_do_not() -> None:
    """Position embeddings of reference points, by a head or by sines: INT8 would blur where to look."""
    network = prepare(attention_graphs.decoder())
    assert {layer.name for layer in network.layers()} - set(names(network)) == {"position", "wave_embedding"}
    assert {"position", "wave_embedding", "angle"} <= decoding(network)
    assert "embedding" in names(network)


def test_features_that_a_mask_blanks_are_no_decoding() -> None:
    """As RF-DETR blanks the border of a padded image before it samples."""
    sketch = attention_graphs.Sketch()
    sketch.conv("first", "images", 3, 8)
    sketch.node("Where", "blanked", np.zeros((1, 1, 8, 8), bool), 0.0, "first")
    sketch.conv("second", "blanked", 8, 4)
    network = prepare(sketch.model("second"))
    assert names(network) == ["first", "second"] and decoding(network) == set()


def test_scores_that_choose_among_boxes_are_decoding_on_both_sides() -> None:
    sketch = attention_graphs.Sketch()
    sketch.conv("head", "images", 3, 4)
    sketch.node("Sigmoid", "scores", "head")
    sketch.node("Greater", "found", "scores", 0.5)
    sketch.node("Mul", "pixels", "head", 8.0)
    sketch.node("Where", "boxes", "found", "pixels", 0.0)
    assert decoding(prepare(sketch.model("boxes"))) == {"scores", "found", "pixels", "boxes"}
