"""Workers of a cluster that keep something open, and do piece after piece of a work: in order, each piece once.

They are actors of Ray. Ray begins one again that dies, and gives it what it had not answered; what is made of a
piece comes back whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from edgedet.cluster.session import Cluster
from edgedet.errors import ClusterError

MAX_RETRIES = 20
"""Maximum number of times that a piece is tried again. What ends every worker must not be tried for ever."""
QUEUED = 2
"""Pieces that a worker has at a time: the one it works on, and the next, for which it then need not wait."""
AHEAD = 4
"""Times as many pieces may be done while one is waited for: their results are held until its turn."""

Work = Callable[[Any], Any]
"""From a piece to what is made of it. A copy is sent to every worker, which keeps it from piece to piece."""


def work_in_order(
    cluster: Cluster, work: Work, pieces: Iterable[Any], *, count: int | None = None, cores: int = 1, gpus: int = 0
) -> Generator[Any, None, None]:
    """What the workers make of every piece, in the order of the pieces.

    Args:
        cluster: where they are.
        work: what they do. Large things that it needs belong into Ray's store (``ray.put``), with the reference in
            a list: it is sent once to a machine then, not to every worker.
        pieces: taken one by one, as workers become free.
        count: of workers, at most; None is the cluster's.
        cores: that a worker takes.
        gpus: that a worker takes.

    Raises:
        ClusterError: the workers end again and again, or ``work`` raised.
    """
    ray = cluster.ray
    kind = ray.remote(num_cpus=cores, num_gpus=gpus, max_restarts=-1, max_task_retries=MAX_RETRIES)(Worker)
    workers = [kind.remote() for _ in range(min(count or cluster.workers, cluster.workers))]
    # Not told to them as they begin: Ray warns of workers whose beginning depends on its store.
    told = [ray.put(work)]
    # On a cluster that others use, some may wait for a free core for hours: only those that answer get work.
    coming = {worker.ready.remote(): place for place, worker in enumerate(workers)}
    given: dict[int, int] = {}  # pieces that a worker has
    running: dict[Any, tuple[int, int]] = {}
    done: dict[int, Any] = {}
    left = enumerate(pieces)
    more, following = True, 0
    most = AHEAD * QUEUED * len(workers)
    try:
        while True:
            while more and len(running) < QUEUED * len(given) and len(running) + len(done) < most:
                number, piece = next(left, (-1, None))
                more = number >= 0
                if more:
                    place = min(given, key=given.__getitem__)
                    given[place] += 1
                    running[workers[place].do.remote(told, piece)] = number, place
            if not more and not running and not done:
                return
            if following not in done:
                (answer, *_), _ = ray.wait([*running, *coming], num_returns=1)
                if answer in coming:
                    given[coming.pop(answer)] = 0
                    ray.get(answer)
                else:
                    number, place = running.pop(answer)
                    done[number] = answer
                    given[place] -= 1
            while following in done:
                yield ray.get(done.pop(following))
                following += 1
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the workers cannot go on: {last_line(error)}") from error
    finally:
        for worker in workers:
            ray.kill(worker)


class Worker:
    """A process of a cluster."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def ready(self) -> None:
        """Answers as soon as the process is there."""

    def do(self, told: Sequence[Any], piece: Any) -> Any:
        """What is made of a piece; ``told``: the work, as a reference into Ray's store."""
        if self._work is None:
            import ray

            self._work = ray.get(told[0])
        return self._work(piece)


def last_line(error: BaseException) -> str:
    """Last line of Ray's report, which is the error's own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
