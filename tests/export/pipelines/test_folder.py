"""Folders are written whole or not at all, and never over somebody's work."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from edgedet.errors import OutputError
from edgedet.export.pipelines.folder import MARK, atomic_folder


def write(path: Path, **files: str) -> None:
    with atomic_folder(path, products=["*.engine"]) as fresh:
        for name, text in files.items():
            place = fresh / name.replace("__", "/")
            place.parent.mkdir(exist_ok=True)
            place.write_text(text)


def names(path: Path) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def test_a_folder_and_those_above_it_are_made(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", one="1", two__three="3")
    assert names(tmp_path) == ["a/b/edgedet.json", "a/b/one", "a/b/two/three"]
    assert set(json.loads((tmp_path / "a/b" / MARK).read_text())["files"]) == {"one", "two/three"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", one="1")
    assert names(tmp_path / "out") == [MARK, "one"]


def test_our_own_folder_is_replaced_with_what_its_use_left(tmp_path: Path) -> None:
    write(tmp_path / "out", one="1", two="2")
    (tmp_path / "out" / "model.engine").write_text("built from the old graph")
    write(tmp_path / "out", three="3")
    assert names(tmp_path) == ["out/edgedet.json", "out/three"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [("notes.txt", "mine", "notes.txt is not of it"), ("one", "2", "one was changed"), ("sub/one", "1", "sub/one")],
)
def test_work_in_our_own_folder_is_not_lost(tmp_path: Path, file: str, text: str, message: str) -> None:
    write(tmp_path / "out", one="1")
    (tmp_path / "out" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "out" / file).write_text(text)
    with pytest.raises(OutputError, match=message):
        write(tmp_path / "out", one="3")
    assert (tmp_path / "out" / file).read_text() == text and "edgedet.json" in names(tmp_path / "out")


@pytest.mark.parametrize("mark", ["", "[]", '{"files": 1}', "\xff"])
def test_a_folder_of_others_is_refused(tmp_path: Path, mark: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "theirs").write_text("work")
    if mark:
        (tmp_path / "out" / MARK).write_text(mark, "latin-1")
    with pytest.raises(OutputError, match="holds something else"):
        write(tmp_path / "out", one="1")
    assert (tmp_path / "out" / "theirs").read_text() == "work"


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("out", "link"):
        with pytest.raises(OutputError, match="no folder"):
            write(tmp_path / name, one="1")
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "out" / "below", one="1")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("there", [False, True])
def test_nothing_half_written_stays(tmp_path: Path, error: BaseException, there: bool) -> None:
    if there:
        write(tmp_path / "out", one="1")
    before = names(tmp_path)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OutputError
    with pytest.raises(expected), atomic_folder(tmp_path / "out") as fresh:
        (fresh / "one").write_text("2")
        raise error
    assert names(tmp_path) == before
    assert not list(tmp_path.glob(".*"))


def test_an_interruption_between_the_two_renames_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "out", one="1")
    rename = Path.rename

    def stop_at_the_second(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", one="2")
    assert names(tmp_path) == ["out/edgedet.json", "out/one"]
    assert (tmp_path / "out" / "one").read_text() == "1"


def test_work_done_while_an_export_ran_is_not_lost(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds something else"), atomic_folder(tmp_path / "out") as fresh:
        (fresh / "one").write_text("1")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("work")
    assert names(tmp_path) == ["out/mine"]
