"""One cold start, in a process of its own: ``python -m edgedet.bench.first_frame ARTIFACT OPTIONS < FRAMES.npz``.

Prints one JSON object: moments on the system-wide monotonic clock, in seconds, and memory in bytes.
"""

from __future__ import annotations

import time

STARTED = time.clock_gettime(time.CLOCK_MONOTONIC)

import json  # noqa: E402  (the first moment is taken before anything is imported)
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402


def main(artifact: str, options: str) -> int:
    """Import, open, detect once, then on every frame; ``options``: keyword arguments of
    :func:`opened_to_measure` as JSON."""
    moments: dict[str, float] = {"started": STARTED}
    memory: dict[str, int | None] = {"started": resident()}

    def mark(stage: str) -> None:
        moments[stage] = time.clock_gettime(time.CLOCK_MONOTONIC)
        memory[stage] = resident()

    from edgedet.bench.opened_artifacts import opened_to_measure
    from edgedet.errors import EdgedetError

    mark("imported")
    import numpy as np

    with np.load(sys.stdin.buffer) as stored:  # a file, in which NumPy looks for what it wants
        frames = [stored[name] for name in stored.files]
    device_before = device_memory()
    mark("prepared")
    try:
        with opened_to_measure(artifact, **json.loads(options)) as detector:
            mark("opened")
            detector.detect(frames[0])
            mark("first_frame")
            for frame in frames:
                detector.detect(frame)
            mark("frames")
            device_after = device_memory()
    except EdgedetError as error:
        print(json.dumps({"error": str(error)}))
        return error.exit_code
    print(
        json.dumps(
            {
                "moments": moments,
                "memory": memory,
                "peak": resident("VmHWM"),
                "device": device_used(device_before, device_after),
            }
        )
    )
    return 0


def resident(field: str = "VmRSS") -> int | None:
    """Memory of this process in bytes: ``VmRSS`` now, ``VmHWM`` at its highest; None outside Linux."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return None


def device_memory() -> int | str:
    """Bytes in use on the first NVIDIA GPU by everybody, or why that is unknown."""
    try:
        import pynvml
    except ImportError:
        return "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    except pynvml.NVMLError as error:
        return f"NVML says: {error}"


def device_used(before: int | str, after: int | str) -> Any:
    """Growth of device memory in bytes, or the reason why it is unknown."""
    if isinstance(before, int) and isinstance(after, int):
        return after - before
    return {"not_measured": str(before if isinstance(before, str) else after)}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
