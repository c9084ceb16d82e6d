"""How numbers go through a graph around its NMS: what is done to scores before and behind, what moves boxes apart.

What picks or orders (indices, masks) is no part of a path; what is computed with the numbers themselves is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx

from edgedet.errors import ArtifactError
from edgedet.onnx_graph.network import Network

RESHAPING = ("Transpose", "Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Cast", "Expand", "ReduceMax")
MOVING = (*RESHAPING, "Gather", "GatherND", "GatherElements", "Slice", "Split", "TopK", "Pad", "Clip", "Tile",
          "Compress")  # fmt: skip
"""Operators that give numbers of their first input as they are."""
PARTS = ("Slice", "Split")
JOINING = {"Concat": None, "Max": None, "ScatterND": (0, 2), "ScatterElements": (0, 2), "Where": (1, 2)}
"""Operators that give numbers of several inputs as they are, and of which (None: all)."""
COMPUTING = ("Mul", "Div", "Add", "Sub", "Pow", "Sqrt", "Exp", "Log", "Sigmoid", "Softmax", "MatMul", "Min")
DECIDING = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "And", "Or", "Not")
CHOOSING = ("ArgMax", "TopK")
"""Operators whose last output says which class, or which box, is the best."""
PIXELS_APART = 2.0
"""A distance between classes below is none in pixels, but in shares of the canvas."""


def named(node: onnx.NodeProto) -> str:
    """A node, for sentences."""
    return f"{node.op_type} {node.name}".strip()


def _sources(node: onnx.NodeProto) -> list[str]:
    """Inputs whose numbers the node moves or joins."""
    if node.op_type in MOVING:
        return [node.input[0]]
    places = JOINING[node.op_type]
    return [node.input[place] for place in range(len(node.input)) if places is None or place in places]


def _is_mask(network: Network, tensor: str) -> bool:
    maker = network.producer.get(tensor)
    while maker is not None and maker.op_type in (*RESHAPING, "Expand"):
        maker = network.producer.get(maker.input[0])
    return maker is not None and maker.op_type in DECIDING


def is_product(network: Network, scores: str, head: str, path: Path) -> bool:
    """Whether ``scores``, which an NMS takes, are objectness times class scores of ``head``.

    Raises:
        ArtifactError: something else than a product is computed on the way, which would be lost.
    """
    product, seen, waiting = False, set(), [scores]
    while waiting:
        name = waiting.pop()
        node = network.producer.get(name)
        if name in seen or name == head or node is None:
            continue
        seen.add(name)
        if node.op_type in MOVING or node.op_type in JOINING:
            waiting.extend(_sources(node))
            continue
        factors = [value for value in node.input if not _is_mask(network, value)]
        if node.op_type == "Mul" and not any(value in network.constants for value in factors):
            product |= len(factors) > 1
            waiting.extend(factors)
        elif node.op_type == "Sigmoid" and not is_product(network, node.input[0], head, path):
            waiting.append(node.input[0])
        elif head in _upstream(network, name):
            raise ArtifactError(
                f"{path}: {named(node)} computes with the scores between the head {head} and the NMS, which "
                "edgedet does not know to do behind; export it again without NMS"
            )
    return product


def _upstream(network: Network, tensor: str) -> set[str]:
    found: set[str] = set()
    waiting = [tensor]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            maker = network.producer.get(name)
            waiting.extend(filter(None, maker.input if maker is not None else ()))
    return found


def require_scores_kept(network: Network, scores: Iterable[str], before: set[str], path: Path) -> None:
    """Make sure that what an NMS took, or gives, as ``scores`` comes out as it is.

    ``before``: tensors that lead to the NMS.

    Raises:
        ArtifactError: something is computed with them behind the NMS, which would be lost.
    """
    kept, waiting = set(), [_unshaped(network, name) for name in scores]
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        kept.add(name)
        for node in network.consumers.get(name, []):
            moved = (node.op_type in MOVING or node.op_type in JOINING) and name in _sources(node)
            if moved and (node.op_type != "Concat" or _joins_only(network, node, kept)):
                waiting.append(node.output[0])
            elif node.op_type in COMPUTING and not before.intersection(node.output):
                others = [value for value in node.input if value != name]
                masked = node.op_type == "Mul" and all(_is_mask(network, value) for value in others)
                if not masked and _comes_out(network, node.output[0]):
                    raise ArtifactError(
                        f"{path}: {named(node)} computes with the scores behind its NMS, which edgedet does not "
                        "know to do; export it again without NMS"
                    )


def _unshaped(network: Network, tensor: str) -> str:
    """Tensor in which the numbers of ``tensor`` were made: behind it they are others' too."""
    while (node := network.producer.get(tensor)) is not None and node.op_type in RESHAPING:
        tensor = node.input[0]
    return tensor


def origin(network: Network, tensor: str) -> str:
    """Tensor that the numbers of ``tensor`` were made in, since only moved, chosen and reduced to the largest.

    What is always the same part of another tensor is made where it is taken out.
    """
    while (node := network.producer.get(tensor)) is not None and node.op_type in MOVING:
        fixed = node.op_type == "Gather" and node.input[1] in network.constants
        if fixed or node.op_type in PARTS:
            break
        tensor = node.input[0]
    return tensor


def _joins_only(network: Network, node: onnx.NodeProto, kept: set[str]) -> bool:
    return all(name in kept or name in network.constants for name in node.input)


def _comes_out(network: Network, tensor: str) -> bool:
    """Whether numbers of ``tensor`` are among the outputs, and do not only decide or order."""
    found, waiting = set(), [tensor]
    while waiting:
        name = waiting.pop()
        if name in network.outputs:
            return True
        if name in found:
            continue
        found.add(name)
        for node in network.consumers.get(name, []):
            passed = node.op_type in COMPUTING
            if passed or ((node.op_type in MOVING or node.op_type in JOINING) and name in _sources(node)):
                waiting.append(node.output[0])
    return False


def distance_apart(network: Network, boxes: str, head: str, side: int) -> float | None:
    """Pixels between the ``boxes`` of two classes that an NMS takes; 0 where no class moves them, None where it is
    not told. ``side``: the longer one of the canvas."""
    along, classed, _ = _computed_of(network, boxes, head)
    if not classed:
        return 0.0
    step, told = 1.0, False
    for name in along:
        maker = network.producer.get(name)
        if maker is None or maker.op_type != "Mul":
            continue
        constants = [value for value in maker.input if value in network.constants]
        others = [value for value in maker.input if value not in network.constants]
        if len(constants) != 1 or len(others) != 1 or network.constant(constants[0]).size != 1:
            continue
        _, of_class, of_head = _computed_of(network, others[0], head)
        if of_class and not of_head:
            step, told = step * float(network.constant(constants[0]).item()), True
    if not told:
        return None
    # Ultralytics moves shares of the longer side, each by one of it.
    return step if step >= PIXELS_APART or step == 0 else float(side)


def _computed_of(network: Network, tensor: str, head: str) -> tuple[set[str], bool, bool]:
    """Tensors that ``tensor`` is computed of, whether a class number is among them, and whether ``head`` is."""
    found: set[str] = set()
    classed, headed, waiting = False, False, [tensor]
    while waiting:
        name = waiting.pop()
        if name == head:
            headed = True
        node = network.producer.get(name)
        if name in found or name == head or node is None:
            continue
        found.add(name)
        if node.op_type in CHOOSING and name == node.output[-1]:
            classed = True
        elif node.op_type in MOVING or node.op_type in JOINING:
            waiting.extend(_sources(node))
        elif node.op_type in COMPUTING:
            waiting.extend(node.input)
    return found, classed, headed
