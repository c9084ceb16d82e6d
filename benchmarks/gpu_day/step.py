"""One step, in the process that the sequence started for it: ``python -m gpu_day.step KIND NAME ...``.

Modules are imported by the step that needs them, so that a missing package costs that step alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu_day.inputs import read_inputs
from gpu_day.library import NAMES, named
from gpu_day.outcome import RESULT, NotHereError, Outcome, Report, reason
from gpu_day.process import end_with_parent

OURS = ("edgedet", "gpu_day")


def main() -> int:
    """Do the step and leave its result where the environment says."""
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("name")
    for option in ("--inputs", "--work"):
        parser.add_argument(option, type=Path, required=True)
    parser.add_argument("--library", choices=NAMES, required=True)
    arguments = parser.parse_args()
    report = Report(Path(os.environ[RESULT]))
    try:
        KINDS[arguments.kind](report, arguments)
    except NotHereError as error:
        report.check("what it needs", "not_measured", str(error))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        outcome: Outcome = "failed" if missing in OURS else "not_measured"
        report.check("what it needs", outcome, f"{missing} is not installed: put it into the folder of --libraries")
    except Exception as error:
        report.check("the step", "failed", reason(error))
        report.end()
        raise
    report.end()
    return 0


def _machine(report: Report, arguments: Any) -> None:
    _module("machine").describe(report, named(arguments.library))


def _kernels(report: Report, arguments: Any) -> None:
    _module("kernels").check(report)


def _kernel_speed(report: Report, arguments: Any) -> None:
    _module("kernels").speed(report)


def _selftest(report: Report, arguments: Any) -> None:
    _module("engines").build_selftest(report, arguments.work, named(arguments.library))


def _given(report: Report, arguments: Any) -> None:
    _module("detecting").measure_given(report, Path(arguments.name))


def _left_out(report: Report, arguments: Any) -> None:
    report.check("its graph", "not_measured", read_inputs(arguments.inputs).left_out[arguments.name])


def _latency(report: Report, arguments: Any) -> None:
    inputs = read_inputs(arguments.inputs)
    graphs = [graph for graph in inputs.graphs if graph.detector == arguments.name]
    _module("latency").measure(report, inputs, graphs, arguments.work, named(arguments.library))


def _of_a_graph(module: str, function: str) -> Callable[[Report, Any], None]:
    def work(report: Report, arguments: Any) -> None:
        inputs, library = read_inputs(arguments.inputs), named(arguments.library)
        graph = inputs.graph(arguments.name)
        getattr(_module(module), function)(report, inputs, graph, arguments.work, library)

    return work


def _module(name: str) -> Any:
    return import_module(f"gpu_day.{name}")


KINDS: dict[str, Callable[[Report, Any], None]] = {
    "machine": _machine,
    "kernels": _kernels,
    "kernel-speed": _kernel_speed,
    "selftest": _selftest,
    "engine": _of_a_graph("engines", "build"),
    "accuracy": _of_a_graph("accuracy", "measure"),
    "end-to-end": _of_a_graph("detecting", "measure"),
    "torchvision": _of_a_graph("rival", "measure"),
    "latency": _latency,
    "given": _given,
    "left-out": _left_out,
}


if __name__ == "__main__":
    sys.exit(main())
