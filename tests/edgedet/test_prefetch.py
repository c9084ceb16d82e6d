"""Work done ahead: in order, bounded, errors at their turn, and over when nobody asks any more."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from edgedet.prefetch import in_order


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("edgedet-ahead")]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.03 if item % 4 == 0 else 0)
        return item * item

    assert list(in_order(range(20), [slow_at_first] * threads)) == [item * item for item in range(20)]
    assert ours() == []


def test_nothing_gives_nothing() -> None:
    assert list(in_order([], [str, str])) == []


def test_work_is_done_on_several_threads_at_a_time() -> None:
    together = threading.Barrier(2, timeout=10)
    assert list(in_order(range(4), [lambda item: together.wait() >= 0] * 2)) == [True] * 4


def test_no_more_is_taken_ahead_than_there_is_room_for() -> None:
    taken = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            taken.append(number)
            yield number
            number += 1

    results = in_order(endless(), [int, int], room=3)
    for asked in range(1, 6):
        next(results)
        time.sleep(0.05)
        assert len(taken) == asked + 3
    results.close()
    assert ours() == []


def test_an_error_of_the_work_is_raised_at_its_turn() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("the fourth")
        time.sleep(0.02)
        return item

    given = []
    with pytest.raises(ValueError, match="the fourth"):
        given.extend(in_order(range(100), [work] * 3))
    results = in_order(range(100), [work] * 3)
    given = [next(results) for _ in range(3)]
    assert given == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(results)
    assert ours() == []


def test_an_error_of_the_items_is_raised_behind_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the disk is gone")

    results = in_order(items(), [int, int])
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(results)


def test_whoever_leaves_early_waits_for_what_is_being_worked_on_and_for_no_more() -> None:
    done = []

    def work(item: int) -> int:
        time.sleep(0.02)
        done.append(item)
        return item

    results = in_order(range(1000), [work] * 2)
    next(results)
    results.close()
    count = len(done)
    assert ours() == [] and count < 10
    time.sleep(0.06)
    assert len(done) == count


def test_python_switches_threads_eagerly_as_long_as_it_goes_on() -> None:
    before = sys.getswitchinterval()
    results = in_order(range(3), [int])
    next(results)
    assert sys.getswitchinterval() < before
    results.close()
    assert sys.getswitchinterval() == before


@pytest.mark.parametrize(("works", "room"), [([], 1), ([int], 0)])
def test_no_threads_or_no_room_are_refused_at_once(works: list[type], room: int) -> None:
    with pytest.raises(ValueError, match="expected one at least of both"):
        in_order([1], works, room=room)


UNFINISHED = """
from edgedet.prefetch import in_order
import time
results = in_order(iter(int, 1), [lambda item: time.sleep(0.01)] * 2)
next(results)
print("begun", flush=True)
{end}
"""


def test_an_iteration_that_nobody_finishes_does_not_keep_the_process_alive() -> None:
    done = subprocess.run(
        [sys.executable, "-c", UNFINISHED.format(end="")], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_it() -> None:
    code = UNFINISHED.format(end="for _ in results: pass")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode != 0 and said.rstrip().endswith(b"KeyboardInterrupt")
