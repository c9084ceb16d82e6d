"""TensorRT says why only in its log: catch the log, and turn what it says into words a user can act on."""

from __future__ import annotations

import re
import threading
import weakref
from pathlib import Path
from typing import Any

from edgedet.artifacts.engine_library import TENSORRT, EngineLibrary
from edgedet.errors import ArtifactError, EngineMismatchError

KEPT_MESSAGES = 200

REBUILD = "build it again on this machine (edgedet export MODEL.onnx -o {name})"

EXPLANATIONS: tuple[tuple[str, type[ArtifactError], str, str], ...] = (
    (
        r"expecting library version (?P<here>[\d.]+) got (?P<built>[\d.]+)",
        EngineMismatchError,
        "was built by {library} {built}, this machine has {here}",
        REBUILD,
    ),
    (
        r"expecting compute (?P<here>[\d.]+) got compute (?P<built>[\d.]+)",
        EngineMismatchError,
        "was built for compute capability {built}, this machine has {here}",
        REBUILD,
    ),
    (
        r"Current Version: (?P<here>\d+), Serialized Engine Version: (?P<built>\d+)",
        EngineMismatchError,
        "was built by another {library} (serialisation version {built}, this machine's is {here})",
        REBUILD,
    ),
    (
        r"Version tag does not match|version mismatch",
        EngineMismatchError,
        "was built by another {library} version",
        REBUILD,
    ),
    (r"incompatible device|unsupported cc", EngineMismatchError, "was built for another GPU", REBUILD),
    (
        r"[mM]agic ?[tT]ag|malformed engine",
        ArtifactError,
        "holds no {library} plan (its magic tag is not one)",
        REBUILD,
    ),
    (
        r"[pP]lugin (?:not found|creator|registry)",
        ArtifactError,
        "needs a {library} plugin that is not here",
        REBUILD,
    ),
    (
        r"old cuda (?:driver|runtime)",
        EngineMismatchError,
        "was built by a {library} for a newer CUDA than this machine's driver takes",
        "update the driver",
    ),
    (
        r"out of memory|OutOfMemory|CUDA_ERROR_OUT_OF_MEMORY|insufficient gpu memory",
        ArtifactError,
        "does not fit into the GPU's memory",
        "close what else uses it, or build from a smaller --imgsz or --batch",
    ),
)
"""Pattern in the log, kind of error, what it means for the file, what to do."""


class CapturedLog:
    """What TensorRT says while its owner works: ``messages`` as (severity name, text), the last ones; none printed.

    ``logger`` is the ``trt.ILogger`` to hand to TensorRT. It is one and the same for everybody and is never freed:
    TensorRT keeps the first one it is given for what concerns no object in particular, and goes on using it when
    the objects it came with are gone (NVIDIA/TensorRT issues 1475 and 2172).
    """

    def __init__(self, trt: Any) -> None:
        self.messages: list[tuple[str, str]] = []
        self.thread = _this_thread()
        with _LOCK:
            if trt not in _LOGGERS:
                _LOGGERS[trt] = _make_logger(trt)
            self.logger = _LOGGERS[trt]
            kept = [reference for reference in self.logger.listeners if reference() is not None]
            self.logger.listeners = (*kept, weakref.ref(self))

    def begin(self) -> None:
        """Forget what was said, and listen to what the calling thread makes TensorRT say from now on."""
        self.messages.clear()
        self.thread = _this_thread()


_LOCK = threading.Lock()
_THREADS = threading.local()


def _this_thread() -> object:
    """What no other thread has, nor will have: the numbers of threads that have ended are given out again."""
    try:
        return _THREADS.own
    except AttributeError:
        _THREADS.own = object()
        return _THREADS.own


_LOGGERS: dict[Any, Any] = {}
"""The one logger of each TensorRT module; the tests have several."""


def _make_logger(trt: Any) -> Any:
    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.listeners: tuple[weakref.ref[CapturedLog], ...] = ()

        def log(self, severity: Any, msg: str) -> None:
            # Called from C++, also from TensorRT's own threads: nothing may be raised here.
            name = str(getattr(severity, "name", severity)).rsplit(".", 1)[-1]
            if name not in ("INTERNAL_ERROR", "ERROR", "WARNING"):
                return
            listening = [log for reference in self.listeners if (log := reference()) is not None]
            here = _this_thread()
            # What a thread of TensorRT's own says may be about anybody's work.
            for log in [log for log in listening if log.thread is here] or listening:
                log.messages.append((name, msg))
                del log.messages[:-KEPT_MESSAGES]

    return Logger()


def errors_of(log: CapturedLog) -> str:
    """The errors in a log as one line, the first three; empty without any."""
    errors = [text for name, text in log.messages if name != "WARNING"]
    return " | ".join(" ".join(text.split())[:300] for text in errors[:3])


def explain_refusal(
    path: Path, log: CapturedLog, library: EngineLibrary = TENSORRT, diagnosis: str = ""
) -> ArtifactError:
    """The error for an engine that its library would not open, from what its log says, and the library's own
    ``diagnosis`` where there is one."""
    text = errors_of(log) or " | ".join(message for _, message in log.messages)
    text = " | ".join(part for part in (diagnosis, text) if part)
    for pattern, kind, meaning, remedy in EXPLANATIONS:
        found = re.search(pattern, text)
        if found:
            what = meaning.format(library=library.title, **found.groupdict())
            return kind(f"{path} {what}; {remedy.format(name=path.name)}. {library.title} says: {text[:300]}")
    return ArtifactError(
        f"{library.title} cannot open {path}: {text[:300] or 'it gives no reason'}; build it again on this machine"
    )
