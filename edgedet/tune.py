"""A race of the runtimes that are installed: which one is the quickest for an artifact, on this machine?

Who finds other boxes than the default does not take part. The quickest two of a short heat run against the default
in turns, and win only where they are quicker beyond doubt; else the default stays, so that tuning never slows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgedet.artifacts.ncnn_file import SUFFIX
from edgedet.bench.compare import MIN_EFFECT
from edgedet.bench.frames import Frame
from edgedet.bench.latency import Rules, measure_latency
from edgedet.bench.statistics import MIN_SERIES, Interval, bootstrap_paired_ratio
from edgedet.detector import Detector
from edgedet.errors import ArtifactError, EdgedetError
from edgedet.files import file_sha256
from edgedet.machine.cores import available_cores
from edgedet.opening import artifact_kind, read_card, runtime_of
from edgedet.proof.golden import TOLERANCES, replay
from edgedet.proof.made_proposals import propose_strewn
from edgedet.proof.parity import match_detections, summarise
from edgedet.runtimes import RUNTIMES
from edgedet.tuned_choice import TunedChoice, conditions

HEAT = Rules(warmup_frames=3, warmup_seconds=0.1, frames=5, seconds=0.5, max_seconds=2.0)
MAX_FINALISTS = 2
"""Maximum number of entrants of the heat that run against the default."""
COMPARED_FRAMES = 16
"""Frames, at most, on which an entrant must find what the default finds."""

NOTHING_TO_COMPARE = (
    "nothing was found on the frames, nor is there a golden input with detections, so that nothing shows that it "
    "finds what the default does; give --frames with objects on them"
)

Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Entrant:
    """A runtime and its threads.

    Attributes:
        runtime: as :class:`edgedet.Detector` takes it.
        threads: CPU threads; None is the runtime's own choice.
        milliseconds: median time of a frame, of the final where it took part; None where it never ran.
        ratio: time over the default's in the final, with its interval; None where it took no part.
        dropped: why it was not let into the heat; empty where it was.
        artifact: name of the file beside the artifact that it runs; None where that is the artifact itself.
    """

    runtime: str
    threads: int | None
    milliseconds: float | None = None
    ratio: Interval | None = None
    dropped: str = ""
    artifact: str | None = None

    def place(self, path: Path) -> Path:
        """The file it runs, for the artifact at ``path``."""
        return path if self.artifact is None else path.with_name(self.artifact)


@dataclass(frozen=True)
class Race:
    """What came out of it.

    Attributes:
        entrants: the default first.
        winner: one of them.
        choice: what to keep for opening the artifact.
    """

    entrants: tuple[Entrant, ...]
    winner: Entrant
    choice: TunedChoice


def race(
    path: Path,
    frames: Sequence[Frame],
    *,
    threads: Sequence[int] = (),
    seconds: float = 5.0,
    progress: Tell | None = None,
) -> Race:
    """Find the quickest way to run an artifact here.

    Args:
        path: graph, engine or file for ncnn. Beside ``model.onnx``, a ``model.ncnn`` of the same detector takes
            part.
        frames: uint8 [H, W, 3] BGR, to compare and to measure on.
        threads: CPU threads to try beside each runtime's own choice; empty tries all cores and half of them.
        seconds: of counted frames for each finalist; three times as long by the clock at most.
        progress: called with (stage, done, of).

    Raises:
        ArtifactError, RuntimeUnavailableError: the default cannot open the artifact.
    """
    tell = progress or (lambda stage, done, of: None)
    first, *others = _field(path, threads)
    heat: list[Entrant] = []
    expected: list[Any] | None = None
    for index, entrant in enumerate((first, *others)):
        tell("heat", index, 1 + len(others))
        try:
            if entrant.artifact is not None:
                require_same_detector(path, entrant.place(path))
            with Detector(entrant.place(path), runtime=entrant.runtime, threads=entrant.threads) as detector:
                propose_strewn(detector)
                found = [detector.detect(frame) for frame in frames[:COMPARED_FRAMES]]
                expected = expected or found
                reason = _other_boxes(detector, expected, found, same_runtime=entrant.runtime == first.runtime)
                if reason and index:
                    heat.append(replace(entrant, dropped=reason))
                    continue
                (series,), _ = measure_latency([detector], frames, HEAT)
        except EdgedetError as error:
            if not index:
                raise
            heat.append(replace(entrant, dropped=str(error)))
            continue
        heat.append(replace(entrant, milliseconds=float(min(series.medians))))
    ran = sorted((one for one in heat[1:] if not one.dropped), key=lambda one: one.milliseconds or 0.0)
    finalists = [heat[0], *ran[:MAX_FINALISTS]]
    finals = _final(path, frames, finalists, seconds, tell)
    entrants = tuple(finals.get((one.runtime, one.threads), one) for one in heat)
    quicker = [one for one in entrants if one.ratio is not None and one.ratio.high < 1 - MIN_EFFECT]
    winner = min(quicker, key=lambda one: one.ratio.value if one.ratio else 1.0, default=entrants[0])
    ratio = 1.0 if winner.ratio is None else round(winner.ratio.value, 4)
    needs = next(info.needs for info in RUNTIMES if info.name == winner.runtime.partition(":")[0])
    other = None if winner.artifact is None else file_sha256(winner.place(path))
    kept = conditions(needs)
    return Race(entrants, winner, TunedChoice(winner.runtime, winner.threads, ratio, kept, winner.artifact, other))


def _field(path: Path, threads: Sequence[int]) -> list[Entrant]:
    """Everything that is installed and runs such an artifact, or one for ncnn beside it; what is taken without a
    race comes first."""
    kind = artifact_kind(path)
    default = runtime_of(kind, path=path)
    names = [default.name]
    if kind == "graph":
        installed = [info for info in RUNTIMES if kind in info.kinds and find_spec(info.needs) is not None]
        names += [info.name for info in installed if info.name != default.name]
    cores = available_cores()
    counts = list(dict.fromkeys(threads)) or sorted({cores, max(cores // 2, 1)}, reverse=True)
    field = [Entrant(name, count) for name in names for count in (None, *counts)]
    beside = path.with_suffix(SUFFIX)
    if kind == "graph" and beside.is_file() and find_spec("ncnn") is not None:
        field += [Entrant("ncnn", count, artifact=beside.name) for count in (None, *counts)]
    return field


def require_same_detector(path: Path, other: Path) -> None:
    """Check that a file beside an artifact was made of the same detector with the same settings.

    Raises:
        ArtifactError: it was not, or does not say.
    """
    ours, theirs = read_card(path), read_card(other)
    thresholds = [
        (card.output.score_threshold, card.output.iou_threshold, card.output.max_detections)
        for card in (ours, theirs)
    ]
    same = {
        "source": [card.provenance.get("source_sha256", card) for card in (ours, theirs)],
        "classes": [ours.names, theirs.names],
        "input": [(ours.input, ours.resize), (theirs.input, theirs.resize)],
        "thresholds": thresholds,
        "precision": [ours.precision, theirs.precision],
    }
    differing = [what for what, (first, second) in same.items() if first != second]
    if differing:
        raise ArtifactError(
            f"{other.name} is another detector than {path.name}, or has other settings ({', '.join(differing)}); "
            "export both from one source"
        )


def _other_boxes(detector: Detector, expected: Sequence[Any], found: Sequence[Any], *, same_runtime: bool) -> str:
    """Why an entrant does not find what the default finds; empty where it does, or where it is the default's
    runtime with other threads, which has nothing to prove."""
    tolerance, required = TOLERANCES[detector.card.precision]
    report = summarise(
        [match_detections(ours, theirs, tolerance) for ours, theirs in zip(expected, found, strict=True)]
    )
    if report.share is not None and report.share < required:
        return f"{report.share:.1%} of its detections are the default's, expected {required:.0%}"
    compared = report.share is not None
    if detector.card.golden is not None:
        golden = replay(detector)
        if not golden.passed:
            return f"its golden input gives something else: {golden}"
        compared |= golden.telling
    if not compared and not same_runtime:
        return NOTHING_TO_COMPARE
    return ""


def _final(
    path: Path, frames: Sequence[Frame], finalists: Sequence[Entrant], seconds: float, tell: Tell
) -> dict[tuple[str, int | None], Entrant]:
    """The finalists in turns, by runtime and threads; the default is the first."""
    rules = Rules(warmup_frames=5, warmup_seconds=0.3, frames=20, seconds=seconds, max_seconds=3 * seconds)
    with ExitStack() as stack:
        detectors = [
            stack.enter_context(Detector(one.place(path), runtime=one.runtime, threads=one.threads))
            for one in finalists
        ]
        for detector in detectors:
            propose_strewn(detector)
        series, _ = measure_latency(
            detectors, frames, rules, progress=lambda stage, done, of: tell("final", done, of)
        )
    finals = {}
    for index, (one, its) in enumerate(zip(finalists, series, strict=True)):
        known = index > 0 and len(its.medians) >= MIN_SERIES
        ratio = bootstrap_paired_ratio(series[0].medians, its.medians) if known else None
        milliseconds = sorted(its.samples)[len(its.samples) // 2]
        finals[one.runtime, one.threads] = replace(one, milliseconds=milliseconds, ratio=ratio)
    return finals
