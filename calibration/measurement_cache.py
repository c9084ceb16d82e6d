"""What was measured, kept on disk as it is measured: a killed run resumes, and nothing stale is ever believed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.files import atomic_path

VERSION = 9
"""Raised whenever the meaning of a stored figure changes; older ledgers are then ignored."""
SEAL_BYTES = hashlib.sha256().digest_size


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
        self._arrays = folder / f"{digest[:20]}.ranges" if folder is not None else None
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
        if self._arrays is not None and (stored := self._stored(self._arrays)) is not None:
            return stored
        found = measure()
        if self._arrays is not None:
            content = io.BytesIO()
            np.save(content, np.array(list(found), np.str_))
            for values in found.values():
                np.save(content, values, allow_pickle=False)
            with atomic_path(self._arrays) as temporary:
                temporary.write_bytes(self._seal(content.getvalue()) + content.getvalue())
        return found

    def _stored(self, path: Path) -> dict[str, Any] | None:
        """Arrays of an earlier run; None where there are none, or others, or damaged ones.

        Plain ``.npy`` arrays one after another, not an ``.npz``: a ZIP file that Ctrl-C meets half-written raises
        errors of its own on the way out, which hide that the run was stopped.
        """
        try:
            content = path.read_bytes()
        except OSError:
            return None
        seal, rest = content[:SEAL_BYTES], content[SEAL_BYTES:]
        if seal != self._seal(rest):
            return None
        arrays = io.BytesIO(rest)
        return {str(name): np.load(arrays) for name in np.load(arrays)}

    def _seal(self, content: bytes) -> bytes:
        """sha256 over the digest and the arrays: neither those of something else are read nor damaged ones."""
        return hashlib.sha256(self.digest.encode() + content).digest()
