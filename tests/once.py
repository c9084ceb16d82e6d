"""Files that several tests need and that take seconds to make: made once in a test run, for all its processes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edgedet.export.options import ExportOptions, ExportReport


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder ``name``, which is for reading only: the first test that asks has ``make`` fill it.

    A ``make`` that fails leaves nothing, so that each test that asks fails with the reason.
    """
    place = factory.getbasetemp()
    # pytest-xdist gives each process a folder of its own within that of the run.
    place = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "once"
    place.mkdir(exist_ok=True)
    folder = place / name
    with _alone(place / f"{name}.lock"):
        if not folder.is_dir():
            making = Path(tempfile.mkdtemp(dir=place))
            make(making)
            making.rename(folder)
    return folder


def exported(factory: pytest.TempPathFactory, source: Path, options: ExportOptions | None = None) -> ExportReport:
    """The report on ``source`` as a graph, which is for reading only."""
    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model

    wanted = options or ExportOptions()

    def make(folder: Path) -> None:
        report = export_model(source, folder / f"{source.stem}.onnx", wanted)
        (folder / "report").write_bytes(pickle.dumps(report))

    key = hashlib.sha256(source.read_bytes() + repr(wanted).encode()).hexdigest()[:16]
    folder = once(factory, f"{source.stem}-{key}", make)
    report: ExportReport = pickle.loads((folder / "report").read_bytes())
    return replace(report, path=folder / report.path.name)


def example_files(factory: pytest.TempPathFactory) -> Path:
    """The folder that ``examples/example_folder.py`` makes, which is for reading only: copy it."""
    from examples.example_folder import write_examples

    return once(factory, "examples", write_examples)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """No other process is in here."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
