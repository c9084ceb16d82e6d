"""Some 300 files of every wrong kind: one line that says what is wrong, exit code 2, nothing run or written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest

from edgedet.cli import main
from tests.export.wrong_file import WrongFile
from tests.export.wrong_files import every_wrong_file

FILES: dict[str, WrongFile] = every_wrong_file()

LONGEST = 60
"""Seconds after which a file is held to have no end; each takes well under one."""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder; commands cannot be started, and what never ends is ended."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("something was run")

    def late(number: int, frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"no end after {LONGEST} seconds")

    for place, name in ((os, "system"), (subprocess, "Popen"), (os, "popen")):
        monkeypatch.setattr(place, name, refuse)
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    yield tmp_path
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def complaint_of(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line, after checking that it is all that happened."""
    held = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    code = main(arguments)
    shown = capsys.readouterr()
    assert code == 2, shown.err
    assert re.fullmatch(r"edgedet: error: [^\n]+\n", shown.err), shown.err
    assert not shown.out
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == held, "something was written"
    return shown.err


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("wrong", FILES.values(), ids=FILES)
def test_a_wrong_file_is_named_and_nothing_happens(
    wrong: WrongFile, guarded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = guarded / wrong.name
    wrong.write(path)
    complaint = complaint_of(["export", str(path), "-o", "out.onnx", *wrong.options], guarded, capsys)
    assert re.search(wrong.words, complaint), complaint
    assert len(complaint) < 1500
    if wrong.inspected:
        complaint_of(["inspect", str(path)], guarded, capsys)
        complaint_of(["detect", str(path), "photo.jpg"], guarded, capsys)
    path.unlink()
