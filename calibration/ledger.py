"""What was measured, kept on disk as it is measured: a killed run resumes, and nothing stale is ever believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.files import atomic_path

VERSION = 8
"""Raised whenever the meaning of a stored figure changes; older ledgers are then ignored."""


def digest_of(*parts: Any) -> str:
    """sha256 over arrays (dtype, shape and bytes), bytes, and the text of everything else."""
    return digest_of_each(parts)


def digest_of_each(parts: Iterable[Any]) -> str:
    """:func:`digest_of` of parts that are taken one by one: frames need not be in memory together."""
    total = hashlib.sha256(f"edgedet calibration {VERSION}".encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"|{part.dtype}{part.shape}|".encode())
            total.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            total.update(b"|" + (part if isinstance(part, bytes) else repr(part).encode()))
    return total.hexdigest()


class Ledger:
    """Figures and arrays under one digest of graph, images and settings, in ``folder`` (None: in memory only).

    The digest is part of the file's name *and* of its content; a file that does not carry it is not read.
    """

    def __init__(self, folder: Path | None, digest: str) -> None:
        self.digest = digest
        self._path = folder / f"{digest[:20]}.json" if folder is not None else None
        self._arrays = folder / f"{digest[:20]}.npz" if folder is not None else None
        self._figures: dict[str, Any] = {}
        self.resumed = 0
        """Figures found on opening."""
        if self._path is not None and self._path.exists():
            try:
                stored = json.loads(self._path.read_text())
            except ValueError:
                stored = {}
            if stored.get("digest") == digest:
                self._figures = stored["figures"]
                self.resumed = len(self._figures)

    @staticmethod
    def key(names: Iterable[str]) -> str:
        """A short key for a set of names."""
        return digest_of(*sorted(names))[:24]

    def figure(self, key: str, measure: Callable[[], Any]) -> Any:
        """The figure called ``key`` (anything JSON can hold), measured on first use."""
        if key not in self._figures:
            self._figures[key] = measure()
            self._save()
        return self._figures[key]

    def _save(self) -> None:
        if self._path is not None:
            with atomic_path(self._path) as temporary:
                temporary.write_text(json.dumps({"digest": self.digest, "figures": self._figures}))

    def arrays(self, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Arrays by name, measured once and stored together."""
        if self._arrays is not None and self._arrays.exists():
            try:
                with np.load(self._arrays) as stored:
                    if str(stored["digest"]) == self.digest:
                        return {name: stored[name] for name in stored.files if name != "digest"}
            except (OSError, ValueError, KeyError):
                pass  # damaged: measured again below
        found = measure()
        if self._arrays is not None:
            with atomic_path(self._arrays) as temporary, temporary.open("wb") as file:
                np.savez(file, digest=np.array(self.digest), **found)
        return found
