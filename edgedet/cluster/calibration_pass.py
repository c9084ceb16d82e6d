"""A calibration's pass over its frames, on the workers of a cluster: frames go out, what they show comes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgedet import __version__
from edgedet.calibration.executor import GraphRunner, frames_run_by, lanes_of
from edgedet.cluster.session import Cluster
from edgedet.cluster.workers import work_in_order
from edgedet.errors import ClusterError
from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array
from edgedet.onnxruntime_import import onnxruntime

Answer = dict[str, Array] | str
"""Outputs by name, or a sentence that says why there are none."""


@contextmanager
def observing_on(cluster: Cluster) -> Iterator[None]:
    """While this is open, calibrations have the workers run their graphs over the calibration frames.

    Each frame is run with as many threads as here, and what it shows is taken in the order of the frames, so the
    ranges are those of one machine.

    Args:
        cluster: with ``edgedet[export]`` on every node.

    >>> from edgedet.cluster.session import open_cluster
    >>> from edgedet.export import ExportOptions, export_model
    >>> with open_cluster("auto") as cluster, observing_on(cluster):  # doctest: +SKIP
    ...     report = export_model("model.pt", None, ExportOptions(precision="int8", calib="photos/"))
    """
    with frames_run_by(FramesOnWorkers(cluster)):
        yield


@dataclass(frozen=True)
class RunOrder:
    """How a graph is to be run.

    Attributes:
        cores: of the machine that asks, which say how many threads a frame is run with.
        version: of edgedet there.
        runtime: version of ONNX Runtime there.
    """

    cores: int
    version: str
    runtime: str


class FramesOnWorkers:
    """:data:`edgedet.calibration.executor.Runs` on the workers of ``cluster``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def __call__(
        self, model: onnx.ModelProto, inputs: Iterable[Mapping[str, Array]], threads: int | None
    ) -> Iterator[dict[str, Array]]:
        ray = self._cluster.ray
        cores = threads or available_cores()
        content = model.SerializeToString()
        order = RunOrder(cores, __version__, onnxruntime.__version__)
        # An array is read where it lies; bytes would be copied for every frame.
        graph = ray.put(np.frombuffer(content, np.uint8))
        del content
        wanted = min(cores // lanes_of(model, cores), _most_cores(ray))
        work = FrameWork(order, [graph])
        with closing(work_in_order(self._cluster, work, map(dict, inputs), cores=wanted)) as answers:
            for answer in answers:
                if isinstance(answer, str):
                    raise ClusterError(answer)
                yield answer


def _most_cores(ray: Any) -> int:
    """Largest number of cores of one node."""
    return max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]) or 1


class FrameWork:
    """A frame's inputs to the outputs of a graph, or to a sentence that says why there are none.

    Args:
        order: how the graph is run.
        graph: its bytes, uint8, as a reference into Ray's store, in a list.
    """

    def __init__(self, order: RunOrder, graph: Sequence[Any]) -> None:
        self._order = order
        self._graph = graph
        self._runner: GraphRunner | None = None

    def __call__(self, feed: Mapping[str, Array]) -> Answer:
        """Outputs by name, for inputs by name."""
        order = self._order
        if (order.version, order.runtime) != (__version__, onnxruntime.__version__):
            return (
                f"a worker has edgedet {__version__} with ONNX Runtime {onnxruntime.__version__} and this machine "
                f"{order.version} with {order.runtime}; install the same on all nodes"
            )
        if self._runner is None:
            import ray

            model = onnx.ModelProto.FromString(ray.get(self._graph[0]).tobytes())
            self._runner = GraphRunner(model, fusion="separate", threads=order.cores, as_written=True)
        return self._runner.with_inputs(feed)
