"""What INT8 and fp16 cost detectors with a transformer decoder, and what each part of attention would cost in INT8.

    python benchmarks/attention.py [--only rt_detr,rf_detr]

Tiny detectors of transformers with random weights: no accuracy can be had of them, so raw logits and boxes are
compared with the float graph's, for the same queries. Error is the root of the squared error over that of the
deviation from the mean, on frames that calibration has not seen.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))

from edgedet.calibration.attention import attention, gelus, is_product, normalisations
from edgedet.calibration.decoder_boundary import feature_layers
from edgedet.calibration.fitting import best_by_tensor
from edgedet.calibration.fp16 import to_half
from edgedet.calibration.observe import observe
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.calibration.qdq import Writer
from edgedet.onnx_graph.network import Network
from tests.export.hugging_face_models import KINDS
from tests.export.hugging_face_subjects import Subject, likeness, make_subject


def inputs(network: Network) -> dict[str, list[tuple[str, int]]]:
    """Inputs of nodes, by the part of the network they belong to: the node's name, and which of its inputs."""
    core = attention(network)
    nodes = {
        kind: [node for node in network.graph.node if node.op_type == kind] for kind in ("Softmax", "GridSample")
    }
    maps = [node for node in nodes["Softmax"] if node.name in core]
    products = [node for node in network.graph.node if node.name in core and is_product(network, node)]
    norms = [network.nodes[name] for name in normalisations(network)]
    return {
        "projections": [
            (layer.name, 0) for layer in feature_layers(network) if layer.op_type in ("MatMul", "Gemm")
        ],
        "norms": [(node.name, 0) for node in norms if node.op_type in ("LayerNormalization", "Pow")],
        "products of a core": [(node.name, place) for node in products for place in (0, 1)],
        "Softmax": [(node.name, 0) for node in maps],
        "GELU": [(name, 0) for name in gelus(network) if network.nodes[name].op_type in ("Div", "Gelu")],
        "sampled features": [(node.name, 0) for node in nodes["GridSample"]],
        "sampling points": [(node.name, 1) for node in nodes["GridSample"]],
    }


def rounded(network: Network, subject: Subject, places: list[tuple[str, int]]) -> tuple[int, onnx.ModelProto]:
    """The graph with INT8 activations at ``places`` alone, and how many tensors they are."""
    tensors = {place: network.nodes[place[0]].input[place[1]] for place in places}
    tensors = {place: name for place, name in tensors.items() if name not in network.constants}
    seen = observe(network, subject.calibration, list(dict.fromkeys(tensors.values())))
    writer = Writer(network.copy())
    for (node, index), name in tensors.items():
        grid = best_by_tensor(seen[name], "s8")[1]
        writer.network.nodes[node].input[index] = writer.activation(name, grid)
    return len(seen), writer.finish().model


def row(what: str, count: int, subject: Subject, model: onnx.ModelProto) -> str:
    found = likeness(subject, model)
    logits, boxes = found.errors
    return (
        f"{what:24}{count:5}  queries alike {found.alike:6.1%}  error of logits {logits:.4f}, boxes {boxes:.4f}  "
        f"cosine {found.logits:.4f}, {found.boxes:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, with commas between (default: all)")
    for kind in parser.parse_args().only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            subject = make_subject(kind, Path(folder), frames=(16, 8))
        print(kind)
        options = QuantiseOptions(max_drop=1.0, effort="quick")
        quantised = quantise(subject.model, subject.card, subject.calibration, options=options)
        print(row("INT8, TensorRT dialect", quantised.report["layers_int8"], subject, quantised.model))
        half = to_half(subject.model, subject.calibration)
        print(row("fp16", half.report["nodes_fp16"], subject, half.model))
        network = subject.network
        for what, places in inputs(network).items():
            count, model = rounded(network, subject, places)
            print(row(what, count, subject, model), flush=True)


if __name__ == "__main__":
    main()
