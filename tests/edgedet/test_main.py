"""The command as a process: what loads the command line may be interrupted, too."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from edgedet.__main__ import command


def test_loading_is_interrupted_as_the_work_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "edgedet.cli", Interrupted("edgedet.cli"))
    with pytest.raises(SystemExit) as leave:
        command()
    assert leave.value.code == 130
    assert capsys.readouterr().err == "edgedet: interrupted\n"
