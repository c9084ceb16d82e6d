"""TopK in OpenVINO as ONNX has it: of equal values the one with the lower index comes first.

OpenVINO has an attribute for that, ``stable``, whose cost grows with the product of both lengths: 0.9 s for the
best 300 of YOLOX-Nano's 283,920 scores, where 0.7 ms are enough for any 300 of equal ones. So that is for short
rows. In long ones the plain TopK finds the values; of those equal to the last, the first ones are looked for; and
the order among equal ones is made by a second TopK, of keys that are all different.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .openvino_library import openvino

STABLE = 20_000
"""Product of both lengths up to which the attribute costs less than 0.1 ms a row."""

KEYS = 2**31
"""The same from which keys do not fit int32."""


def order_ties(node: Any) -> None:
    """Make a TopK node of an ``openvino.Model`` give equal values in the order of their indices.

    Changes the model.
    """
    attributes = node.get_attributes()
    rank = node.input_value(0).get_partial_shape()[int(attributes["axis"])]
    wanted = node.input_value(1).get_node()
    known = rank.is_static and wanted.get_type_name() == "Constant" and attributes["mode"] == "max"
    best = int(np.asarray(wanted.get_data()).reshape(-1)[0]) if known else 0
    if not known or rank.get_length() * best <= STABLE or rank.get_length() * best >= KEYS:
        node.set_attribute("sort", "value")
        node.set_attribute("stable", True)
        return
    consumers = [node.output(index).get_target_inputs() for index in (0, 1)]
    scores, axis = node.input_value(0), int(attributes["axis"])
    order = np.arange(len(scores.get_partial_shape()))
    order = np.append(np.delete(order, axis), order[axis])
    outputs = _ordered(_transposed(scores, order), best=best, count=rank.get_length())
    for index, made in enumerate(outputs):
        typed = openvino.opset13.convert(made, node.get_output_element_type(index).to_string())
        replacement = _transposed(typed.output(0), np.argsort(order))
        for consumer in consumers[index]:
            consumer.replace_source_output(replacement)


def _transposed(source: Any, order: Any) -> Any:
    if (order == np.arange(len(order))).all():
        return source
    return openvino.opset13.transpose(source, openvino.opset13.constant(order.astype(np.int32))).output(0)


def _ordered(scores: Any, *, best: int, count: int) -> tuple[Any, Any]:
    """Outputs for the best values along the last axis and their indices (int32)."""
    ops = openvino.opset13
    last_axis = len(scores.get_partial_shape()) - 1
    axis = ops.constant(np.int32(last_axis))
    k = ops.constant(np.int32(best))

    def smallest(keys: Any) -> tuple[Any, Any]:
        found = ops.topk(keys, k, last_axis, "min", "value", index_element_type="i32")
        return found.output(0), found.output(1)

    def taken(values: Any, places: Any) -> Any:
        return ops.gather(values, ops.constant(np.asarray(places, np.int32)), axis)

    found = ops.topk(scores, k, last_axis, "max", "value", index_element_type="i32")
    values, indices = found.output(0), found.output(1)
    last = taken(values, [best - 1])

    # Values above the last are all there, in some order among equal ones. They come by value, then by index, if
    # each has a key of its own: its place among the different values, times more than there are indices.
    steps = ops.not_equal(values, taken(values, np.maximum(np.arange(best) - 1, 0)))
    value_rank = ops.cumsum(ops.convert(steps, "i32"), axis)
    ranked = ops.multiply(value_rank, ops.constant(np.int32(count)))
    keys, _ = smallest(ops.add(ranked, indices))
    strict = ops.subtract(keys, ranked)  # places never fall from one to the next, so they are where they were

    # Of those equal to the last, the first ones in the row.
    everywhere = ops.constant(np.arange(count, dtype=np.int32))
    places, _ = smallest(ops.select(ops.equal(scores, last), everywhere, ops.constant(np.int32(count))))
    above = ops.reduce_sum(ops.convert(ops.greater(values, last), "i32"), axis, keep_dims=True)
    place = ops.subtract(ops.constant(np.arange(best, dtype=np.int32)), above)
    zero = ops.constant(np.int32(0))
    first = ops.gather_elements(places, ops.maximum(place, zero), last_axis)
    return values, ops.select(ops.less(place, zero), strict, first).output(0)
