"""A package that a command needs and that is not installed: how it is named to the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgedet.errors import MissingDependencyError


@contextmanager
def packages_named(doing: str) -> Iterator[None]:
    """Name the package that is missing, and how to get it.

    Raises:
        MissingDependencyError: one that the exporter imports is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "edgedet":
            raise
        raise MissingDependencyError(
            f"{doing} needs the package {error.name}, which is not installed: pip install 'edgedet[export]'"
        ) from error
