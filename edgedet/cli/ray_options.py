"""``--ray`` and ``--workers``: the work of a command done by the workers of a Ray cluster."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING

from edgedet.cli.values import positive_integer
from edgedet.errors import UsageError

if TYPE_CHECKING:
    from edgedet.cluster.detector import ClusterDetector


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """Both options."""
    group = parser.add_argument_group("a cluster (docs/cluster.md)")
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="do the work on a Ray cluster: its HOST:PORT, auto on one of its nodes, or local for this machine",
    )
    group.add_argument(
        "--workers", metavar="N", type=positive_integer, help="number of workers, with --ray (one for each core)"
    )


def require_ray_options(arguments: argparse.Namespace) -> None:
    """Check what goes with ``--ray`` and what does not.

    Raises:
        UsageError: ``--workers`` without it; ``--threads`` with it.
    """
    if arguments.ray is None:
        if arguments.workers is not None:
            raise UsageError("--workers is for --ray; on one machine it is --threads")
    elif getattr(arguments, "threads", None) is not None:
        raise UsageError(
            "--threads is for one machine; with --ray each worker has one, and --workers says how many"
        )


def cluster_detector(arguments: argparse.Namespace, stack: ExitStack) -> ClusterDetector:
    """The detector of a command with ``--ray``, open until ``stack`` is."""
    from edgedet.cluster.detector import ClusterDetector
    from edgedet.cluster.session import open_cluster

    cluster = stack.enter_context(open_cluster(arguments.ray, workers=arguments.workers))
    return stack.enter_context(
        ClusterDetector(
            cluster,
            arguments.artifact,
            runtime=arguments.runtime,
            conf=arguments.conf,
            iou=arguments.iou,
            max_detections=arguments.max_detections,
        )
    )
