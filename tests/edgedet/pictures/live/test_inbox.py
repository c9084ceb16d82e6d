"""Turns, drops and ends of the inbox, without a clock."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from edgedet.errors import SourceEndedError
from edgedet.pictures.frames import Frame
from edgedet.pictures.live.fault import Fault
from edgedet.pictures.live.inbox import Inbox

IMAGE = np.zeros((2, 2, 3), np.uint8)


def put(inbox: Inbox, number: int, index: int, *, every: bool = False) -> bool:
    return inbox.put(
        number,
        lambda dropped: Frame(IMAGE, f"{number} #{index}", index, source=str(number), dropped=dropped),
        wanted=lambda: True,
        every=every,
    )


def taken(inbox: Inbox) -> tuple[str, int, int]:
    frame = inbox.take(0)
    assert isinstance(frame, Frame)
    return frame.source, frame.index, frame.dropped


def test_the_newest_frame_is_given_and_the_others_are_counted() -> None:
    inbox = Inbox(1)
    for index in range(3):
        put(inbox, 0, index)
    assert taken(inbox) == ("0", 2, 2)
    assert inbox.take(0) is None
    put(inbox, 0, 3)
    assert taken(inbox) == ("0", 3, 2)


def test_sources_take_turns_whatever_their_rates() -> None:
    inbox = Inbox(3)
    order = []
    for index in range(4):
        for number, times in ((0, 5), (1, 1), (2, 1)):
            for _ in range(times):
                put(inbox, number, index)
        order += [taken(inbox)[0], taken(inbox)[0]]
    assert order == ["0", "1", "2", "0", "1", "2", "0", "1"]


def test_a_source_with_nothing_new_is_passed_over() -> None:
    inbox = Inbox(3)
    put(inbox, 0, 0)
    put(inbox, 2, 0)
    assert [taken(inbox)[0], taken(inbox)[0]] == ["0", "2"]
    put(inbox, 2, 1)
    assert taken(inbox) == ("2", 1, 0)


def test_where_every_frame_counts_the_source_waits() -> None:
    inbox = Inbox(1)
    put(inbox, 0, 0, every=True)
    second = threading.Thread(target=put, args=(inbox, 0, 1), kwargs={"every": True})
    second.start()
    second.join(0.05)
    assert second.is_alive()
    assert taken(inbox) == ("0", 0, 0)
    second.join(5)
    assert taken(inbox) == ("0", 1, 0)


def test_what_nobody_wants_any_more_does_not_go_in() -> None:
    inbox = Inbox(1)
    assert not inbox.put(0, lambda dropped: Frame(IMAGE, "", 0), wanted=lambda: False, every=False)
    inbox.close()
    assert not put(inbox, 0, 0)
    with pytest.raises(EOFError):
        inbox.take(0)


def test_it_ends_with_the_last_source_and_says_why() -> None:
    inbox = Inbox(2)
    put(inbox, 1, 0)
    inbox.finish(0, SourceEndedError("unplugged"))
    inbox.finish(1)
    assert taken(inbox) == ("1", 0, 0)
    with pytest.raises(EOFError) as end:
        inbox.take(0)
    assert str(end.value.__cause__) == "unplugged"


def test_a_frame_that_waited_too_long_is_renewed_by_its_own_source() -> None:
    inbox = Inbox(2)
    put(inbox, 0, 0)
    put(inbox, 1, 0)
    old = inbox.take(0)
    assert isinstance(old, Frame) and inbox.renew(old) is None
    put(inbox, 0, 1)
    newer = inbox.renew(old)
    assert newer is not None and (newer.source, newer.index, newer.dropped) == ("0", 1, 1)
    put(inbox, 0, 2)
    # It is still the other one's turn.
    assert taken(inbox) == ("1", 0, 0)
    assert taken(inbox) == ("0", 2, 1)


def test_faults_come_before_frames_and_are_all_counted() -> None:
    inbox = Inbox(1)
    put(inbox, 0, 0)
    for _ in range(1500):
        inbox.report(0, Fault("0", "damaged", "", 0, 0.0))
    assert isinstance(inbox.take(0), Fault)
    assert inbox.places[0].faults == {"damaged": 1500}


def test_an_error_that_nothing_mends_is_raised() -> None:
    inbox = Inbox(1)
    inbox.fail(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError, match="ours"):
        inbox.take(0)
