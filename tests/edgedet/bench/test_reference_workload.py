"""Fixed work beside what is measured: the same every time, like a detector where one runs on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet.bench.reference_workload import GRAPH, Reference, network, reference_for, sorting
from edgedet.onnxruntime_import import onnxruntime

CPU = "onnxruntime 1.31.0 CPUExecutionProvider, default threads"


def test_the_median_of_the_repeats_counts_and_the_warm_up_does_not() -> None:
    now = 0.0
    costs = iter([9.0, 0.003, 0.001, 0.5])

    def work() -> None:
        nonlocal now
        now += next(costs)

    assert Reference("work", work, warmup=1, repeats=3).milliseconds(lambda: now) == pytest.approx(3.0)


def test_the_network_is_the_reference_only_where_everything_runs_on_the_cpu() -> None:
    assert reference_for(["cpu", "cpu"], None).name == network(None).name
    assert reference_for(["cpu", "gpu"], None).name == sorting().name
    assert reference_for(["gpu"], None).name == sorting().name


def test_works_that_differ_have_different_names() -> None:
    assert len({network(None).name, network(1).name, sorting().name}) == 3
    assert onnxruntime.__version__ in network(None).name


@pytest.mark.parametrize("make", [sorting, lambda: network(1)])
def test_the_work_is_done_anew_every_time(make) -> None:  # type: ignore[no-untyped-def]
    reference = make()
    first, second = np.asarray(reference.work()), np.asarray(reference.work())
    assert np.array_equal(first, second) and np.isfinite(first).all() and first.any()
    assert reference.milliseconds() > 0


def test_the_file_is_what_its_script_writes_and_holds_no_weights(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from edgedet.export.workload_graph import write

    write(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == GRAPH.read_bytes()
    assert GRAPH.stat().st_size < 10_000
