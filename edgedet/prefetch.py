"""Work done ahead on other threads, whose results come in the order of the items: a picture is read, or read
and detected, while the one before is still being dealt with."""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from edgedet.machine.cores import available_cores
from edgedet.machine.process_setting import ProcessSetting

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BESIDE = 3
MAX_LANES = 8
"""Every thread holds a picture, and memory is to stay bounded on machines of many cores, too."""
SWITCH_SECONDS = 0.0005
"""How long Python lets one thread have the interpreter while others wait for it. A thread asks for it ten times for
each picture, so that with Python's own 5 ms two threads of an evaluation are no quicker than one."""
HEARD_SECONDS = 0.2
"""Waits are cut into pieces of this length, so that Ctrl-C is heard on every system."""


_EAGER_SWITCHES = ProcessSetting(
    sys.getswitchinterval, sys.setswitchinterval, lambda before: min(before, SWITCH_SECONDS)
)


def threads_beside() -> int:
    """How many threads to read with while another one works: one for each further core, three at most."""
    return max(1, min(available_cores() - 1, MAX_BESIDE))


def lanes_here(threads: int | None = None) -> int:
    """How many pictures to work on at the same time, from file to boxes: one for each core, eight at most.

    ``threads``: the user's own number of them.
    """
    return threads or min(available_cores(), MAX_LANES)


def in_order(
    items: Iterable[Item], works: Sequence[Callable[[Item], Result]], *, room: int | None = None
) -> Generator[Result, None, None]:
    """Results of ``work(item)`` for every item, in the items' order, made ahead on a thread for each of ``works``.

    Items are taken one at a time, by whichever thread is free. What taking or working raises is raised here, at its
    turn. Whoever ends the iteration early (``close()``, ``contextlib.closing``, an error, Ctrl-C) waits for the
    items that are being worked on, and for no others.

    Args:
        items: taken from as far ahead as there is room; so nothing that is to be seen when it is asked for.
        works: one function for each thread.
        room: number of items that are taken and not asked for yet, at most; None for two more than threads.

    Yields:
        One result for each item.

    Raises:
        ValueError: no functions, or room for less than one item.

    >>> list(in_order("abc", [str.upper, str.upper]))
    ['A', 'B', 'C']
    """
    room = len(works) + 2 if room is None else room
    if not works or room < 1:
        raise ValueError(f"{len(works)} functions with room for {room} items; expected one at least of both")
    return _results(_Run(iter(items), room), works)  # checked here, not where the first result is asked for


class _Run(Generic[Item, Result]):
    """What the threads and whoever asks for results share. All fields belong to ``changed``'s lock."""

    def __init__(self, items: Iterator[Item], room: int) -> None:
        self._items = items
        self._room = room
        self._taking = threading.Lock()
        self.changed = threading.Condition()
        self._taken = self._given = 0
        self._end: int | None = None
        """Number of items, once it is known."""
        self._done: dict[int, tuple[Result | None, BaseException | None]] = {}
        self.stopped = False

    def work(self, work: Callable[[Item], Result]) -> None:
        """Items, until there are no more or nobody wants them."""
        while True:
            with self._taking:
                number = self._next_number()
                if number is None:
                    return
                try:
                    item = next(self._items)
                except StopIteration:
                    self._ends(number)
                    return
                except BaseException as error:  # raised at its turn, in the thread that asks
                    self._ends(number + 1)
                    self._put(number, None, error)
                    return
            try:
                result = work(item)
            except BaseException as error:
                self._put(number, None, error)
            else:
                self._put(number, result, None)
                # Else it would live on here until the next one is there.
                del result
            del item

    def next(self) -> tuple[bool, Result | None]:
        """Whether there is another result, and it; waits until it is known."""
        with self.changed:
            while self._given not in self._done:
                if self._end is not None and self._given >= self._end:
                    return False, None
                self.changed.wait(HEARD_SECONDS)
            result, error = self._done.pop(self._given)
            self._given += 1
            self.changed.notify_all()
        if error is not None:
            raise error
        return True, result

    def stop(self) -> None:
        """No more items."""
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def _next_number(self) -> int | None:
        """The number of the next item as soon as there is room for it; None where there is to be none."""
        with self.changed:
            while not self.stopped and self._end is None and self._taken >= self._given + self._room:
                self.changed.wait()
            if self.stopped or self._end is not None:
                return None
            self._taken += 1
            return self._taken - 1

    def _ends(self, count: int) -> None:
        with self.changed:
            self._end = count
            self.changed.notify_all()

    def _put(self, number: int, result: Result | None, error: BaseException | None) -> None:
        with self.changed:
            self._done[number] = (result, error)
            self.changed.notify_all()


def _results(run: _Run[Item, Result], works: Sequence[Callable[[Item], Result]]) -> Generator[Any, None, None]:
    # Daemons, and stopped before the interpreter ends: an iteration that nobody finishes must not keep it alive.
    threads = [
        threading.Thread(target=run.work, args=(work,), name=f"edgedet-ahead-{number}", daemon=True)
        for number, work in enumerate(works)
    ]
    started: list[threading.Thread] = []

    def end() -> None:
        run.stop()
        for thread in started:
            if thread is not threading.current_thread():  # the collector ends iterations from any thread
                thread.join()

    atexit.register(end)
    try:
        with _EAGER_SWITCHES:
            for thread in threads:
                try:
                    thread.start()
                except RuntimeError:  # no more threads here; one is enough
                    if not started:
                        raise
                    break
                started.append(thread)
            while True:
                there, result = run.next()
                if not there:
                    return
                yield result
                del result
    finally:
        end()
        atexit.unregister(end)
