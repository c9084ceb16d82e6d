"""The first line works: installed, editable, or a clone with only the dependencies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("export", "runtimes", "calibration")
FIRST_LINE = "from edgedet import Detector; from edgedet.export import export_model; print(export_model.__module__)"


def run(code: str, folder: Path) -> str:
    """What ``code`` prints in ``folder`` where the dependencies are installed and edgedet is not."""
    # -S: no .pth files, so nothing of an editable install.
    start = (
        f"import sys; sys.path[:0] = [{str(folder)!r}]; sys.path.append({str(Path(np.__file__).parents[1])!r}); "
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-S", "-c", start + code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_in_a_clone_that_is_not_installed() -> None:
    assert run(FIRST_LINE, ROOT) == "edgedet.export.pipeline"


def test_where_git_left_out_the_links(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "edgedet", tmp_path / "edgedet", ignore=shutil.ignore_patterns(*ROOMS, "__pycache__"))
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / "edgedet" / room).write_text(f"../{room}")  # what git writes in place of a link
    assert run(FIRST_LINE, tmp_path) == "edgedet.export.pipeline"


def test_a_wheel_holds_every_module_once_and_nothing_else(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    shutil.copytree(
        ROOT,
        tmp_path / "source",
        symlinks=True,
        ignore=lambda folder, names: (
            []
            if folder != str(ROOT)
            else [
                name for name in names if name not in {"edgedet", *ROOMS, "pyproject.toml", "README.md", "LICENSE"}
            ]
        ),
    )
    code = "from setuptools.build_meta import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path / "source",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "unpacked", "zip")
    assert {path.name.partition("-")[0] for path in (tmp_path / "unpacked").iterdir()} == {"edgedet"}
    packed = {
        path.relative_to(tmp_path / "unpacked/edgedet").as_posix()
        for path in (tmp_path / "unpacked/edgedet").rglob("*.py")
    }
    ours = {
        path.relative_to(ROOT / "edgedet").as_posix()
        for path in (ROOT / "edgedet").rglob("*.py")
        if path.relative_to(ROOT / "edgedet").parts[0] not in ROOMS
    } | {path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert packed == ours
    assert run(FIRST_LINE, tmp_path / "unpacked") == "edgedet.export.pipeline"
