"""A graph opened as the device will open it; without room for that, a sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

pytest.importorskip("edgedet.export.pipeline", reason="needs edgedet[export]")

from edgedet.errors import OutputError
from edgedet.export.embedded_card import opened_segmenter
from tests.colour_segmenter import card, colour_segmenter


def test_a_full_folder_of_temporary_files_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    graph = colour_segmenter(card())
    with opened_segmenter(graph) as segmenter:
        assert segmenter.names and len(list(tmp_path.iterdir())) == 1

    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    said = "No space left on device; make room there, or name another folder"
    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=said), opened_segmenter(graph):
            pass
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="of its own"), opened_segmenter(graph):
        raise OSError("of its own")
