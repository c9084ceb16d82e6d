"""Options of commands that run for good: figures for monitoring, and limits of heat and age."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from edgedet.cli.values import positive_number
from edgedet.errors import UsageError

if TYPE_CHECKING:
    from edgedet.cascade import Cascade
    from edgedet.detector import Detector
    from edgedet.segmenter import Segmenter
    from edgedet.service.service import Service

NAMES = ("metrics", "opentelemetry", "max_temp", "max_age")


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, in a group of their own."""
    group = parser.add_argument_group("running for good (cameras and streams; docs/service.md)")
    group.add_argument(
        "--metrics", metavar="PORT", type=port, help="figures for Prometheus on 127.0.0.1:PORT/metrics"
    )
    group.add_argument("--opentelemetry", action="store_true", help="the same by OTLP, as OTEL_… variables say")
    group.add_argument(
        "--max-temp", metavar="C", type=positive_number, help="rest more while the machine is hotter than C °C"
    )
    group.add_argument(
        "--max-age",
        metavar="MS",
        type=positive_number,
        help="rest more while results are older than MS milliseconds",
    )


def port(text: str) -> int:
    """A port to listen at.

    >>> port("9100")
    9100
    """
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def refuse_service(arguments: argparse.Namespace, source: str) -> None:
    """For sources that have an end.

    Raises:
        UsageError: one of the options is given.
    """
    for name in NAMES:
        if getattr(arguments, name):
            raise UsageError(f"--{name.replace('_', '-')} is for cameras and streams; {source} is none")


def start_service(arguments: argparse.Namespace, detector: Detector | Cascade | Segmenter) -> Service:
    """What the options ask for, and what systemd does."""
    from edgedet.service.service import Service, ServiceOptions

    options = ServiceOptions(
        metrics=arguments.metrics,
        telemetry=arguments.opentelemetry,
        max_temp=arguments.max_temp,
        max_age=arguments.max_age,
        max_fps=arguments.max_fps,
        duty=1.0 if arguments.duty is None else arguments.duty,
    )
    return Service(options, detector.path, dict(enumerate(detector.names)))
