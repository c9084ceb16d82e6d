"""The one file of a run stays valid, also on a disk that is full."""

from __future__ import annotations

import errno
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpu_day import journal as journal_module
from gpu_day.journal import Journal, replace_file


def test_what_was_written_last_is_there_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.json", {"steps": [1]})
    assert journal.write() == ""
    journal.content["steps"].append(2)
    assert journal.write() == ""
    assert json.loads((tmp_path / "run.json").read_text()) == {"steps": [1, 2]}
    journal.close()
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    path.write_text("older")

    def full(self: Path, target: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "No space left on device" in replace_file(path, "newer")
    assert path.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_takes_the_reserve_and_not_the_file(small_disk: Path) -> None:
    journal = Journal(small_disk / "run.json", {"text": "first"})
    assert journal.write() == ""
    with (small_disk / "rubbish").open("wb", buffering=0) as rubbish:
        try:
            while True:
                rubbish.write(b"x" * 65536)
        except OSError as error:
            assert error.errno == errno.ENOSPC
    journal.content["text"] = "x" * 500_000
    assert journal.write() == ""
    assert json.loads((small_disk / "run.json").read_text()) == journal.content
    # Once the reserve is used up as well, the file keeps what it had.
    journal.content["text"] = "y" * (3 * 2**20)
    assert "No space left" in journal.write()
    assert json.loads((small_disk / "run.json").read_text())["text"].startswith("x")


def test_a_reserve_that_does_not_fit_is_an_error_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RESERVE_BYTES", 10)
    (tmp_path / ".run.json.reserve").mkdir()
    with pytest.raises(OSError):
        Journal(tmp_path / "run.json", {})
