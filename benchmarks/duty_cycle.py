"""Does a detector fed five frames a second burn a core? CPU time per frame beside back to back, for each runtime.

    python benchmarks/duty_cycle.py model.onnx… [--rate 5] [--picture photo.jpg] [--realtime]

The picture is shown at 1080p. Ends with 1 where a ratio is above 1.15. On a busy machine threads wait for one
another and count that as work: --realtime puts this process, which sleeps most of the time, before all others
(Linux, root).
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgedet import Detector  # noqa: E402
from edgedet.bench.duty_cycle import measure_duty_cycle  # noqa: E402
from edgedet.machine.cores import available_cores  # noqa: E402
from edgedet.machine.hardware import describe_cpu  # noqa: E402
from edgedet.opening import artifact_kind  # noqa: E402
from edgedet.pictures.image_file import read_image  # noqa: E402
from edgedet.proof.golden_scene import golden_frame  # noqa: E402
from edgedet.runtimes import RUNTIMES  # noqa: E402

LIMIT = 1.15


def main() -> int:
    """Measure every artifact on every runtime; 1 where one is above the limit or could not be measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path)
    parser.add_argument("--rate", type=float, default=5.0, help="frames per second")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--realtime", action="store_true")
    arguments = parser.parse_args()
    picture = golden_frame(0) if arguments.picture is None else read_image(arguments.picture)
    frame = cv2.resize(picture, (1920, 1080))
    print(f"{describe_cpu().model}, {available_cores()} cores, load {os.getloadavg()[0]:.1f}")
    met = True
    for artifact in arguments.artifacts:
        for runtime in runtimes_of(artifact):
            with Detector(artifact, runtime=runtime) as detector:
                detector.warmup(10)
                if arguments.realtime:
                    for task in Path("/proc/self/task").iterdir():
                        os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(1))
                found = measure_duty_cycle(detector, [frame], arguments.rate)
            if "not_measured" in found:
                print(f"  {artifact.name:16} {runtime:12} not measured: {found['not_measured']}")
                met = False
                continue
            good = found["ratio"] <= LIMIT
            met &= good
            paced, closed, ratio = found["cpu_ms"], found["closed_loop_cpu_ms"], found["ratio"]
            print(
                f"  {artifact.name:16} {runtime:12} {paced:7.2f} ms of CPU at {arguments.rate:g} a second, "
                f"{closed:7.2f} back to back: {ratio:.3f} x, at most {LIMIT:g} ({'met' if good else 'NOT MET'})"
            )
    return 0 if met else 1


def runtimes_of(artifact: Path) -> list[str]:
    """Names of the runtimes that are installed and take the file."""
    kind = artifact_kind(artifact)
    return [info.name for info in RUNTIMES if kind in info.kinds and find_spec(info.needs) is not None]


if __name__ == "__main__":
    raise SystemExit(main())
