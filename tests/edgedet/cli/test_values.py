"""Option values."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from edgedet.cli.values import class_names


@pytest.mark.parametrize("name", ["names.txt", "NAMES.TXT", "obj.names"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_class_files_are_read_as_any_editor_writes_them(tmp_path: Path, name: str, mark: bytes, end: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(mark + end.join([b"RBC", b" cell phone ", "caf\u00e9".encode(), b""]))
    assert class_names(str(path)) == ("RBC", "cell phone", "caf\u00e9")


def test_a_class_file_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("RBC\n", encoding="utf-16")
    with pytest.raises(argparse.ArgumentTypeError, match="not UTF-8 text"):
        class_names(str(path))
