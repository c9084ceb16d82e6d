"""Without its exporting half, edgedet says what to install; beside one of another version it works no further."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgedet import __version__
from edgedet.errors import MissingDependencyError, MissingExporterError, RuntimeUnavailableError
from edgedet.export_wheel import ROOMS, exporter_named, require_this_version

HIDING = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in {ROOMS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def on_a_device(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``program`` where the rooms are not there to be imported."""
    command = [sys.executable, "-c", HIDING + program, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [["export", "model.pt"], ["check", "model.pt", "--eval", "data"]], ids=lambda w: w[0]
)
def test_a_command_says_what_to_install(words: list[str]) -> None:
    done = on_a_device("from edgedet.cli import main; sys.exit(main(sys.argv[1:]))", *words)
    assert done.returncode == MissingExporterError.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert f"pip install 'edgedet[export]', or edgedet-export=={__version__} alone" in done.stderr


def test_a_checkpoint_says_so_too(tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="needs torchvision")
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    done = on_a_device("from edgedet import Detector; Detector(sys.argv[1])", str(tmp_path / "model.pt"))
    assert "MissingExporterError: this needs edgedet's exporter" in done.stderr


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
