"""Rooms that a release has in wheels of their own: edgedet-export, and edgedet-report.

A device does without them. In a clone, and where edgedet was built from one, they are always there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from edgedet import __version__
from edgedet.errors import MissingDependencyError, MissingExporterError


class Wheel(NamedTuple):
    """A wheel beside edgedet's own.

    Attributes:
        name: of the distribution.
        rooms: subpackages of ``edgedet`` that lie in it.
        brings: what it is for, as an error says it.
        install: how it is installed.
        missing: what is raised where it is not.
    """

    name: str
    rooms: tuple[str, ...]
    brings: str
    install: str
    missing: type[MissingDependencyError]


EXPORT = Wheel(
    "edgedet-export",
    ("calibration", "export", "onnx_graph"),
    "edgedet's exporter",
    f"pip install 'edgedet[export]', or edgedet-export=={__version__} alone where an engine is built of a graph",
    MissingExporterError,
)
REPORT = Wheel(
    "edgedet-report",
    ("cluster", "datasets", "evaluate", "reference", "report", "sweep"),
    "what reads datasets, measures accuracy and writes reports",
    "pip install 'edgedet[report]'",
    MissingDependencyError,
)
WHEELS = (EXPORT, REPORT)


@contextmanager
def missing_wheel_named() -> Iterator[None]:
    """Say which wheel to get where something inside imports a room of it and it is not installed.

    Raises:
        MissingExporterError: it is the exporter's.
        MissingDependencyError: it is another.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        for wheel in WHEELS:
            if error.name in {f"edgedet.{room}" for room in wheel.rooms}:
                raise wheel.missing(
                    f"this needs {wheel.brings}, which is not installed: {wheel.install}"
                ) from error
        raise


def require_this_version(wheel: Wheel, version: str) -> None:
    """Refuse a wheel of another version than edgedet's: what one writes, the other might misread.

    Args:
        wheel: whose.
        version: the version of its rooms.

    Raises:
        MissingExporterError: it is not this package's, of the exporter.
        MissingDependencyError: it is not this package's, of another wheel.
    """
    if version != __version__:
        raise wheel.missing(
            f"{wheel.name} is {version} and edgedet is {__version__}, expected the same: "
            f"pip install '{wheel.name}=={__version__}'"
        )
