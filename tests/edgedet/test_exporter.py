"""Without its exporting half, edgedet says what to install; beside one of another version it works no further."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgedet import Detector, __version__
from edgedet.cli import main
from edgedet.errors import MissingDependencyError, MissingExporterError, RuntimeUnavailableError
from edgedet.exporter import ROOMS, exporter_named, require_this_version


@pytest.fixture
def without_exporter(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: the rooms are not there to be imported."""
    for name in [name for name in sys.modules if name.startswith(ROOMS)]:
        monkeypatch.delitem(sys.modules, name)
    import edgedet

    for room in ROOMS:
        monkeypatch.delattr(edgedet, room.rpartition(".")[2], raising=False)

    class Hidden:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name in ROOMS:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Hidden(), *sys.meta_path])


@pytest.mark.usefixtures("without_exporter")
def test_a_command_says_what_to_install(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words in (["export", "model.pt"], ["check", "model.pt", "--eval", "data"]):
        assert main(words) == MissingExporterError.exit_code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"pip install 'edgedet[export]', or edgedet-export=={__version__} alone" in said


@pytest.mark.usefixtures("without_exporter")
def test_a_checkpoint_says_so_too(tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="needs torchvision")
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(MissingExporterError, match="needs edgedet's exporter"):
        Detector(tmp_path / "model.pt")


def test_it_is_a_missing_dependency_and_a_missing_runtime() -> None:
    assert issubclass(MissingExporterError, MissingDependencyError)
    assert issubclass(MissingExporterError, RuntimeUnavailableError)


def test_another_missing_module_is_left_alone() -> None:
    with pytest.raises(ModuleNotFoundError, match="numpyy"), exporter_named():
        raise ModuleNotFoundError("No module named 'numpyy'", name="numpyy")


def test_both_halves_are_of_one_version() -> None:
    import edgedet.export

    require_this_version(edgedet.export.__version__)
    with pytest.raises(MissingExporterError, match=rf"edgedet-export is 9\.9 and edgedet is {__version__}"):
        require_this_version("9.9")
