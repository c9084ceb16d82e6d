"""The rooms that a release has in wheels of their own, and what to install where they are not there.

A device does without them. In a clone, and where edgedet was built from one, they are always there. The importer of
the package (``edgedet/__init__.py``) asks here, where a module of the package was not found.
"""

from __future__ import annotations

from typing import NamedTuple

from edgedet import __version__
from edgedet.errors import MissingExporterError, MissingWheelError


class Wheel(NamedTuple):
    """``rooms``: what lies in it. ``error``: where it is not installed. ``words``: what to install then."""

    rooms: tuple[str, ...]
    error: type[MissingWheelError]
    words: str


WHEELS = {
    "edgedet-export": Wheel(
        ("calibration", "export", "onnx_graph"),
        MissingExporterError,
        "this needs edgedet's exporter, which is not installed: pip install 'edgedet[export]', or "
        f"edgedet-export=={__version__} alone where an engine is built of a graph",
    ),
    "edgedet-report": Wheel(
        ("datasets", "evaluate", "reference", "report", "sweep"),
        MissingWheelError,
        "this needs what reads datasets and measures accuracy, which is not installed: "
        "pip install 'edgedet[report]'",
    ),
}
"""Those beside ``edgedet`` itself, as ``release/split.py`` makes them."""


def require_installed(module: str) -> None:
    """Say what to install for a module of the package that was not found.

    Args:
        module: its name, with those of the packages around it.

    Raises:
        MissingWheelError: it is a room of a wheel that is not installed.
    """
    package, _, room = module.partition(".")
    for wheel in WHEELS.values():
        if package == "edgedet" and room in wheel.rooms:
            # Without the module's name: with it, Python drops this at `from edgedet import evaluate`.
            raise wheel.error(wheel.words)


def require_this_version(name: str, version: str) -> None:
    """Refuse a wheel of another version than the rest: what one writes, the other might misread.

    Args:
        name: of the wheel.
        version: of what it holds.

    Raises:
        MissingWheelError: it is not this package's.
    """
    if version != __version__:
        raise WHEELS[name].error(
            f"{name} is {version} and edgedet is {__version__}, expected the same: "
            f"pip install '{name}=={__version__}'"
        )
