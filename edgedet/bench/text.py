"""A benchmark's result in words, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgedet.artifacts.card import SEGMENTING
from edgedet.bench.compare import Comparison
from edgedet.bench.measured_parts import BatchRate, BenchResult, MeasuredArtifact, StreamRate
from edgedet.missing_figures import NotMeasured


def describe_result(result: BenchResult) -> Iterator[str]:
    """Lines that say what was measured, on what, and what was not."""
    machine, during = result.machine, result.during
    model = machine.jetson.model if machine.jetson else machine.cpu.model
    mode = f", {machine.jetson.power_mode or 'power mode unknown'}" if machine.jetson else ""
    yield f"machine  {model}{mode}, {machine.cpu.cores} cores, {machine.system}"
    frames = result.frames
    sizes = ", ".join(f"{width}x{height}" for width, height in frames.sizes[:3])
    more = ", ..." if len(frames.sizes) > 3 else ""
    yield f"frames   {frames.count} from {frames.source} ({sizes}{more})"
    if frames.note:
        yield f"         {frames.note}"
    throttled = {True: "yes", False: "no", None: "unknown (no counters here)"}[during.throttled]
    share = during.others_cpu_share
    busy = "unknown" if share is None else f"{share:.0%}"
    yield f"during   throttled: {throttled}; CPU used by other processes: {busy}"
    for artifact in result.artifacts:
        yield ""
        yield from _describe_artifact(artifact)


def _describe_artifact(artifact: MeasuredArtifact) -> Iterator[str]:
    height, width = artifact.input
    yield (f"{artifact.name}: {artifact.architecture}, {width}x{height}, {artifact.precision}, {artifact.runtime}")
    latency = artifact.latency
    percentiles = "  ".join(
        f"{name} {value:.2f}"
        for name in ("p50", "p90", "p95", "p99", "max")
        if (value := getattr(latency, name)) is not None
    )
    jitter = "not measured" if latency.jitter is None else f"{latency.jitter:.2f}"
    state = "" if latency.settled else ", NOT settled"
    yield f"  latency     {percentiles}  jitter {jitter} ms ({latency.frames} frames)"
    if latency.p50_interval is None:
        why = latency.why_missing("p50_interval") or "too few blocks"
        yield f"              how far the median can be relied on is not known: {why}{state}"
    else:
        low, high = latency.p50_interval
        yield f"              typically between {low:.2f} and {high:.2f} ms with 99 %{state}"
    stages = artifact.stages
    parts = "  ".join(
        f"{name} {_figure(getattr(stages, name), '.2f')}" for name in ("capture", "pre", "run", "post", "between")
    )
    yield f"  stages      {parts} ms"
    spread = artifact.detections
    what = "classes   " if artifact.family in SEGMENTING else "detections"
    yield f"  {what}  {spread.min} to {spread.max} in a frame, {spread.median:g} in the middle"
    cold, memory = artifact.cold, artifact.memory
    if isinstance(cold, NotMeasured):
        yield f"  cold start  not measured: {cold.reason}"
    else:
        yield (
            f"  cold start  {cold.total:.0f} ms (interpreter {cold.interpreter:.0f}, import {cold.import_:.0f}, "
            f"open {cold.open:.0f}, first frame {cold.first_frame:.0f}; median of {cold.starts})"
        )
    if isinstance(memory, NotMeasured):
        yield f"  memory      not measured: {memory.reason}"
    else:
        yield f"  memory      host {_mebibytes(memory.peak_rss)}, device {_mebibytes(memory.device)}"
    yield f"  throughput  {_rates(artifact.throughput, 'batch')}"
    yield f"  streams     {_rates(artifact.streams, 'streams')}"
    yield from _asked_for(artifact)
    energy = artifact.energy
    if isinstance(energy, NotMeasured):
        yield f"  energy      not measured: {energy.reason}"
    else:
        total = energy.watts.get("total")
        joules = energy.joules_per_frame
        why = energy.why_missing("joules_per_frame") or "no total"
        figures = why if joules is None else f"{total:.2f} W, {joules * 1e3:.1f} mJ a frame"
        yield f"  energy      {figures} ({energy.source}: {energy.covers})"


def _asked_for(artifact: MeasuredArtifact) -> Iterator[str]:
    """Lines for what is measured on request alone."""
    duty, stream = artifact.duty_cycle, artifact.single_stream
    if isinstance(duty, NotMeasured):
        yield f"  duty cycle  not measured: {duty.reason}"
    elif duty is not None:
        yield (
            f"  duty cycle  {duty.cpu_ms:.2f} ms of CPU a frame at {duty.frames_per_second:g} a second, "
            f"{duty.closed_loop_cpu_ms:.2f} back to back: {duty.ratio:.2f} x"
        )
    if isinstance(stream, NotMeasured):
        yield f"  single stream  not measured: {stream.reason}"
    elif stream is not None:
        verdict = {True: "valid", False: "INVALID", None: "nobody can tell whether it is valid"}[stream.valid]
        agreement = (
            "the fp32 graph finds nothing on these frames"
            if stream.agreement is None
            else f"{stream.agreement:.4f} of the fp32 graph's accuracy, {stream.required:g} required"
        )
        yield f"  single stream  p90 {stream.p90:.2f} ms of {stream.queries:,} queries; {verdict}: {agreement}"


def _figure(value: float | NotMeasured, form: str) -> str:
    return "-" if isinstance(value, NotMeasured) else format(value, form)


def _mebibytes(value: int | NotMeasured) -> str:
    return f"not measured ({value.reason})" if isinstance(value, NotMeasured) else f"{value / 2**20:.0f} MiB"


def _rates(rows: Sequence[BatchRate] | Sequence[StreamRate] | NotMeasured, key: str) -> str:
    if isinstance(rows, NotMeasured):
        return f"not measured: {rows.reason}"
    return "  ".join(f"{key} {getattr(row, key)}: {row.frames_per_second:.1f}/s" for row in rows)


def describe_comparison(comparison: Comparison) -> Iterator[str]:
    """One verdict, what it rests on, and what it would have missed."""
    ratio = comparison.ratio
    yield f"{comparison.verdict.upper()}: {comparison.after} against {comparison.before}"
    change = (
        "not measured"
        if ratio is None
        else (f"{ratio.value - 1:+.1%} ({ratio.low - 1:+.1%} to {ratio.high - 1:+.1%} with {ratio.confidence:.0%})")
    )
    yield (
        f"  p50 {comparison.p50_before:.2f} -> {comparison.p50_after:.2f} ms; "
        f"{'in turns' if comparison.paired else 'apart'}: {change}"
    )
    yield f"  {comparison.reason}"
    if comparison.resolution is not None and comparison.verdict in ("no change", "undecided"):
        yield f"  a slowdown below {comparison.resolution:.0%} would have gone unseen"
