"""Doctests run in a folder with the files that they open, which ``examples/example_folder.py`` makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made when the first example of a test run needs it."""
    from tests.once import example_files

    return Path(shutil.copytree(example_files(tmp_path_factory), tmp_path_factory.mktemp("examples") / "files"))


@pytest.fixture(autouse=True)
def in_example_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples say ``Detector("model.onnx")``, as a reader would."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("example_folder"))
