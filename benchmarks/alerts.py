"""Alerts by rendered clips, truth by construction: cameras that come and go, and clips of look-alikes alone.

    python benchmarks/alerts.py [--minutes 60] [--clips 40] [--live 5] [--threads 1]

The sample detector, exported here, watches 40 clips in which a camera comes into view and leaves, and 40 of
things that only look like one, an hour in all; 10 frames a second. Thresholds are what ``edgedet eval``
recommends on other scenes: the one of the best F1, and with ``--false-alarm-rate`` the one that keeps boxes out
of all but a share of the frames of look-alikes; the bars are of the latter. Every frame is looked at in its
turn, by its own time, so that the hour need not take one. Then some clips run through a virtual camera in real
time: what passes from the first sight of the camera, and from the capture of the frame that decides, to the
alert. Ends with 1 where a bar is missed; figures of fewer minutes say so.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from edgedet import Detections, Detector, Frame  # noqa: E402
from edgedet.datasets import read_dataset  # noqa: E402
from edgedet.evaluate import evaluate  # noqa: E402
from edgedet.evaluate.working_point import false_alarm_threshold  # noqa: E402
from edgedet.pictures.live.backend import Finished, Shot  # noqa: E402
from edgedet.pictures.live.live_source import LiveSource  # noqa: E402
from edgedet.watching import AlertEvent, AlertRule, Watcher  # noqa: E402
from examples.render import write_dataset  # noqa: E402
from examples.scenes.scene import NAMES, Scene, render_visit  # noqa: E402

SAMPLE = ROOT / "examples" / "sample" / "camera_phone_ssdlite320.pt"
RATE = 10.0
SECONDS = 12
"""Length of a clip with a camera, which is there from second 3 to second 8."""
COMES, GOES = 30, 80
FIRST_WITH, FIRST_WITHOUT, FIRST_CHOOSING = 500_000, 600_000, 700_000
"""Seeds: none was trained on, and those the threshold is chosen by are none of those it is judged by."""
SCENES, SCENES_SEED = 150, 2
CHOOSING_CLIPS, CHOOSING_FRAMES = 300, 20
ALARM_RATE = 0.001
"""Share of look-alike frames with a box that is asked for at the choice."""
MIN_FOUND, MAX_DELAY = 0.95, 0.5
LOWEST = 0.05
RULES = {
    "3 of 5, one track": {"frames": (3, 5)},
    "3 of 5, any": {"frames": (3, 5), "evidence": "class"},
    "2 of 3, one track": {"frames": (2, 3)},
    "2 of 2, one track": {"frames": (2, 2)},
    "3 of 5, near ones": {"frames": (3, 5), "min_size": 0.2},
    "1 of 1": {"frames": (1, 1)},
}
DEFAULT = "3 of 5, one track"

Clip = list[Detections]


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="of look-alikes, in 40 clips (60)")
    parser.add_argument("--clips", type=int, default=40, help="with a camera (40)")
    parser.add_argument("--live", type=int, default=5, help="of them also in real time (5)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alarm-rate", type=float, default=ALARM_RATE)
    parser.add_argument("--artifact", type=Path, help=f"the sample detector, exported with --conf {LOWEST}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        graph = arguments.artifact
        if graph is None:
            graph = Path(folder) / "sample.onnx"
            command = [sys.executable, "-m", "edgedet", "export", str(SAMPLE), "-o", str(graph)]
            subprocess.run([*command, "--conf", str(LOWEST)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        with Detector(graph, threads=arguments.threads) as detector:
            by_f1 = best_f1(detector, Path(folder))
            by_alarms = recommended(detector, arguments.alarm_rate)
            if math.isnan(by_alarms):
                print("no threshold keeps so few alarms")
                return 1
            return judge(arguments, detector, {"best F1": by_f1, f"{arguments.alarm_rate:.1%} alarms": by_alarms})


def judge(arguments: argparse.Namespace, detector: Detector, thresholds: dict[str, float]) -> int:
    """Run the clips and print the figures."""
    cameras = [
        (detections(detector, scenes), [len(scene.boxes) > 0 for scene in scenes])
        for scenes in (visit(number) for number in range(arguments.clips))
    ]
    print(f"{len(cameras)} clips with a camera, {SECONDS} s each", flush=True)
    frames = round(arguments.minutes * 60 * RATE / 40)
    others = []
    for number in range(40):
        others.append(detections(detector, render_visit(FIRST_WITHOUT + number, frames)))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of 40 clips of look-alikes", end="", file=sys.stderr)
    minutes = 40 * frames / RATE / 60
    print(f"40 clips of look-alikes, {minutes:.1f} minutes")
    print(f"{'threshold':20}{'rule':20}{'found':>9}{'share':>8}{'false alerts':>14}{'delay p50':>11}{'p90':>9}")
    bars: list[tuple[str, str, bool]] = []
    chosen = list(thresholds)[-1]
    for (why, threshold), (name, options) in itertools.product(thresholds.items(), RULES.items()):
        rule = AlertRule((NAMES[0],), conf=threshold, **options)
        delays = [delay for clip, truth in cameras if (delay := first_alert(rule, clip, truth)) is not None]
        false = sum(event.event == "begin" for clip in others for event in events(rule, clip))
        # Before it comes and after it is gone, in clips with a camera.
        early = sum(wrong(rule, clip, truth) for clip, truth in cameras)
        share = len(delays) / len(cameras)
        p50, p90 = np.quantile(delays, [0.5, 0.9]) if delays else (math.nan, math.nan)
        print(
            f"{f'{threshold:.4f} ({why})':20}{name:20}{len(delays):>6}/{len(cameras)}{share:>8.3f}"
            f"{f'{false} + {early}':>14}{p50:>9.2f} s{p90:>7.2f} s"
        )
        if name == DEFAULT and why == chosen:
            bars = [
                ("true alerts", f"{share:.3f} of them, at least {MIN_FOUND}", share >= MIN_FOUND),
                ("false alerts", f"{false} in {minutes:.1f} minutes of look-alikes, none in 60", false == 0),
                ("delay p90", f"{p90:.2f} s from the first sight, at most {MAX_DELAY}", p90 <= MAX_DELAY),
            ]
    live(arguments.live, detector, thresholds[chosen])
    for name, figure, good in bars:
        print(f"{name}: {figure}: {'met' if good else 'NOT MET'}")
    if minutes < 59.9:
        print(f"(of the 60 minutes only {minutes:.1f} were watched)")
    return 0 if all(good for _, _, good in bars) else 1


def best_f1(detector: Detector, folder: Path) -> float:
    """The threshold of ``edgedet eval`` on other scenes, for both classes."""
    dataset = read_dataset(write_dataset(folder / "scenes", SCENES, SCENES_SEED))
    at = evaluate(detector, dataset).at
    print(
        f"best F1 on {SCENES} other scenes at {at.threshold:g}: "
        f"precision {at.precision:.2f}, recall {at.recall:.2f}"
    )
    return at.threshold


def recommended(detector: Detector, rate: float) -> float:
    """What ``edgedet eval --false-alarm-rate`` recommends on frames of other clips of look-alikes."""
    best = []
    for number in range(CHOOSING_CLIPS):
        for found in detections(detector, render_visit(FIRST_CHOOSING + number, CHOOSING_FRAMES)):
            scores = found.scores[found.labels == 0]
            best.append(float(scores.max(initial=-1.0)))
    threshold = false_alarm_threshold(np.array(best, np.float32), rate, lowest=LOWEST)
    print(
        f"threshold for cameras in {rate:.2%} of {len(best)} other frames of look-alikes: {threshold:g}", flush=True
    )
    return threshold


def visit(number: int) -> list[Scene]:
    """A clip with a camera."""
    return list(render_visit(FIRST_WITH + number, round(SECONDS * RATE), comes=COMES, goes=GOES))


def detections(detector: Detector, scenes: Iterator[Scene] | list[Scene]) -> Clip:
    """What is found in each frame."""
    return [detector.detect(scene.image) for scene in scenes]


def events(rule: AlertRule, clip: Clip) -> list[AlertEvent]:
    """What is alerted of."""
    watcher = Watcher([rule], NAMES, clock="time")
    blank = np.zeros((1, 1, 3), np.uint8)
    told = []
    for index, found in enumerate(clip):
        told += watcher.update(Frame(blank, "clip", index, time=index / RATE), found)[1]
    return told


def first_alert(rule: AlertRule, clip: Clip, truth: list[bool]) -> float | None:
    """Seconds from the first frame that shows the camera to an alert while it is there."""
    comes = truth.index(True)
    goes = len(truth) - truth[::-1].index(True)
    begun = [event.index for event in events(rule, clip) if event.event == "begin" and comes <= event.index < goes]
    return (begun[0] - comes) / RATE if begun else None


def wrong(rule: AlertRule, clip: Clip, truth: list[bool]) -> int:
    """Alerts that begin where no camera is."""
    return sum(event.event == "begin" and not truth[event.index] for event in events(rule, clip))


class Playing:
    """A door that gives a clip at its rate, on time however late it is asked, and then ends."""

    count = None
    rate = RATE

    def __init__(self, scenes: list[Scene]) -> None:
        self._scenes = scenes
        self._index = 0
        self._began = time.monotonic()

    def read(self) -> Shot:
        """The next frame, at its time."""
        if self._index == len(self._scenes):
            raise Finished
        due = self._began + self._index / RATE
        time.sleep(max(due - time.monotonic(), 0))
        image = self._scenes[self._index].image
        self._index += 1
        return Shot(image, due, self._index / RATE)

    def close(self) -> None:
        """Nothing to release."""


def live(clips: int, detector: Detector, threshold: float) -> None:
    """Clips in real time through a virtual camera."""
    sight, decide, ages = [], [], []
    for number in range(clips):
        scenes = visit(number)
        seen = [index for index, scene in enumerate(scenes) if len(scene.boxes)]
        first, last = seen[0], seen[-1]
        watcher = Watcher([AlertRule((NAMES[0],), conf=threshold, **RULES[DEFAULT])], NAMES)
        with (
            LiveSource([("virtual camera", lambda scenes=scenes: Playing(scenes))]) as source,
            detector.stream(source) as stream,
        ):
            for frame, found in stream:
                for event in watcher.update(frame, found)[1]:
                    if event.event == "begin" and first <= event.index <= last and event.age is not None:
                        now = frame.captured + event.age / 1e3
                        # The first frame that shows it may have been dropped.
                        shown = frame.captured - (frame.index - first) / RATE
                        sight.append(now - shown)
                        decide.append(event.age / 1e3)
                ages.append(frame.age)
    if not sight:
        print("in real time: no alert")
        return
    print(f"in real time, {clips} clips, {len(sight)} alerts, load average {os.getloadavg()[0]:.1f}:")
    for name, values in (("first sight to alert", sight), ("capture of the deciding frame to alert", decide)):
        print(f"    {name}: p50 {statistics.median(values):.3f} s, p99 {np.quantile(values, 0.99):.3f} s")
    print(f"    age of all results: p50 {statistics.median(ages):.3f} s, p99 {np.quantile(ages, 0.99):.3f} s")


if __name__ == "__main__":
    sys.exit(main())
