"""Put a new artifact in the place of the one that runs here: whole, or not at all.

NEW is verified (its digest, and its signature where one is required), tried on this device in a process of its own
(its golden input must give what it gave at export), and then renamed over CURRENT, its signature with it. Whatever
fails, and whenever power or process ends, CURRENT is the old artifact or the new one. A program that has it open
goes on with the old one until it opens it again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from edgedet.cli.values import positive_number

EXAMPLES = """\
examples:
  edgedet install new.trt --over /opt/detector/camera.trt --keep-previous
  edgedet install new.trt --over camera.trt --require-signature owner.pub
  edgedet install camera.previous.trt --over camera.trt              back to the old one
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet install``."""
    parser.add_argument("new", metavar="NEW", type=Path, help="graph or engine, of one file")
    parser.add_argument(
        "--over", metavar="CURRENT", type=Path, required=True, help="the artifact to replace; it may be missing"
    )
    parser.add_argument(
        "--keep-previous", action="store_true", help="keep the old one beside it (camera.previous.trt)"
    )
    parser.add_argument(
        "--accept-unproved",
        action="store_true",
        help="install an artifact that runs, and of which nothing can be compared with what it gave at export",
    )
    parser.add_argument(
        "--other-classes", action="store_true", help="install an artifact that finds other classes than the old one"
    )
    parser.add_argument(
        "--timeout", metavar="S", type=positive_number, default=300.0, help="seconds for the self-test (300)"
    )
    parser.add_argument("--json", action="store_true", help="what was installed as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Install, and say what was done."""
    from edgedet.install.install import InstallOptions, install

    options = InstallOptions(
        keep_previous=arguments.keep_previous,
        accept_unproved=arguments.accept_unproved,
        other_classes=arguments.other_classes,
        seconds=arguments.timeout,
    )
    done = install(arguments.new, arguments.over, options)
    if arguments.json:
        print(
            json.dumps(
                {
                    "path": str(done.path),
                    "sha256": done.sha256,
                    "previous": None if done.previous is None else str(done.previous),
                    "signature_checked": done.signed,
                    "proved": done.trial.proved,
                    "selftest": done.trial.said,
                    "notes": list(done.notes),
                },
                indent=2,
            )
        )
        return 0
    print(f"{done.path}: sha256 {done.sha256[:16]}…, signature {'right' if done.signed else 'not asked for'}")
    print(f"self-test   {done.trial.said}")
    if done.previous is not None:
        print(f"previous    {done.previous}")
    for note in done.notes:
        print(f"edgedet: {note}", file=sys.stderr)
    return 0
