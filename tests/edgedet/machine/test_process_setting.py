"""A setting of the process is put back by the last to leave, whoever came first."""

from __future__ import annotations

import pytest

from edgedet.machine.process_setting import ProcessSetting


def test_who_overlaps_puts_back_what_the_first_one_found() -> None:
    value = [7]

    def put(new: int) -> None:
        value[0] = new

    setting = ProcessSetting(lambda: value[0], put, lambda before: before - 5)
    setting.__enter__()
    setting.__enter__()
    assert value == [2]
    setting.__exit__()
    assert value == [2]
    setting.__exit__()
    assert value == [7]


def test_an_error_inside_puts_it_back_as_well() -> None:
    value = [7]
    setting = ProcessSetting(lambda: value[0], lambda new: value.__setitem__(0, new), lambda before: 0)
    with pytest.raises(RuntimeError), setting:
        raise RuntimeError
    assert value == [7]
