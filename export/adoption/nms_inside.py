"""NMS inside a foreign graph: cut out, so that ours takes its place with the thresholds it had.

Three forms are about. The plugins of TensorRT take boxes and scores of all anchors, and say their thresholds as
attributes. ONNX's NonMaxSuppression is followed by gathers, and exporters differ in what they put around it: some
give it the boxes and all classes' scores, some choose the best class first and move the boxes apart by class.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.cleaning import remove_dead, simplify, static_shapes
from edgedet.onnx_graph.network import Network, attributes

EFFICIENT = ("EfficientNMS_TRT", "EfficientNMS_ONNX_TRT")
BATCHED = ("BatchedNMS_TRT", "BatchedNMSDynamic_TRT", "TRTBatchedNMS")
OPERATOR = "NonMaxSuppression"
HEAD = "edgedet/head"
"""Name of the output that boxes and scores are joined in."""
CHOOSING = ("ArgMax", "TopK")
"""Operators that give the class of a box, which moves it apart from those of other classes."""
PIXELS_APART = 2.0
"""A distance between classes below is none in pixels, but in shares of the canvas."""
UNLIMITED = 1 << 30
MOST = 1000
"""Detections at most where every class had a limit of its own."""


@dataclass(frozen=True)
class InnerNms:
    """The NMS that was in a graph.

    Args:
        operator: the node's type and name.
        joined: whether the output is boxes and class scores [N, A, 4 + C] as the NMS took them; else it is the
            head's own.
        form: of the boxes, where the node says it.
        score, iou: thresholds, None where the graph has none.
        most: how many detections at most.
        per_class: how many of each class at most.
        labels: whether a box is found under all its classes, or under its best one.
        apart: pixels by which boxes of different classes were moved apart; 0 where all classes suppress each other.
        alone: whether nothing is multiplied between the head and the scores that the NMS takes.
    """

    operator: str
    joined: bool
    form: Literal["corners", "centre"] | None
    score: float | None
    iou: float | None
    most: int | None
    labels: Literal["all", "best"]
    apart: float | None = None
    alone: bool = False
    per_class: int | None = None

    def words(self) -> str:
        """For the report."""
        said = [
            f"score {self.score:.4g}" if self.score is not None else "",
            f"IoU {self.iou:.4g}" if self.iou is not None else "",
            f"{self.most} detections at most" if self.most is not None else "",
            "all classes together" if self.apart == 0 else "",
        ]
        return f"its NMS ({self.operator}: {', '.join(filter(None, said))}) was cut out, ours takes its place"


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


def _named(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name}".strip()


def _cut_plugin(model: onnx.ModelProto, node: onnx.NodeProto, path: Path) -> InnerNms:
    said = attributes(node)
    where = f"{path}: its {_named(node)}"
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
    if node.op_type in EFFICIENT:
        form: Literal["corners", "centre"] = "centre" if _whole(said.get("box_coding", 0)) else "corners"
        background = _whole(said.get("background_class", -1))
        score, iou, most = said.get("score_threshold"), said.get("iou_threshold"), said.get("max_output_boxes")
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
    if background >= 0:
        scores = _without(model, scores, score_shape[2], background, where)
    end_at_joined(model, boxes, scores)
    return InnerNms(
        _named(node),
        joined=True,
        form=form,
        score=None if score is None else _plain(score),
        iou=None if iou is None else _plain(iou),
        most=None if most is None else int(most),
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
    limits = _Limits(network, nodes[0], before, behind, shapes)
    head = _last_head(network, nodes, before, shapes)
    boxes, scores = shapes.get(nodes[0].input[0]), shapes.get(nodes[0].input[1])
    if len(nodes) == 1 and boxes is not None and scores is not None and _is_all(network, nodes[0], scores):
        centre = bool(attributes(nodes[0]).get("center_point_box", 0))
        boxes_name, scores_name = nodes[0].input[0], nodes[0].input[1]
        end_at_joined(model, boxes_name, scores_name, turn_scores=True)
        form: Literal["corners", "centre"] = "centre" if centre else "corners"
        return InnerNms(
            _named(nodes[0]),
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
            f"{path}: its {_named(nodes[0])} takes boxes that no single tensor holds before (expected "
            "[N, 4 + classes, anchors] or [N, anchors, 5 + classes]); export it again without NMS (Ultralytics: "
            "without nms=True)"
        )
    products = (network.producer.get(name) for name in _ancestors(network, nodes[0].input[1], stop=head))
    alone = all(maker is None or maker.op_type != "Mul" for maker in products)
    apart = _distance_apart(network, nodes[0], head, shapes[head], side)
    _end_at(model, head, shapes[head])
    return InnerNms(_named(nodes[0]), False, None, limits.score, limits.iou, limits.most, "best", apart, alone)


def _is_all(network: Network, node: onnx.NodeProto, scores: tuple[int, ...]) -> bool:
    """Whether the node gets boxes and every class's score as they are, with no class chosen before.

    MMDeploy chooses the best boxes by TopK first, which chooses no class.
    """
    return scores[1] > 1 and not _ancestors(network, node.input[0]).classed


class _Ancestors(set[str]):
    """Tensors that lead to one, and whether a class was chosen on the way."""

    chosen = False
    classed = False
    """Whether by ArgMax, which leaves one class of each box; TopK may choose boxes."""


def _ancestors(network: Network, tensor: str, stop: str | None = None) -> _Ancestors:
    found = _Ancestors()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name in found or name == stop:
            continue
        found.add(name)
        maker = network.producer.get(name)
        if maker is None:
            continue
        if maker.op_type in CHOOSING and name == maker.output[-1]:
            found.chosen = True
            found.classed |= maker.op_type == "ArgMax"
        waiting.extend(filter(None, maker.input))
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


def _distance_apart(
    network: Network, node: onnx.NodeProto, head: str, shape: tuple[int, ...], side: int
) -> float | None:
    """Pixels between the boxes of two classes; 0 where no class moves them, None where it is not told."""
    ancestors = _ancestors(network, node.input[0], stop=head)
    if not ancestors.chosen:
        return 0.0
    for name in ancestors:
        maker = network.producer.get(name)
        if maker is None or maker.op_type != "Mul":
            continue
        constants = [value for value in maker.input if value in network.constants]
        others = [value for value in maker.input if value not in network.constants]
        if len(constants) == 1 and len(others) == 1 and _ancestors(network, others[0], stop=head).chosen:
            step = network.constant(constants[0])
            if step.size == 1:
                # Ultralytics moves shares of the longer side, each by one of it.
                return float(step.item()) if step.item() >= PIXELS_APART or step.item() == 0 else float(side)
    return None


class _Limits:
    """Thresholds that a NonMaxSuppression and what stands around it apply; None where nothing says one."""

    def __init__(
        self,
        network: Network,
        node: onnx.NodeProto,
        before: set[str],
        behind: set[str],
        shapes: dict[str, tuple[int, ...]],
    ) -> None:
        def given(index: int) -> float | None:
            name = node.input[index] if len(node.input) > index else ""
            return float(network.constant(name).reshape(-1)[0]) if name in network.constants else None

        iou = given(3)
        self.iou = 0.0 if iou is None else _plain(iou)
        self.score = given(4)
        if self.score is None or self.score <= 0:
            masks = self._constants(network, ("Greater", "GreaterOrEqual"), lambda node: node.input[0] in before)
            self.score = max((value for value in masks if 0 < value < 1), default=self.score)
        self.score = None if self.score is None else _plain(self.score)
        # What the operator limits is the number for each class.
        classes = shapes.get(node.input[1], (1, 1))[1]
        most = given(2)
        self.per_class = None if most is None or most >= UNLIMITED or most <= 0 else int(most)
        counts = [] if self.per_class is None else [min(self.per_class * classes, MOST)]
        for other in network.graph.node:
            if other.op_type == "Slice" and other.input[0] in behind and len(other.input) > 2:
                ends = network.constants.get(other.input[2])
                starts = network.constants.get(other.input[1])
                first = len(other.input) < 4 or other.input[3] not in network.constants
                axis = 0 if first else int(network.constant(other.input[3]).reshape(-1)[0])
                if ends is not None and starts is not None and axis == 0:
                    start, end = (int(numpy_helper.to_array(t).reshape(-1)[0]) for t in (starts, ends))
                    if start == 0 and 1 < end < UNLIMITED:
                        counts.append(end)
            if other.op_type == "TopK" and other.input[0] in behind:
                counts.extend(_at_most(network, other.input[1]))
        for output in network.outputs:
            shape = shapes.get(output, ())
            if len(shape) == 3 and output in behind and shape[2] in (4, 5, 6):
                counts.append(shape[1])
        self.most = min(counts, default=None)

    @staticmethod
    def _constants(
        network: Network, kinds: tuple[str, ...], where: Callable[[onnx.NodeProto], bool]
    ) -> list[float]:
        found = []
        for node in network.graph.node:
            if node.op_type in kinds and node.input[1] in network.constants and where(node):
                value = network.constant(node.input[1])
                if value.size == 1:
                    found.append(float(value.item()))
        return found


def _at_most(network: Network, count: str) -> list[int]:
    """What a number of the best is at most: a constant, or the smaller of one and what there is (MMDeploy)."""
    names = [count]
    while names and network.producer.get(names[0], onnx.NodeProto()).op_type in ("Reshape", "Unsqueeze", "Cast"):
        names = [network.producer[names[0]].input[0]]
    maker = network.producer.get(names[0])
    if maker is not None and maker.op_type in ("Where", "Min"):
        names = list(maker.input[-2:])
    return [int(network.constant(name).item()) for name in names if name in network.constants]


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


def _plain(value: float) -> float:
    """What was written as a float32, as people write it."""
    return float(f"{value:.6g}")


def _whole(value: Any) -> int:
    """An attribute that is one number; exporters are known to write lists of one."""
    return int(np.asarray(value).reshape(-1)[0])
