"""The operator check against NVIDIA's own parser and builder: what the rules pass is built.

Runs without a GPU: the library is TensorRT-RTX, whose builder needs none. TensorRT's own would need one; where its
10.x is known to differ, ``parser_versions.py`` says so, and what both refuse is one rule for both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import onnx
import pytest
from onnx import TensorProto

from edgedet.export.engines.operator_limits import OPERATORS
from edgedet.export.engines.operators import check_operators
from edgedet.export.engines.parser_versions import MISSING_IN_RTX, TENSORRT_RTX, VERSIONS
from tests.export.engines.operator_cases import CASES, Case
from tests.export.engines.real_builder import RealBuilder, real_builder

BY_OPERATOR: dict[str, list[Case]] = defaultdict(list)
for one in CASES:
    BY_OPERATOR[one.op].append(one)

ELSEWHERE = {"RoiAlign", "QuantizeLinear", "DequantizeLinear"}
"""Operators whose graphs have more than a node: ``test_refused_by_both.py``."""


@pytest.fixture(scope="module", name="library")
def _library() -> RealBuilder:
    return real_builder()


def passed(op: str) -> Iterator[tuple[str, int, onnx.ModelProto]]:
    """The valid graphs of ``op`` that the rules let through: what each is, its type, itself."""
    for one in BY_OPERATOR[op]:
        for kind in sorted(OPERATORS[op]):
            try:
                model = one.graph(kind)
                onnx.checker.check_model(model, full_check=True)
            except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
                continue  # not every operator takes every type in every opset
            if not check_operators(model, TENSORRT_RTX):
                yield f"{one} of {TensorProto.DataType.Name(kind)}", kind, model


def test_the_rules_are_of_the_installed_release(library: RealBuilder) -> None:
    assert f"rtx-{'.'.join(library.version.split('.')[:2])}" in VERSIONS


def test_every_operator_of_the_table_has_graphs() -> None:
    assert set(BY_OPERATOR) == set(OPERATORS) - ELSEWHERE


@pytest.mark.parametrize("op", sorted(set(OPERATORS) - ELSEWHERE))
def test_what_the_rules_pass_is_built(library: RealBuilder, op: str) -> None:
    seen = set()
    refused = []
    for text, kind, model in passed(op):
        seen.add(kind)
        verdict = library.judge(model)
        if not verdict.built:
            refused.append(f"{text}: {verdict.stage}: {verdict.said}")
    assert not refused, "\n".join(refused)
    relu = {TensorProto.INT32} if op == "Relu" else set()
    assert seen == OPERATORS[op] - relu, "a type of the table without a graph that shows it is built"


def test_what_is_missing_is_not_in_the_table_or_is_refused_by_both() -> None:
    assert set(MISSING_IN_RTX) & set(OPERATORS) == {"RoiAlign"}
