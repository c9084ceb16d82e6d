"""What a swap of files says when the disk does not take them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgedet.install.swap import same_file


def test_a_copy_that_could_not_begin_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is the disk's, and not that the half of a copy, which nobody wrote, is missing."""

    def no_links(*names: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    def full(*names: Any) -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(shutil, "copy2", full)
    (tmp_path / "a.onnx").write_bytes(b"a")
    with pytest.raises(OSError, match="no room"):
        same_file(tmp_path / "a.onnx", tmp_path / "a.onnx.previous")
