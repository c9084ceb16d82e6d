"""Without its other wheels, edgedet says what to install; beside one of another version it works no further."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgedet import __version__
from edgedet.cli import COMMANDS
from edgedet.errors import MissingDependencyError, MissingExporterError, MissingWheelError, RuntimeUnavailableError
from edgedet.uninstalled_rooms import WHEELS, require_installed, require_this_version

HIDDEN = tuple(f"edgedet.{room}" for wheel in WHEELS.values() for room in wheel.rooms)
HIDING = f"""
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name in {HIDDEN!r} else self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""
COMMAND = "from edgedet.cli import main; sys.exit(main(sys.argv[1:]))"
GRAPH = Path(__file__).parent / "artifacts" / "cards" / "0.1.0-f532f52" / "yolo.onnx"


def on_a_device(program: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``program`` where the rooms are not there to be imported."""
    command = [sys.executable, "-c", HIDING + program, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [["export", "model.pt"], ["check", "model.pt", "--eval", "data"]], ids=lambda w: w[0]
)
def test_a_command_that_exports_says_what_to_install(words: list[str]) -> None:
    done = on_a_device(COMMAND, *words)
    assert done.returncode == MissingExporterError.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert f"pip install 'edgedet[export]', or edgedet-export=={__version__} alone" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["eval", GRAPH, "data.json"],
        ["sweep", "model.pt", "--eval", "data.json", "-o", "{folder}/sweep"],
        ["report", "bench.json", "--max-misses", "0.1"],
        ["anchors", "data.json"],
        ["convert", "data.json", "{folder}/out", "--to", "coco"],
        ["parity", GRAPH, "--reference", "boxes.json", "--frames", "photos"],
        ["bench", GRAPH, "--frames", "{folder}/data.json", "--cold-starts", "0"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_measures_says_what_to_install(words: list[str | Path], tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("{}")
    done = on_a_device(COMMAND, *(str(word).format(folder=tmp_path) for word in words))
    assert done.returncode == MissingWheelError.exit_code == 2
    # `bench` says before how long it will take.
    *before, said = done.stderr.splitlines()
    assert said == f"edgedet: error: {WHEELS['edgedet-report'].words}"
    assert not before or (len(before), words[0]) == (1, "bench")
    assert done.stderr.endswith("pip install 'edgedet[report]'\n")


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"check", "export"}))
def test_help_is_there_on_a_device(name: str) -> None:
    done = on_a_device(COMMAND, name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: edgedet {name} ")


@pytest.mark.parametrize("module", HIDDEN)
def test_an_import_says_so_too(module: str) -> None:
    for program in (f"import {module}.something", f"from edgedet import {module.partition('.')[2]}"):
        done = on_a_device(program)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("edgedet.errors.Missing")
        assert "which is not installed: pip install 'edgedet[" in done.stderr.splitlines()[-1]


def test_a_program_may_look_whether_it_is_there() -> None:
    """As for any package, by ModuleNotFoundError."""
    done = on_a_device(
        "try:\n    from edgedet.evaluate import evaluate\n"
        "except ModuleNotFoundError as error:\n    print(type(error).__name__)"
    )
    assert done.stdout == "MissingWheelError\n"


def test_a_checkpoint_says_so_too(tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="needs torchvision")
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04")
    done = on_a_device("from edgedet import Detector; Detector(sys.argv[1])", str(tmp_path / "model.pt"))
    assert "MissingExporterError: this needs edgedet's exporter" in done.stderr


def test_it_is_a_missing_dependency_and_the_exporter_a_missing_runtime() -> None:
    assert issubclass(MissingWheelError, MissingDependencyError)
    assert issubclass(MissingExporterError, RuntimeUnavailableError)


def test_another_missing_module_is_left_alone() -> None:
    for name in ("edgedet.gone", "edgedet.gone.export", "numpyy.export", "export"):
        require_installed(name)
        with pytest.raises(ModuleNotFoundError) as caught:
            __import__(f"{name}_gone")
        assert type(caught.value) is ModuleNotFoundError


def test_all_wheels_are_of_one_version() -> None:
    import edgedet.datasets
    import edgedet.export

    for name, version in (
        ("edgedet-export", edgedet.export.__version__),
        ("edgedet-report", edgedet.datasets.__version__),
    ):
        require_this_version(name, version)
        with pytest.raises(MissingWheelError, match=rf"{name} is 9\.9 and edgedet is {__version__}"):
            require_this_version(name, "9.9")
