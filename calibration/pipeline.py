"""From a float graph and calibration frames to an INT8 graph whose accuracy was measured."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.errors import AccuracyBudgetError, CalibrationError
from edgedet.machine.hardware import available_cores, describe_machine
from edgedet.onnx_graph.network import Array, Network, prepare

from . import rules
from .balance import balance
from .cpu import Cpu
from .data import CalibrationFrames
from .dialect import Dialect, LayerChoice, Unit
from .equalise import equalise
from .fitting import rough_fit
from .guard import AIM, Guard, Verdict, within
from .judge import Judge
from .judgement import absent, doubts
from .ledger import Ledger, digest_of
from .observe import Progress, silent
from .qdq import Writer
from .quantisation import Quantisation
from .regions import feature_layers
from .speed import fastest
from .stopwatch import wall_times
from .tensorrt import TensorRT

LEAST_SHARE = 0.5
"""For TensorRT, a graph with less than half of its multiply-adds in INT8 is refused: not what was asked for."""
WORTH_FITTING = 0.95
"""Share of fp32's time from which INT8 on a CPU is not worth its loss of accuracy, nor the search for it."""
ATTEMPTS = 4
"""Times the guard aims lower because the finished graph did worse than the switchboard said."""


@dataclass(frozen=True)
class QuantiseOptions:
    """``target``: which dialect. ``max_drop``: how much of the judge's figure may be lost, absolute;
    1 keeps whatever is left of it.

    ``layers``: which are INT8 for TensorRT; for a CPU that is found by measuring.
    ``over_budget``: what happens when that cannot be kept: ``refuse`` raises, ``keep_best`` returns the best graph.
    ``cache``: folder for what was measured, so that a killed run resumes; None keeps nothing.
    """

    target: Literal["cpu", "tensorrt"] = "tensorrt"
    layers: LayerChoice = "dense"
    max_drop: float = 0.01
    over_budget: Literal["refuse", "keep_best"] = "refuse"
    cache: Path | None = None
    threads: int | None = None


@dataclass(frozen=True)
class QuantisedGraph:
    """``model``: the Q/DQ graph. ``report``: JSON-ready, for ``card.measured["int8"]``.

    ``warnings``: sentences for the user (too few images, nothing gained on this machine).
    """

    model: onnx.ModelProto
    report: dict[str, Any]
    warnings: tuple[str, ...] = ()


def quantise(
    model: onnx.ModelProto,
    card: ModelCard,
    frames: Sequence[Array],
    *,
    judge: Judge | None = None,
    options: QuantiseOptions = QuantiseOptions(),
    progress: Progress = silent,
) -> QuantisedGraph:
    """Quantise a float detector to INT8 with Q/DQ nodes.

    Args:
        model: a float graph with static shapes and one image input; it is not changed.
        card: its model card, which says how outputs are read.
        frames: prepared inputs, each of the graph's input shape and dtype, as
            :class:`edgedet.calibration.data.CalibrationFrames` gives them. Gone through several times.
        judge: measures accuracy (:class:`edgedet.calibration.judge.MapJudge`); None measures agreement with the
            float graph on calibration frames.
        progress: called with (what, done, of); ``of`` is 0 where the end is not known.

    Raises:
        CalibrationError: no frames, frames the graph does not take, or nothing in the images to judge by
            (unless ``max_drop`` is 1).
        ArtifactError: a graph that is quantised already or of a hopeless operator set.
        AccuracyBudgetError: the drop cannot be kept inside the budget.
        ExportError: the result breaks a rule of TensorRT's (a defect of edgedet).
    """
    started = time.monotonic()
    check_frames(model, frames)
    warnings = list(frames.warnings) if isinstance(frames, CalibrationFrames) else []
    dialect = Cpu() if options.target == "cpu" else TensorRT(options.layers)
    network = dialect.adapt(prepare(model))
    layers = feature_layers(network)
    if not layers:
        raise CalibrationError("the graph has no convolution or matrix product with constant weights to quantise")
    units, reasons = dialect.units(network, layers)
    if options.target == "cpu":
        # Before anything is fitted: what gains no time is not worth the minutes that its ranges and weights take.
        paying = _paying(network, dialect, units, frames[0], options=options, progress=progress)
        reasons |= {unit.name: NO_FASTER for unit in units if unit not in paying}
        units = paying
    progress("equalisation", 0, 0)
    equalised = equalise(
        network,
        layers,
        [layer.name for unit in units for layer in unit.layers],
        frames,
        kind=dialect.kind,
        threads=options.threads,
    )
    balanced = {}
    if options.target == "tensorrt" and options.layers == "all":
        progress("balancing channels", 0, 0)
        balanced = balance(network, layers, frames, threads=options.threads)
        layers = feature_layers(network)
        units, reasons = dialect.units(network, layers)
    work = Quantisation(
        network,
        layers,
        dialect,
        card,
        frames,
        candidates=units,
        judge=judge,
        cache=options.cache,
        threads=options.threads,
        max_drop=options.max_drop,
        progress=progress,
    )
    guard = Guard(
        units,
        work.figure_with,
        work.loss_of,
        ledger=work.ledger,
        progress=progress,
    )
    finished, verdict, figure = _inside_budget(work, guard, units, options)
    if options.target == "cpu" and 0 < len(verdict.on) < len(units):
        # What was given back has cut the rest into pieces; those too small to pay go as well. Less INT8 is never
        # less exact, but it is measured again all the same.
        paying = fastest(
            [unit for unit in units if unit.name in verdict.on], work.build, frames[0], progress=progress
        )
        reasons |= {unit.name: NO_FASTER for unit in units if unit.name in verdict.on and unit not in paying}
        finished = work.build(paying)
        verdict = replace(verdict, on=frozenset(unit.name for unit in paying))
        figure = _figure(work, finished, verdict.on)
    reasons |= {
        unit.name: _reason(work, guard, unit)
        for unit in units
        if unit.name not in verdict.on and unit.name not in reasons
    }
    share = _share(work, [unit for unit in units if unit.name in verdict.on])
    kept = options.max_drop >= 1 or within(guard.reference, figure, options.max_drop)
    if not kept or (options.target == "tensorrt" and share < LEAST_SHARE):
        _refuse_or_warn(work, guard, options, figure=figure, share=share, warnings=warnings)
    latency = None
    if options.target == "cpu":
        latency = wall_times({"fp32": network.model, "int8": finished}, frames[0], threads=options.threads)
        if verdict.on and latency["int8"] > latency["fp32"]:
            finished, figure, share = network.model, guard.reference, 0.0
            reasons = dict.fromkeys((layer.name for layer in layers), NO_FASTER)
        if share == 0:
            latency["int8"] = latency["fp32"]
            too_slow = NO_FASTER in reasons.values()
            why = (
                "is not faster than fp32 for this network on this machine"
                if too_slow
                else "costs too much accuracy"
            )
            warnings.append(f"INT8 {why}, so the graph was left in fp32")
    else:
        rules.check(finished)
    onnx.checker.check_model(finished, full_check=True)
    on = [unit for unit in units if unit.name in verdict.on] if share else []
    warnings += doubts(work.judge, guard.reference) if on else []
    report = {
        "target": options.target,
        "images": len(frames),
        "images_digest": work.frames_digest,
        "judge": work.judge.name,
        "before": guard.reference,
        "after": figure,
        "max_drop": options.max_drop,
        "macs_int8": share,
        "layers_int8": sum(len(unit.layers) for unit in on),
        "layers": len(layers),
        "kept_float": reasons,
        "equalised": equalised,
        "balanced": {name: left for name, left in balanced.items() if name in verdict.on},
        # Plain dictionaries: dataclasses.asdict rebuilds a Counter from pairs, and counts the pairs.
        "ranges": dict(Counter(work.fit.methods[layer.input] for unit in on for layer in unit.layers)),
        "rounding": dict(Counter(work.fit.layers[layer.name].rounding for unit in on for layer in unit.layers)),
        "losses": dict(guard.losses),
        "absent": absent(work.judge, {"before": guard.reference, "after": figure}, guard.losses),
        "latency_ms": latency and latency | {"threads": options.threads or available_cores()},
        "evaluations": verdict.evaluations,
        "resumed_figures": work.ledger.resumed,
        "seconds": round(time.monotonic() - started, 1),
    }
    return QuantisedGraph(finished, report, tuple(warnings))


NO_FASTER = "no faster in INT8 on this machine (measured)"


def _paying(
    network: Network,
    dialect: Dialect,
    units: Sequence[Unit],
    frame: Array,
    *,
    options: QuantiseOptions,
    progress: Progress,
) -> list[Unit]:
    """The units that are quicker in INT8 on this machine, found on a roughly fitted graph; remembered."""
    layers = [layer for unit in units for layer in unit.layers]
    tensors = dialect.tensors(network, units)

    def race() -> list[str]:
        rough = rough_fit(network, frame, layers, tensors, kind=dialect.kind, weight_bits=dialect.weight_bits)

        def build(some: Sequence[Unit]) -> onnx.ModelProto:
            return dialect.place(network, rough, some, Writer(network.copy())).model

        chosen = fastest(units, build, frame, progress=progress)
        if chosen:
            # CPU time told them apart; what a user waits for is on all cores.
            times = wall_times({"fp32": network.model, "int8": build(chosen)}, frame, threads=options.threads)
            if times["int8"] > WORTH_FITTING * times["fp32"]:
                chosen = []
        return [unit.name for unit in chosen]

    graph = network.graph.SerializeToString(deterministic=True)
    machine = asdict(describe_machine().cpu)
    ledger = Ledger(options.cache, digest_of("race", graph, dialect.name, dialect.weight_bits, machine))
    names = set(ledger.figure("paying units", race))
    return [unit for unit in units if unit.name in names]


def _inside_budget(
    work: Quantisation, guard: Guard, units: Sequence[Unit], options: QuantiseOptions
) -> tuple[onnx.ModelProto, Verdict, float | None]:
    """Search, build, and measure what was really built; aim lower as long as that disagrees."""
    # Who allows everything to be lost asks for all that INT8 makes faster.
    aim = options.max_drop * AIM if options.max_drop < 1 else 1.0
    best: tuple[onnx.ModelProto, Verdict, float | None] | None = None
    for _ in range(ATTEMPTS):
        verdict = guard.search(aim)
        finished = work.build([unit for unit in units if unit.name in verdict.on])
        figure = _figure(work, finished, verdict.on)
        if best is None or (figure is not None and (best[2] is None or figure > best[2])):
            best = (finished, verdict, figure)
        reference, switched = guard.reference, guard.figure(verdict.on)
        if within(reference, figure, options.max_drop) or not verdict.on or reference is None or switched is None:
            break
        aim = min(aim, reference - switched) - options.max_drop / 4
    assert best is not None
    return best


def _figure(work: Quantisation, finished: onnx.ModelProto, on: frozenset[str]) -> float | None:
    """The judge's figure of a finished graph, measured once."""
    figure: float | None = work.ledger.figure(f"finished {work.ledger.key(on)}", partial(work.figure_of, finished))
    return figure


def _refuse_or_warn(
    work: Quantisation,
    guard: Guard,
    options: QuantiseOptions,
    *,
    figure: float | None,
    share: float,
    warnings: list[str],
) -> None:
    lost = (
        f"an unknown part of {work.judge.name}"
        if guard.reference is None or figure is None
        else f"{guard.reference - figure:.4f} of {work.judge.name} ({guard.reference:.4f} in fp32)"
    )
    text = (
        f"the best INT8 graph loses {lost} with "
        f"{share:.0%} of the multiply-adds in INT8; the budget is {options.max_drop:g} with at least "
        f"{LEAST_SHARE:.0%} for TensorRT"
    )
    if options.over_budget == "refuse":
        raise AccuracyBudgetError(
            f"{text}: allow more with --max-drop, calibrate on more images, or keep the best graph with "
            "--over-budget keep_best"
        )
    warnings.append(text)


def _reason(work: Quantisation, guard: Guard, unit: Unit) -> str:
    """Why a unit was given back: what it costs alone, and what of its input is to blame."""
    loss = guard.losses.get(unit.name)
    text = "given back to stay inside the budget" if loss is None else f"costs {loss:.2%} of agreement alone"
    channels = work.seen[unit.layers[0].input].channel_high
    typical = float(sorted(channels)[len(channels) // 2]) if len(channels) else 0.0
    if len(channels) and typical > 0 and channels.max() > OUTLIER * typical:
        text += (
            f"; channel {int(channels.argmax())} of its input reaches {channels.max():.3g}, "
            f"{channels.max() / typical:.0f} times the median channel"
        )
    return text


OUTLIER = 20
"""Times the median channel's magnitude from which a channel is named as the culprit."""


def _share(work: Quantisation, on: Collection[Unit]) -> float:
    """Share of the multiply-adds of all layers that ``on`` performs."""
    total = sum(layer.multiply_adds for layer in work.layers)
    return sum(unit.multiply_adds for unit in on) / max(total, 1)


def check_frames(model: onnx.ModelProto, frames: Sequence[Array]) -> None:
    """Compare the first frame with the graph's input.

    Raises:
        CalibrationError: no frames, or shape or dtype differ.
    """
    if not len(frames):
        raise CalibrationError("no calibration frames; give images like those the device will see")
    constants = {constant.name for constant in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in constants)
    shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    first = frames[0]
    agrees = len(shape) == first.ndim and all(s in (0, n) for s, n in zip(shape, first.shape, strict=True))
    if not agrees or first.dtype != dtype:
        raise CalibrationError(
            f"calibration frames are {first.dtype} {list(first.shape)}, the graph takes {dtype} {list(shape)}; "
            "prepare them with the model card's own pre-processing"
        )
