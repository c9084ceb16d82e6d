"""TensorRT says why only in its log: catch the log, and turn what it says into words a user can act on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgedet.errors import ArtifactError, EngineMismatchError, RuntimeUnavailableError

KEPT_MESSAGES = 200

EXPLANATIONS: tuple[tuple[str, type[ArtifactError], str], ...] = (
    (
        r"expecting library version (?P<here>[\d.]+) got (?P<built>[\d.]+)",
        EngineMismatchError,
        "was built by TensorRT {built}, this machine has {here}",
    ),
    (
        r"expecting compute (?P<here>[\d.]+) got compute (?P<built>[\d.]+)",
        EngineMismatchError,
        "was built for compute capability {built}, this machine has {here}",
    ),
    (
        r"Current Version: (?P<here>\d+), Serialized Engine Version: (?P<built>\d+)",
        EngineMismatchError,
        "was built by another TensorRT (serialisation version {built}, this machine's is {here})",
    ),
    (r"Version tag does not match", EngineMismatchError, "was built by another TensorRT version"),
    (r"incompatible device", EngineMismatchError, "was built for another GPU"),
    (r"[mM]agic ?[tT]ag", ArtifactError, "holds no TensorRT plan (its magic tag is not one)"),
    (r"[pP]lugin (?:not found|creator|registry)", ArtifactError, "needs a TensorRT plugin that is not here"),
    (r"out of memory|OutOfMemory|CUDA_ERROR_OUT_OF_MEMORY", ArtifactError, "does not fit into the GPU's memory"),
)
"""Pattern in the log, kind of error, what it means for the file."""


def import_tensorrt() -> Any:
    """The ``tensorrt`` module.

    Raises:
        RuntimeUnavailableError: not installed, or its libraries do not load.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"TensorRT cannot be imported ({error}); on a Jetson: apt install python3-libnvinfer, and make the "
            "virtual environment with --system-site-packages; on a PC: pip install tensorrt (see edgedet doctor)"
        ) from error
    return tensorrt


def make_log(trt: Any) -> Any:
    """A ``trt.ILogger`` that keeps the last messages in ``.messages`` as (severity name, text) and prints none."""

    class CapturedLog(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[tuple[str, str]] = []

        def log(self, severity: Any, msg: str) -> None:
            # Called from C++, also from TensorRT's own threads: nothing may be raised here.
            name = str(getattr(severity, "name", severity)).rsplit(".", 1)[-1]
            if name in ("INTERNAL_ERROR", "ERROR", "WARNING"):
                self.messages.append((name, msg))
                del self.messages[:-KEPT_MESSAGES]

    return CapturedLog()


def errors_of(log: Any) -> str:
    """The errors in a log as one line, the first three; empty without any."""
    errors = [text for name, text in log.messages if name != "WARNING"]
    return " | ".join(" ".join(text.split())[:300] for text in errors[:3])


def explain_refusal(path: Path, log: Any) -> ArtifactError:
    """The error for an engine that TensorRT would not open, from what its log says."""
    text = errors_of(log) or " | ".join(message for _, message in log.messages)
    for pattern, kind, meaning in EXPLANATIONS:
        found = re.search(pattern, text)
        if found:
            return kind(
                f"{path} {meaning.format(**found.groupdict())}; build it again on this machine "
                f"(edgedet export MODEL.onnx -o {path.name}). TensorRT says: {text[:300]}"
            )
    return ArtifactError(
        f"TensorRT cannot open {path}: {text[:300] or 'it gives no reason'}; build it again on this machine"
    )
