"""Which GPUs an engine of TensorRT-RTX is for: what can be asked, and what the library itself knows."""

from __future__ import annotations

import pytest

from edgedet.artifacts.rtx_targets import GPUS, PORTABLE, gpus_of, is_for, parse_targets, target_facts
from edgedet.errors import UsageError


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("sm86,sm89,sm120", ("sm86", "sm89", "sm120")),
        ("SM75", ("sm75",)),
        (" 8.6 , 12.1 ", ("sm86", "sm121")),
        ("sm86,sm86", ("sm86",)),
        ("current", ("current",)),
    ],
)
def test_targets_are_read_as_people_write_them(text: str, targets: tuple[str, ...]) -> None:
    assert parse_targets(text) == targets


@pytest.mark.parametrize("text", ["", "sm87", "sm90", "9.0", "sm110", "sm86,", "none", "86;89"])
def test_what_is_unknown_is_refused_with_what_is_known(text: str) -> None:
    with pytest.raises(UsageError, match=r"some of sm75 \(RTX 20 series\), .*not for Jetson Orin and Thor"):
        parse_targets(text)


def test_this_machines_gpu_stands_alone() -> None:
    with pytest.raises(UsageError, match="leave out the others"):
        parse_targets("current,sm86")


@pytest.mark.parametrize(
    ("targets", "here", "fits"),
    [
        (None, "8.6", True),
        (None, "12.1", True),
        (None, "7.5", False),
        (None, "8.7", False),
        (None, "9.0", False),
        (None, "11.0", False),
        (None, "14.0", True),
        (("sm75",), "7.5", True),
        (("sm86", "sm89"), "12.0", False),
        (("sm86", "sm89"), "14.0", False),
    ],
)
def test_an_engine_is_for_what_it_was_built_for(targets: tuple[str, ...] | None, here: str, fits: bool) -> None:
    assert is_for(target_facts(targets), here) == fits


@pytest.mark.parametrize("facts", [{}, {"compute_capabilities": "8.6"}, {"compute_capabilities": []}])
def test_a_card_that_says_nothing_refuses_nothing(facts: dict[str, object]) -> None:
    assert is_for(facts, "9.0")
    assert "does not tell" in gpus_of(facts)


def test_the_library_knows_these_targets_and_no_others() -> None:
    pytest.importorskip("tensorrt_rtx_libs", reason="needs TensorRT-RTX: pip install 'edgedet[tensorrt-rtx]'")
    import tensorrt_rtx_bindings as trt

    known = {name.lower() for name in dir(trt.ComputeCapability) if name.startswith("SM")}
    assert known == set(GPUS)
    assert set(PORTABLE) < known
