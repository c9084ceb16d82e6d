"""Check that this machine computes what it should, in under a minute: the first thing to run on a new board.

Without ARTIFACT a tiny detector runs in ONNX Runtime, is built into an engine of TensorRT and one of TensorRT-RTX,
and runs there; the CUDA kernels are compared with the CPU. With ARTIFACT its golden input is replayed: a frame made
from a seed, whose detections were written down at export. Exit code 0 when nothing failed; what is not installed is
skipped.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

EXAMPLES = """\
examples:
  edgedet selftest                   this machine
  edgedet selftest model.trt         this artifact on this machine
"""

MARKS = {"pass": "+", "fail": "!", "skip": "-"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet selftest``."""
    parser.add_argument(
        "artifacts", metavar="ARTIFACT", type=Path, nargs="*", help="graphs, engines or files for ncnn to replay"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Try everything, and print what came of it."""
    from edgedet.selftest import Check, check_artifact, check_machine

    checks: list[Check] = []
    for check in map(check_artifact, arguments.artifacts) if arguments.artifacts else check_machine():
        checks.append(check)
        if not arguments.json:
            print(f"{MARKS[check.outcome]} {check.name}: {check.outcome} ({check.seconds:.1f} s): {check.detail}")
    failed = any(check.outcome == "fail" for check in checks)
    if arguments.json:
        found = {"passed": not failed, "checks": [dataclasses.asdict(check) for check in checks]}
        print(json.dumps(found, indent=2))
    else:
        print("self-test failed" if failed else "self-test passed")
    return 1 if failed else 0
