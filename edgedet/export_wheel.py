"""The exporting rooms, which a release has in a wheel of their own: edgedet-export.

A device does without them. In a clone, and where edgedet was built from one, they are always there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgedet import __version__
from edgedet.errors import MissingExporterError

ROOMS = ("edgedet.calibration", "edgedet.export")
"""What lies in that wheel."""


@contextmanager
def exporter_named() -> Iterator[None]:
    """Say how to get the exporting rooms where something inside imports them and they are not installed.

    Raises:
        MissingExporterError: they are not.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ROOMS:
            raise
        raise MissingExporterError(
            "this needs edgedet's exporter, which is not installed: pip install 'edgedet[export]', or "
            f"edgedet-export=={__version__} alone where an engine is built of a graph"
        ) from error


def require_this_version(version: str) -> None:
    """Refuse exporting rooms of another version than the rest: what one writes, the other might misread.

    Args:
        version: theirs.

    Raises:
        MissingExporterError: it is not this package's.
    """
    if version != __version__:
        raise MissingExporterError(
            f"edgedet-export is {version} and edgedet is {__version__}, expected the same: "
            f"pip install 'edgedet-export=={__version__}'"
        )
