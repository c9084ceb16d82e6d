"""What the operator check refuses for TensorRT-RTX, NVIDIA's own library refuses; what is near, it builds.

Each rule is taken out once: the rules then pass the graph, which the real library still refuses. So none of them is
there for nothing, and none can go without a test that says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from edgedet.export.engines.operator_limits import LARGEST_K, OPERATORS
from edgedet.export.engines.operators import check_operators
from edgedet.export.engines.parser_versions import TENSORRT_RTX
from tests.export.engines.operator_cases import BOOL, INT64, UINT8, case, data, floats
from tests.export.engines.real_builder import RealBuilder, real_builder
from tests.export.engines.refused_pairs import FLOAT, FLOAT16, INT8, PAIRS, best, pooled, quantised


@pytest.fixture(scope="module", name="library")
def _library() -> RealBuilder:
    return real_builder()


@pytest.mark.parametrize("name", PAIRS)
def test_both_refuse_it_and_take_what_is_near(library: RealBuilder, name: str) -> None:
    pair = PAIRS[name]
    findings = [str(finding) for finding in check_operators(pair.refused(), TENSORRT_RTX)]
    assert any(pair.said in finding and finding.startswith("TensorRT-RTX 1.7: ") for finding in findings), findings
    verdict = library.judge(pair.refused())
    assert verdict.stage == pair.stage, verdict
    assert verdict.said
    onnx.checker.check_model(pair.built(), full_check=True)
    assert check_operators(pair.built(), TENSORRT_RTX) == []
    verdict = library.judge(pair.built())
    assert verdict.built, verdict.said


@pytest.mark.parametrize("name", PAIRS)
def test_without_the_rule_the_check_would_pass_what_is_refused(
    library: RealBuilder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = PAIRS[name]
    model = pair.refused()
    pair.without(monkeypatch)
    assert check_operators(model, TENSORRT_RTX) == [], (
        "another rule refuses it too: this case does not show its own"
    )
    assert not library.judge(model).built


def test_half_suppression_and_pooling_are_refused_too(library: RealBuilder) -> None:
    for model in (pooled(FLOAT16), best(LARGEST_K + 1, kind=FLOAT16), best(LARGEST_K + 1, kind=INT64)):
        assert check_operators(model, TENSORRT_RTX)
        assert not library.judge(model).built


@pytest.mark.parametrize("zero", [np.uint8(0), None])
def test_unsigned_zero_points_are_refused_though_they_are_built(library: RealBuilder, zero: Any) -> None:
    """The library quantises them as int8, which cuts off half of the range, with a warning and no error."""
    findings = check_operators(quantised(zero), TENSORRT_RTX)
    assert findings and all("expected int8 0" in str(one) or "type is uint8" in str(one) for one in findings)
    assert library.judge(quantised(zero)).built


@settings(max_examples=25, deadline=None)
@given(k=st.integers(1, 4000), kind=st.sampled_from([FLOAT, FLOAT16, TensorProto.INT32, INT64]))
def test_top_k_is_built_where_the_rules_say_so(k: int, kind: int) -> None:
    model = best(k, 4000, kind)
    assert real_builder().judge(model).built == (not check_operators(model, TENSORRT_RTX))


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["nearest", "linear", "cubic"]),
    factors=st.lists(st.sampled_from([1.0, 1.0, 1.0, 0.5, 1.25, 2.0]), min_size=2, max_size=5),
)
def test_resizing_is_built_where_the_rules_say_so(mode: str, factors: list[float]) -> None:
    model = case("Resize", data(*[8] * len(factors)), None, floats(*factors), mode=mode).graph()
    assert real_builder().judge(model).built == (not check_operators(model, TENSORRT_RTX))


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from([np.int32, np.int64]),
    axes=st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True),
    given_inputs=st.sampled_from(["bounds", "axes", "steps"]),
)
def test_slices_are_built_where_the_rules_say_so(dtype: Any, axes: list[int], given_inputs: str) -> None:
    many = len(axes)
    values = [[0] * many, [2] * many, axes, [1] * many][: {"bounds": 2, "axes": 3, "steps": 4}[given_inputs]]
    model = case("Slice", data(4, 4, 4, 4), *(np.array(value, dtype) for value in values)).graph()
    assert real_builder().judge(model).built == (not check_operators(model, TENSORRT_RTX))


@settings(max_examples=30, deadline=None)
@given(op=st.sampled_from(sorted(OPERATORS)), kind=st.sampled_from([UINT8, BOOL, INT8]))
def test_one_input_of_a_small_type(op: str, kind: int) -> None:
    """Whatever first reads pixels: what the rules pass is built."""
    try:
        model = case(op, data(1, 4, 8, 8, kind=kind)).graph()
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return
    if not check_operators(model, TENSORRT_RTX):
        assert real_builder().judge(model).built
