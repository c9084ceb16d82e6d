"""Work in several threads at once, for what must hold when they meet."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence


def in_threads(works: Sequence[Callable[[], None]]) -> None:
    """All at once, switching as often as Python can; the first error is raised."""
    errors: list[BaseException] = []
    together = threading.Barrier(len(works))

    def run(work: Callable[[], None]) -> None:
        try:
            together.wait(60)
            work()
        except BaseException as error:
            errors.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=run, args=(work,)) for work in works]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(before)
    if errors:
        raise errors[0]
