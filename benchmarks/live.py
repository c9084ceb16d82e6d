"""Live sources and streams: ages, fairness, overlap, and a long run on a source that breaks in every way.

    python benchmarks/live.py age [--seconds 60] [--fast]     a source at 30 frames a second, a detector at about 8
    python benchmarks/live.py fair [--seconds 60] [--fast]    four such sources
    python benchmarks/live.py overlap [--rounds 5]            capture as long as inference, against a serial loop
    python benchmarks/live.py soak [--frames 100000]          stalls, broken connections, other sizes, damage

Needs trained detectors and images in --shared (not soak). Ratios are of one run, and ages are held against the time
that the detector took for the same frame, so that a busy machine is no excuse. ``--fast`` makes an hour pass in six
minutes: source and detector are ten times as quick (300 frames a second, SSDLite). Ends with 1 where a bar is
missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from edgedet import Detector, Fault, Frame, LiveSettings  # noqa: E402
from edgedet.pictures.image_file import read_image  # noqa: E402
from edgedet.pictures.live.capture import Shot  # noqa: E402
from edgedet.pictures.live.live_source import LiveSource  # noqa: E402
from edgedet.watching import AlertRule, Watcher  # noqa: E402
from tests.rectangle_detector import save_rectangle_graph  # noqa: E402
from tests.virtual_camera import VirtualCamera, box_of, number_in  # noqa: E402

MAX_AGE = 1.2
MIN_SHARE = 0.8
MIN_SPEEDUP = 1.7
MAX_GROWTH = 0.01
NAMES = {"stall": "stalled", "disconnect": "disconnected", "resize": "resized", "damage": "damaged"}


class PhotoCamera:
    """A capture that gives photographs at a rate, on time however late it is asked."""

    count = None

    def __init__(self, photos: list[np.ndarray], rate: float) -> None:
        self.rate = rate
        self._photos = itertools.cycle(photos)
        self._due = time.monotonic()

    def read(self) -> Shot:
        """The next photograph."""
        self._due = max(self._due + 1 / self.rate, time.monotonic() - 1 / self.rate)
        time.sleep(max(self._due - time.monotonic(), 0))
        return Shot(next(self._photos).copy(), time.monotonic())

    def close(self) -> None:
        """Nothing to release."""


def cameras(photos: list[np.ndarray], count: int, rate: float) -> LiveSource:
    """Several of them as one source."""
    return LiveSource([(f"camera {n}", lambda: PhotoCamera(photos, rate)) for n in range(count)])


def age(arguments: argparse.Namespace) -> bool:
    """Ages of results against frame interval and detector time."""
    rate, name = (300.0, "ssdlite") if arguments.fast else (30.0, arguments.detector)
    photos = photographs(arguments.shared)
    ages, limits, times = [], [], []
    with exported(arguments, name) as path, Detector(path, threads=arguments.threads) as detector:
        detector.warmup()
        with cameras(photos, 1, rate) as source, detector.stream(source) as stream:
            end = time.monotonic() + arguments.seconds
            for frame, _ in stream:
                ages.append(frame.age)
                times.append(detector.last_timing.total / 1e3)
                limits.append(1 / rate + times[-1])
                if time.monotonic() > end:
                    break
            stats = stream.stats
    ages, limits, times = ages[10:], limits[10:], times[10:]
    share = [a / b for a, b in zip(ages, limits, strict=True)]
    whole = float(np.quantile(ages, 0.99) / (1 / rate + statistics.median(times)))
    median, late = statistics.median(times), float(np.quantile(times, 0.99))
    print(
        f"source {rate:g} frames/s, detector median {1e3 * median:.1f} ms, p99 {1e3 * late:.1f}: {1 / median:.1f}/s"
    )
    print(f"{len(ages)} results, {stats.dropped} frames dropped")
    print(f"age p50 {1e3 * statistics.median(ages):.1f} ms, p99 {1e3 * np.quantile(ages, 0.99):.1f} ms")
    p50, p99 = np.quantile(share, [0.5, 0.99])
    print(f"age / (interval + time of the same frame): p50 {p50:.3f}, p99 {p99:.3f}")
    print(f"age p99 / (interval + median time): {whole:.3f}")
    return verdict("age", float(np.quantile(share, 0.99)) <= MAX_AGE)


def fair(arguments: argparse.Namespace) -> bool:
    """Shares of four sources."""
    photos = photographs(arguments.shared)
    with (
        exported(arguments, "ssdlite" if arguments.fast else arguments.detector) as path,
        Detector(path, threads=arguments.threads) as detector,
        cameras(photos, 4, 300.0 if arguments.fast else 30.0) as source,
        detector.stream(source) as stream,
    ):
        end = time.monotonic() + arguments.seconds
        for _ in stream:
            if time.monotonic() > end:
                break
        delivered = stream.stats.delivered
    mean = sum(delivered.values()) / 4
    print(
        f"results by source: {dict(sorted(delivered.items()))}; smallest share {min(delivered.values()) / mean:.3f}"
    )
    return verdict("fair", len(delivered) == 4 and min(delivered.values()) >= MIN_SHARE * mean)


class Reading:
    """A recorded source whose frames take ``seconds`` each to get: by waiting, or by decoding a JPEG."""

    description, count, rate = "reading", None, None

    def __init__(self, photo: np.ndarray, seconds: float, count: int, *, decodes: bool) -> None:
        self._photo = photo
        self._seconds = seconds
        self._count = count
        self._jpeg = decoding_for(photo, seconds) if decodes else None

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            began = time.monotonic()
            if self._jpeg is None:
                time.sleep(self._seconds)
            else:
                cv2.imdecode(self._jpeg, cv2.IMREAD_COLOR)
            # Latency counts from here.
            yield Frame(self._photo, str(index), index, captured=began)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


def decoding_for(photo: np.ndarray, seconds: float) -> np.ndarray:
    """A JPEG that takes about so long to decode."""
    side = 256
    while True:
        large = cv2.resize(photo, (side * 4, side * 3))
        jpeg = cv2.imencode(".jpg", large)[1]
        took = statistics.median(timed(lambda jpeg=jpeg: cv2.imdecode(jpeg, cv2.IMREAD_COLOR)) for _ in range(5))
        if took >= seconds * 0.98:
            return jpeg
        side = max(int(side * min((seconds / max(took, 1e-6)) ** 0.5, 2.0)), side + 8)


def timed(call: Any) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def overlap(arguments: argparse.Namespace) -> bool:
    """Streams against serial loops, in turns; the detector on one of two cores."""
    photo = photographs(arguments.shared)[0]
    good = True
    with exported(arguments, arguments.detector) as path, Detector(path, threads=1) as detector:
        detector.warmup()
        for kind in ("waits", "decodes"):
            ratios, added = [], []
            for _ in range(arguments.rounds):
                seconds = statistics.median(timed(lambda: detector.detect(photo)) for _ in range(9))
                source = Reading(photo, seconds, arguments.count, decodes=kind == "decodes")
                began, late = time.monotonic(), []
                for frame in source:
                    detector.detect(frame.image)
                    late.append(frame.age)
                serial = time.monotonic() - began
                began, streamed = time.monotonic(), []
                for frame, _ in detector.stream(source):
                    streamed.append(frame.age)
                ratios.append(serial / (time.monotonic() - began))
                added.append((statistics.median(streamed) - statistics.median(late)) / seconds)
            print(f"capture that {kind}, as long as inference ({seconds * 1e3:.0f} ms):")
            print(
                f"    {statistics.median(ratios):.2f} x the serial rate ({', '.join(f'{r:.2f}' for r in ratios)})"
            )
            print(f"    {statistics.median(added):.2f} frames of latency added")
            good &= statistics.median(ratios) >= MIN_SPEEDUP and statistics.median(added) <= 1
    return verdict("overlap", good)


def soak(arguments: argparse.Namespace) -> bool:
    """A long run on a source that breaks; every result is held against what the frame shows."""
    rng = random.Random(arguments.seed)
    kinds = list(NAMES)

    def trouble(number: int) -> str | None:
        return rng.choice(kinds) if number and rng.random() < arguments.share else None

    camera = VirtualCamera(rate=arguments.rate, trouble=trouble, stall=1.5)
    settings = LiveSettings(open_seconds=1, stall_seconds=0.5, longest_wait=0.02)
    wrong, memory, told, before, alerts = 0, [], Counter(), -1, Counter()
    watcher = Watcher([AlertRule(("green",), frames=(2, 3), hold=0.05, evidence="class")])
    began = time.monotonic()

    def tell(fault: Fault) -> None:
        told.update([fault.kind])
        if fault.kind in ("stalled", "disconnected", "unreachable"):
            alerts.update(event.event for event in watcher.lost(fault.source))

    with tempfile.TemporaryDirectory() as folder:
        save_rectangle_graph(Path(folder) / "model.onnx")
        with (
            Detector(Path(folder) / "model.onnx", threads=1) as detector,
            LiveSource([("camera", camera)], settings) as source,
            detector.stream(source, fault=tell) as stream,
        ):
            for count, (frame, detections) in enumerate(stream, 1):
                number, scale = number_in(frame.image), frame.image.shape[0] // 64
                expected = [[value * scale for value in box_of(number)]]
                wrong += detections.boxes.tolist() != expected or number <= before
                before = number
                tracked, events = watcher.update(frame, detections)
                alerts.update(event.event for event in events)
                wrong += len(tracked.data["track"]) != 1 or watcher.active != alerts["begin"] - alerts["end"]
                if count % max(arguments.frames // 200, 1) == 0:
                    memory.append(resident())
                if count % max(arguments.frames // 20, 1) == 0:
                    print(f"{count} {memory[-1] / 2**20:.1f} MiB {stream.stats.line}", flush=True)
                if count == arguments.frames:
                    break
            # What is under way is told of before the figures are read.
            camera.trouble = lambda number: None
            time.sleep(3)
            while stream.stats.frames < arguments.frames + 10:
                next(stream)
            stats = stream.stats
    tenth = len(memory) // 10
    second, last = statistics.mean(memory[tenth : 2 * tenth]), statistics.mean(memory[-tenth:])
    happened = {NAMES[kind]: count for kind, count in camera.happened.items()}
    time.sleep(2)
    threads = [one.name for one in threading.enumerate() if one.name.startswith("edgedet-")]
    print(
        f"{stats.frames} results, {stats.dropped} frames dropped, {wrong} wrong, {time.monotonic() - began:.0f} s"
    )
    print(f"faults that happened {dict(sorted(happened.items()))}, counted {dict(sorted(stats.faults.items()))}")
    first = f"{second / 2**20:.2f} MiB in the second tenth"
    print(f"resident memory {first}, {last / 2**20:.2f} in the last: {last / second:.4f}")
    print(f"alerts {dict(sorted(alerts.items()))}, {watcher.active} active")
    print(f"threads left {threads}, captures left open {camera.open_captures}")
    counted = dict(stats.faults) == happened == dict(told)
    clean = not threads and not camera.open_captures
    return verdict("soak", not wrong and counted and clean and last / second <= 1 + MAX_GROWTH)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def photographs(shared: Path) -> list[np.ndarray]:
    """Some real pictures."""
    found = sorted((shared / "data").rglob("*.jpg"))[:8]
    if not found:
        raise SystemExit(f"no images in {shared}/data; point --shared to detectors and images")
    return [read_image(path) for path in found]


class exported:
    """A trained detector as a graph, for as long as the block lasts."""

    def __init__(self, arguments: argparse.Namespace, name: str) -> None:
        self._artifact = arguments.artifact
        self._source = (
            arguments.shared
            / "models"
            / {
                "ssdlite": "ssdlite320_mobilenet_v3_large_bccd.pt",
                "faster_rcnn": "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt",
            }[name]
        )
        self._options = {} if name == "ssdlite" else {"proposals": 300}
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Path:
        if self._artifact is not None:
            return self._artifact
        from edgedet.export.options import ExportOptions
        from edgedet.export.pipeline import export_model

        path = Path(self._folder.name) / "model.onnx"
        export_model(self._source, path, ExportOptions(**self._options))
        return path

    def __exit__(self, *_: Any) -> None:
        self._folder.cleanup()


def verdict(name: str, good: bool) -> bool:
    """Print and pass on whether the bar is met."""
    print(f"{name}: {'met' if good else 'MISSED'}")
    return good


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["age", "fair", "overlap", "soak"])
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED") or ROOT.parent / "shared")
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--artifact", type=Path, help="a detector of your own in place of those in --shared")
    parser.add_argument("--detector", choices=["faster_rcnn", "ssdlite"], default="faster_rcnn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=40, help="frames of a round of overlap")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--rate", type=float, default=2000.0, help="frames a second of soak's source")
    parser.add_argument("--share", type=float, default=0.002, help="share of soak's frames that are trouble")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, {load()} busy before")
    return 0 if globals()[arguments.what](arguments) else 1


def load() -> str:
    """The machine's load average of the last minute."""
    return f"load {os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
