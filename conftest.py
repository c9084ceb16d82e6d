"""Doctests run in a folder with the files that they open, which ``examples/example_folder.py`` makes."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def example_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made when the first example of a test run needs it."""
    from examples.example_folder import write_examples

    folder = tmp_path_factory.mktemp("examples")
    write_examples(folder)
    return folder


@pytest.fixture(autouse=True)
def in_example_folder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples say ``Detector("model.onnx")``, as a reader would."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("example_folder"))
