"""The process of one cold start: what it says of the GPU's memory."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from edgedet.bench.first_frame import device_memory, device_used


class NVMLError(Exception):
    """As of pynvml."""


class Nvml:
    """A board with 3 MiB in use, that says nothing before NVML is started, as the library has it."""

    NVMLError = NVMLError

    def __init__(self) -> None:
        self.started = False

    def nvmlInit(self) -> None:
        self.started = True

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if not self.started:
            raise NVMLError("Uninitialized")
        return index

    def nvmlDeviceGetMemoryInfo(self, board: int) -> Any:
        return SimpleNamespace(used={0: 3 << 20}[board])


def test_the_first_boards_memory_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert device_memory() == 3 << 20


def test_what_is_not_known_has_a_reason() -> None:
    assert device_used(1 << 20, 3 << 20) == 2 << 20
    assert device_used("no GPU", 1) == device_used(1, "no GPU") == {"not_measured": "no GPU"}
