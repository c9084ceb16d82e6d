"""NMS inside a foreign graph: cut out, so that ours takes its place with the thresholds it had.

Three forms are about. The plugins of TensorRT take boxes and scores of all anchors, and say their thresholds as
attributes. ONNX's NonMaxSuppression is followed by gathers, and exporters differ in what they put around it: some
give it the boxes and all classes' scores, some choose the best class first and move the boxes apart by class.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.cleaning import remove_dead, simplify, static_shapes
from edgedet.onnx_graph.network import Network, attributes

from .nms_paths import distance_apart, is_product, named, require_scores_kept
from .nms_thresholds import Limits, candidates_before, plain

INDICES = "EfficientNMS_ONNX_TRT"
EFFICIENT = ("EfficientNMS_TRT", INDICES)
EFFICIENT_DEFAULTS = {"score_threshold": 0.5, "iou_threshold": 0.5, "max_output_boxes": 100}
"""What TensorRT's plugin (efficientNMSParameters.h) does where an attribute is left out."""
BATCHED = ("BatchedNMS_TRT", "BatchedNMSDynamic_TRT", "TRTBatchedNMS")
OPERATOR = "NonMaxSuppression"
HEAD = "edgedet/head"
"""Name of the output that boxes and scores are joined in."""


@dataclass(frozen=True)
class InnerNms:
    """The NMS that was in a graph.

    Args:
        operator: the node's type and name.
        joined: whether the output is boxes and class scores [N, A, 4 + C] as the NMS took them; else it is the
            head's own.
        form: of the boxes, where the node says it.
        score, iou: thresholds.
        most: how many detections at most.
        per_class: how many of each class at most.
        labels: whether a box is found under all its classes, or under its best one.
        apart: pixels by which boxes of different classes were moved apart; 0 where all classes suppress each other.
        alone: whether nothing is multiplied between the head and the scores that the NMS takes.
        candidates: how many boxes, the best of all, enter it; None where all do.
    """

    operator: str
    joined: bool
    form: Literal["corners", "centre"] | None
    score: float
    iou: float
    most: int | None
    labels: Literal["all", "best"]
    apart: float | None = None
    alone: bool = False
    per_class: int | None = None
    candidates: int | None = None

    def words(self) -> str:
        """For the report."""
        said = [
            _score_words(self.score),
            f"IoU {self.iou:.4g}",
            f"{self.most} detections at most" if self.most is not None else "",
            f"the {self.candidates} best boxes enter" if self.candidates is not None else "",
            "all classes together" if self.apart == 0 else "",
        ]
        return f"its NMS ({self.operator}: {', '.join(filter(None, said))}) was cut out, ours takes its place"


def _score_words(score: float) -> str:
    return (
        f"score {score:.4g}" if score > 0 else "no score threshold, so that all its boxes come out: --conf sets one"
    )


def nms_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes of ``model`` that suppress."""
    return [node for node in model.graph.node if node.op_type in (*EFFICIENT, *BATCHED, OPERATOR)]


def cut_nms(model: onnx.ModelProto, path: Path, *, image: tuple[int, int]) -> InnerNms | None:
    """Leave ``model``, whose input is static, what comes before its NMS, in place; None where it has none.

    ``image``: (height, width). The graph has one output then: the head's own, or boxes and scores joined.

    Raises:
        ArtifactError: an NMS that ours cannot take the place of.
    """
    nodes = nms_nodes(model)
    if not nodes:
        return None
    simplify(model)
    nodes = nms_nodes(model)
    if not nodes:
        return None
    kinds = {node.op_type for node in nodes}
    if len(kinds) > 1:
        raise ArtifactError(f"{path} holds several kinds of NMS ({', '.join(sorted(kinds))}); export it without")
    if OPERATOR in kinds:
        return _cut_operator(model, nodes, path, max(image))
    if len(nodes) > 1:
        raise ArtifactError(f"{path} holds {len(nodes)} nodes {nodes[0].op_type}; export it without NMS")
    return _cut_plugin(model, nodes[0], path)


def _cut_plugin(model: onnx.ModelProto, node: onnx.NodeProto, path: Path) -> InnerNms:
    said = attributes(node)
    where = f"{path}: its {named(node)}"
    shapes = static_shapes(model)
    boxes, scores = node.input[0], node.input[1]
    if len(node.input) > 2 and node.input[2]:
        raise ArtifactError(f"{where} decodes boxes from anchors ({node.input[2]}) itself; export it without NMS")
    box_shape, score_shape = shapes.get(boxes), shapes.get(scores)
    if box_shape is None or score_shape is None or len(score_shape) != 3:
        raise ArtifactError(f"{where} takes boxes and scores of unknown sizes; export it with fixed ones")
    if len(box_shape) == 4 and box_shape[2] == 1:
        (boxes,) = _added(model, "Reshape", [boxes, _ints(model, (*box_shape[:2], 4))], "nms/boxes")
    elif len(box_shape) != 3:
        raise ArtifactError(f"{where} takes boxes {list(box_shape)}, one for every class; export it without NMS")
    if node.op_type == INDICES:
        raise ArtifactError(f"{where} gives indices, as a part that TensorRT makes itself; export it without NMS")
    if node.op_type in EFFICIENT:
        form: Literal["corners", "centre"] = "centre" if _whole(said.get("box_coding", 0)) else "corners"
        background = _whole(said.get("background_class", -1))
        given = (said.get(name, EFFICIENT_DEFAULTS[name]) for name in EFFICIENT_DEFAULTS)
        score, iou, most = given
        together = bool(_whole(said.get("class_agnostic", 0)))
        if _whole(said.get("score_activation", 0)):
            (scores,) = _added(model, "Sigmoid", [scores], "nms/scores")
    else:
        form = "corners"
        background = _whole(_either(said, "background_label_id", "backgroundLabelId", -1))
        score = _either(said, "score_threshold", "scoreThreshold", None)
        iou = _either(said, "iou_threshold", "iouThreshold", None)
        most = _either(said, "keep_topk", "keepTopK", None)
        together = False
        if None in (score, iou, most):
            raise ArtifactError(
                f"{where} leaves out a threshold, or how many boxes it keeps, for which it has no default; export "
                "it again with them, or without NMS"
            )
    if background >= 0:
        scores = _without(model, scores, score_shape[2], background, where)
    end_at_joined(model, boxes, scores)
    return InnerNms(
        named(node),
        joined=True,
        form=form,
        score=plain(score),
        iou=plain(iou),
        most=int(most),
        labels="best" if together else "all",
        apart=0.0 if together else None,
    )


def _without(model: onnx.ModelProto, scores: str, count: int, background: int, where: str) -> str:
    if background not in (0, count - 1):
        raise ArtifactError(f"{where} has its background at {background} of {count} classes; expected one end")
    start, end = (1, count) if background == 0 else (0, count - 1)
    inputs = [scores, _ints(model, (start,)), _ints(model, (end,)), _ints(model, (2,))]
    (kept,) = _added(model, "Slice", inputs, "nms/classes")
    return kept


def _cut_operator(model: onnx.ModelProto, nodes: list[onnx.NodeProto], path: Path, side: int) -> InnerNms:
    network, shapes = Network(model), static_shapes(model)
    before = _before(network, nodes)
    behind = _behind(network, nodes)
    _require_one_pass(network, nodes, before, path)
    require_scores_kept(network, [node.input[1] for node in nodes], before, path)
    limits = Limits(network, nodes[0], before, behind, shapes)
    head = _last_head(network, nodes, before, shapes)
    boxes, scores = shapes.get(nodes[0].input[0]), shapes.get(nodes[0].input[1])
    if len(nodes) == 1 and boxes is not None and scores is not None and _is_all(network, nodes[0], scores):
        centre = bool(attributes(nodes[0]).get("center_point_box", 0))
        boxes_name, scores_name = nodes[0].input[0], nodes[0].input[1]
        end_at_joined(model, boxes_name, scores_name, turn_scores=True)
        form: Literal["corners", "centre"] = "centre" if centre else "corners"
        return InnerNms(
            named(nodes[0]),
            joined=True,
            form=form,
            score=limits.score,
            iou=limits.iou,
            most=limits.most,
            labels="all",
            per_class=limits.per_class,
        )
    if head is None:
        raise ArtifactError(
            f"{path}: its {named(nodes[0])} takes boxes that no single tensor holds before (expected "
            "[N, 4 + classes, anchors] or [N, anchors, 5 + classes]); export it again without NMS (Ultralytics: "
            "without nms=True)"
        )
    alone = not is_product(network, nodes[0].input[1], head, path)
    if not alone and shapes[head][1] < shapes[head][2]:
        raise ArtifactError(
            f"{path}: its {named(nodes[0])} takes objectness times class scores of {head} {list(shapes[head])}, "
            "expected [N, anchors, 5 + classes]; export it again without NMS"
        )
    apart = distance_apart(network, nodes[0].input[0], head, side)
    between = {name for node in nodes for wanted in node.input[:2] for name in _ancestors(network, wanted, head)}
    candidates = candidates_before(network, nodes[0], between, shapes, path)
    _end_at(model, head, shapes[head])
    return InnerNms(
        named(nodes[0]),
        joined=False,
        form=None,
        score=limits.score,
        iou=limits.iou,
        most=limits.most,
        labels="best",
        apart=apart,
        alone=alone,
        candidates=candidates,
    )


def _require_one_pass(network: Network, nodes: list[onnx.NodeProto], before: set[str], path: Path) -> None:
    """Check that several nodes each do the same with a part of the boxes: ours does it once, with all."""
    for node in nodes:
        if before.intersection(node.output):
            raise ArtifactError(f"{path}: behind its {named(node)} there is another NMS; export it without NMS")
    settings = {tuple(_limit(network, node, index) for index in (2, 3, 4)) for node in nodes}
    if len(settings) > 1:
        raise ArtifactError(
            f"{path} holds {len(nodes)} nodes NonMaxSuppression with different limits; export it without NMS"
        )


def _limit(network: Network, node: onnx.NodeProto, index: int) -> float | None:
    name = node.input[index] if len(node.input) > index else ""
    return float(network.constant(name).reshape(-1)[0]) if name in network.constants else None


def _is_all(network: Network, node: onnx.NodeProto, scores: tuple[int, ...]) -> bool:
    """Whether the node gets boxes and every class's score as they are, with no class chosen before.

    MMDeploy chooses the best boxes by TopK first, which chooses no class.
    """
    makers = (network.producer.get(name) for name in _ancestors(network, node.input[0]))
    return scores[1] > 1 and not any(maker is not None and maker.op_type == "ArgMax" for maker in makers)


def _ancestors(network: Network, tensor: str, stop: str | None = None) -> set[str]:
    found: set[str] = set()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name in found or name == stop:
            continue
        found.add(name)
        maker = network.producer.get(name)
        waiting.extend(filter(None, maker.input if maker is not None else ()))
    return found


def _before(network: Network, nodes: list[onnx.NodeProto]) -> set[str]:
    found: set[str] = set()
    for node in nodes:
        for name in node.input[:2]:
            found |= _ancestors(network, name)
    return found


def _behind(network: Network, nodes: list[onnx.NodeProto]) -> set[str]:
    found: set[str] = set()
    waiting = [name for node in nodes for name in node.output]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for reader in network.consumers.get(name, []):
            waiting.extend(filter(None, reader.output))
    return found


def _last_head(
    network: Network, nodes: list[onnx.NodeProto], before: set[str], shapes: dict[str, tuple[int, ...]]
) -> str | None:
    """The last tensor with the shape of a head through which all goes that the NMS gets of the picture."""
    candidates = [
        name
        for node in network.graph.node
        for name in node.output
        if name in before and len(shapes.get(name, ())) == 3 and min(shapes[name][1:]) > 4
    ]
    (image,) = network.inputs
    for name in reversed(candidates):
        if all(image not in _ancestors(network, wanted, stop=name) for node in nodes for wanted in node.input[:2]):
            return name
    return None


def end_at_joined(model: onnx.ModelProto, boxes: str, scores: str, *, turn_scores: bool = False) -> None:
    """Let ``model`` end with boxes [N, A, 4] and scores [N, A, C] joined, as its one output, in place.

    ``turn_scores``: they are [N, C, A].
    """
    if turn_scores:
        (scores,) = _added(model, "Transpose", [scores], "nms/scores", perm=[0, 2, 1])
    _added(model, "Concat", [boxes, scores], HEAD, axis=-1)
    _end_at(model, HEAD, None)


def _end_at(model: onnx.ModelProto, tensor: str, shape: tuple[int, ...] | None) -> None:
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.append(helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, shape))
    remove_dead(model.graph)


def _added(model: onnx.ModelProto, op_type: str, inputs: list[str], name: str, **settings: Any) -> list[str]:
    output = name if name == HEAD else f"edgedet/{name}"
    model.graph.node.append(helper.make_node(op_type, inputs, [output], name=output, **settings))
    return [output]


def _ints(model: onnx.ModelProto, values: tuple[int, ...]) -> str:
    name = f"edgedet/nms/{'_'.join(map(str, values))}"
    if name not in {tensor.name for tensor in model.graph.initializer}:
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    return name


def _either(said: dict[str, Any], first: str, second: str, default: Any) -> Any:
    return said.get(first, said.get(second, default))


def _whole(value: Any) -> int:
    """An attribute that is one number; exporters are known to write lists of one."""
    return int(np.asarray(value).reshape(-1)[0])
