"""``--ray`` and ``--workers``: the work of a command done by the workers of a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING

from edgedet.cli.values import positive_integer
from edgedet.errors import UsageError

if TYPE_CHECKING:
    import onnx

    from edgedet.cluster.calibration_pass import FramesOnWorkers
    from edgedet.cluster.detector import ClusterDetector
    from edgedet.onnx_graph.network import Array


def add_ray_options(parser: argparse.ArgumentParser, *, work: str = "do the work") -> None:
    """Both options; ``work``: what is done there."""
    group = parser.add_argument_group("a cluster (docs/cluster.md)")
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help=f"{work} on a Ray cluster: its HOST:PORT, auto on one of its nodes, or local for this machine",
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
    """The detector of a command with ``--ray``, open until ``stack`` is.

    What is wrong with the address or the artifact is told before Ray is started, which takes a quarter of a minute.
    """
    from edgedet.cluster.detector import ClusterDetector
    from edgedet.cluster.session import open_cluster, require_address
    from edgedet.detector import Detector

    require_address(arguments.ray)
    options = {name: getattr(arguments, name) for name in ("runtime", "conf", "iou", "max_detections")}
    Detector(arguments.artifact, threads=1, **options).close()
    cluster = stack.enter_context(open_cluster(arguments.ray, workers=arguments.workers))
    return stack.enter_context(ClusterDetector(cluster, arguments.artifact, **options))


@contextmanager
def observed_on_workers(arguments: argparse.Namespace) -> Iterator[None]:
    """While this is open, the workers run the graphs of calibrations, where ``--ray`` is given.

    The cluster is opened for the first pass over the frames: what is wrong with a command is told before.
    """
    if arguments.ray is None:
        yield
        return
    from edgedet.calibration.executor import frames_run_by
    from edgedet.cluster.session import open_cluster, require_address

    require_address(arguments.ray)

    with ExitStack() as stack:

        @cache
        def workers() -> FramesOnWorkers:
            from edgedet.cluster.calibration_pass import FramesOnWorkers

            return FramesOnWorkers(stack.enter_context(open_cluster(arguments.ray, workers=arguments.workers)))

        def run(
            model: onnx.ModelProto, inputs: Iterable[Mapping[str, Array]], threads: int | None
        ) -> Iterator[dict[str, Array]]:
            return workers()(model, inputs, threads)

        with frames_run_by(run):
            yield
