"""Files of the folders that need a word or two put in."""

from __future__ import annotations

from importlib.resources import files
from string import Template


def filled(name: str, **words: str) -> str:
    """The template ``name`` with its ``$words`` put in.

    Raises:
        KeyError: a word that is missing.
    """
    return Template(verbatim(name)).substitute(words)


def verbatim(name: str) -> str:
    """The template ``name`` as it is."""
    return files(__package__).joinpath(name).read_text("utf-8")
