"""What a race on this machine decided: which runtime, with how many threads, is the quickest for an artifact.

Written by ``edgedet tune`` into the user's cache, read when an artifact is opened with ``runtime="auto"``. A choice
holds for the bytes of the artifact, the CPU, the number of cores, and the versions it was measured with; anything
else, and it is as if nobody had raced.
"""

from __future__ import annotations

import hashlib
import json
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.errors import OutputError
from edgedet.files import atomic_path, file_sha256, require_writable_parent, user_cache

VERSION = 1


@dataclass(frozen=True)
class TunedChoice:
    """The winner of a race.

    Attributes:
        runtime: as :class:`edgedet.Detector` takes it.
        threads: CPU threads; None is the runtime's own choice.
        ratio: time of a frame over that of what is taken without a race; 1 where that won.
        conditions: machine and versions that it holds for.
        artifact: name of the file beside the artifact that is opened in its place; None where that is itself.
        artifact_sha256: its digest.
    """

    runtime: str
    threads: int | None
    ratio: float
    conditions: dict[str, Any]
    artifact: str | None = None
    artifact_sha256: str | None = None

    @property
    def words(self) -> str:
        """How ``Detector.description`` tells it."""
        if self.ratio == 1:
            return "tuned: the default won"
        return f"tuned: {f'{self.artifact}, ' if self.artifact else ''}{self.ratio:.2f} x the time of the default"

    def place(self, path: Path) -> Path:
        """The file to open for the artifact at ``path``."""
        return path if self.artifact is None else path.with_name(self.artifact)


def conditions(module: str) -> dict[str, Any]:
    """What a choice of a runtime depends on beside the artifact.

    Args:
        module: of the runtime, as :attr:`edgedet.runtimes.RuntimeInfo.needs` has it.
    """
    return {"version": VERSION, "edgedet": __version__, "package": f"{module} {_version_of(module)}", **_machine()}


def require_cache() -> None:
    """Make sure that a choice can be kept, before anybody races for it.

    Raises:
        OutputError: the user's cache cannot be written.
    """
    try:
        require_writable_parent(_folder() / "choice.json")
    except OutputError as error:
        why = str(error).partition(";")[0]
        raise OutputError(
            f"cannot keep what a race decides: {why}; point XDG_CACHE_HOME to a folder that can be written"
        ) from error


def remember(path: Path, choice: TunedChoice) -> Path:
    """Keep the choice for an artifact; returns the file.

    Raises:
        OutputError: the cache cannot be written.
    """
    require_cache()
    kept = _folder() / f"{path.stat().st_size}-{file_sha256(path)}.json"
    with atomic_path(kept) as temporary:
        temporary.write_text(json.dumps(asdict(choice), indent=1) + "\n")
    return kept


def forget(path: Path) -> bool:
    """Remove what is kept for an artifact; whether there was anything."""
    kept = _kept(path)
    if kept is not None:
        kept.unlink(missing_ok=True)
    return kept is not None


def recall(path: Path, content: bytes | None = None) -> TunedChoice | None:
    """The choice that holds for an artifact here and now; None where there is none.

    ``content``: the bytes of ``path``, where they are at hand.

    The artifact is read only where a race was run for one of its size, so that opening stays quick without.
    """
    kept = _kept(path, content)
    if kept is None:
        return None
    try:
        fields = json.loads(kept.read_text())
        choice = TunedChoice(**fields)
        module = str(choice.conditions["package"]).partition(" ")[0]
        if choice.conditions != conditions(module):
            return None
        if choice.artifact is not None and file_sha256(choice.place(path)) != choice.artifact_sha256:
            return None
        return choice
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _folder() -> Path:
    return user_cache() / "tuned"


def _kept(path: Path, content: bytes | None = None) -> Path | None:
    try:
        size = path.stat().st_size if content is None else len(content)
        candidates = {kept.name: kept for kept in _folder().glob(f"{size}-*.json")}
        if not candidates:
            return None
        digest = file_sha256(path) if content is None else hashlib.sha256(content).hexdigest()
        return candidates.get(f"{size}-{digest}.json")
    except OSError:
        return None


@lru_cache(maxsize=1)
def _machine() -> dict[str, Any]:
    from edgedet.machine.hardware import describe_cpu  # asked only where there was a race

    cpu = describe_cpu()
    return {
        "cpu": cpu.model,
        "cores": cpu.cores,
        "quota": cpu.quota,
        "features": list(cpu.features),
        "system": platform.machine(),
    }


def _version_of(module: str) -> str:
    """Version of the distribution that brings the module; the GPU build of ONNX Runtime has another name."""
    # Loads a mail parser and more, which takes a tenth of the time of importing all of edgedet.
    from importlib import metadata

    for name in (module, f"{module}-gpu"):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return "?"
