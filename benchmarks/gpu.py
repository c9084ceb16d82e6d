"""What the GPU path costs, bar by bar. Needs an NVIDIA GPU.

    python benchmarks/gpu.py [ENGINE ...] [--json OUT]

A line for each bar: what was measured, against what, the ratio, the limit, met or not; or why it was not measured.
Times are medians of 200 runs after 50 uncounted ones, in turns with what they are compared with. ``pre + post`` and
NMS need CUDA alone. End to end is measured on each ENGINE, and on engines built here from the shared folder's
trained detectors (EDGEDET_SHARED, or ../shared), which also give mAP and the speed beside torchvision. Everything
is written to OUT as it is measured. Exit code 1 where a measured bar is not met.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from gpu_bars import HEADING, Bar, attempt, unmeasured
from gpu_engines import CHECKPOINTS, PRECISIONS, Trained, end_to_end_bars, given
from gpu_kernels import ON_GPU, ON_HOST, SUPPRESSION, pre_and_post, raw_output_ms, resize_ms, suppress

from edgedet.errors import EdgedetError
from edgedet.machine.hardware import describe_machine
from edgedet.runtimes.cuda.device import Cuda

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("EDGEDET_SHARED") or REPOSITORY.parent / "shared")
WORK = REPOSITORY / "build" / "gpu"

Figures = dict[str, Any]


def main() -> int:
    """Measure what can be measured here."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", metavar="ENGINE", type=Path, nargs="*")
    parser.add_argument(
        "--json", metavar="OUT", type=Path, default=WORK / "figures.json", help="(build/gpu/figures.json)"
    )
    arguments = parser.parse_args()
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    figures: Figures = {"bars": []}
    if not arguments.engines:
        print('no ENGINE given; to measure your own: make bench-gpu ENGINES="model.trt model-int8.trt"')
    print(HEADING)
    met = []
    for bar in measure(arguments.engines, figures):
        print(bar, flush=True)
        met.append(bar.met)
        figures["bars"].append(bar.to_dict())
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"{met.count(True)} met, {met.count(False)} not met, {met.count(None)} not measured: {arguments.json}")
    return int(False in met)


def measure(engines: list[Path], figures: Figures) -> Iterator[Bar]:
    """Every bar, measured or not; ``figures`` gets what else is worth keeping."""
    trained = [Trained(checkpoint, SHARED, WORK) for checkpoint in CHECKPOINTS]
    try:
        cuda = Cuda()
    except EdgedetError as error:
        bars = [ON_HOST, ON_GPU, *SUPPRESSION.values()]
        bars += [bar for path in engines for bar in end_to_end_bars(path.name)]
        for one in trained:
            bars += [bar for precision in PRECISIONS for some in one.bars(precision).values() for bar in some]
        yield from unmeasured(bars, str(error))
        return
    machine = describe_machine()
    figures |= {
        "device": cuda.name,
        "compute_capability": cuda.compute_capability,
        **cuda.versions(),
        "power_mode": machine.jetson.power_mode if machine.jetson else None,
        "engines": [],
    }
    yield from kernels(cuda, figures)
    for path in engines:
        yield from given(path, figures["engines"])
    for one in trained:
        for precision in PRECISIONS:
            yield from one.measure(precision, figures["engines"])


def kernels(cuda: Cuda, figures: Figures) -> Iterator[Bar]:
    """What needs CUDA and NVRTC alone."""
    # Without bars of their own; where they cannot be measured, the bars below say why.
    for name, work in (("resize_1080p_to_640_ms", resize_ms), ("ultralytics_raw_output_ms", raw_output_ms)):
        with contextlib.suppress(EdgedetError):
            figures[name] = work(cuda)
    yield from attempt([ON_HOST, ON_GPU], lambda: pre_and_post(cuda))
    for threshold, bar in SUPPRESSION.items():
        yield from attempt([bar], partial(suppress, cuda, threshold))


if __name__ == "__main__":
    sys.exit(main())
