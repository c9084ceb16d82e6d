"""From a float graph and calibration frames to an INT8 graph whose accuracy was measured."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array, Network
from edgedet.onnx_graph.preparing import prepare

from .activation_samples import Survey
from .calibration_frames import TAKEN_BY_THREADS, CalibrationFrames, Sample, check_frames
from .cpu import Cpu
from .cross_layer_equalisation import equalise
from .decoder_boundary import feature_layers, prediction_layers
from .dialect import Dialect, LayerChoice, Unit
from .duration_estimate import forecast
from .effort import EFFORTS, Effort, EffortName
from .executor import GraphRunner
from .frame_suitability import Sight, look, slightly_open
from .judge import Judge
from .judge_validity import absent, doubts
from .observe import Progress, silent
from .precision_search import Found, OverBudget, search
from .quantisable_units import Offer, offered, pass_over
from .quantisation_run import Quantisation
from .reasons import NO_FASTER, UNJUDGED, no_faster
from .tensorrt import TensorRT
from .watched_magnitudes import Magnitudes


@dataclass(frozen=True)
class QuantiseOptions:
    """How to quantise.

    Attributes:
        target: which dialect.
        layers: which are INT8 for TensorRT; for a CPU that is found by measuring.
        max_drop: how much of the judge's figure may be lost, absolute; 1 keeps whatever is left of it.
        over_budget: what happens when that cannot be kept: ``refuse`` raises, ``keep_best`` returns the best graph.
        cache: folder for what was measured, so that a killed run resumes; None keeps nothing.
        threads: of every run while measuring; None takes every core.
        effort: how much time it may take, and how much is looked at for it
            (:data:`edgedet.calibration.effort.EFFORTS`).

    >>> options = QuantiseOptions(target="cpu", max_drop=0.02)
    >>> options.max_drop, options.over_budget, options.effort
    (0.02, 'refuse', 'normal')
    """

    target: Literal["cpu", "tensorrt"] = "tensorrt"
    layers: LayerChoice = "dense"
    max_drop: float = 0.01
    over_budget: OverBudget = "refuse"
    cache: Path | None = None
    threads: int | None = None
    effort: EffortName = "normal"


@dataclass(frozen=True)
class QuantisedGraph:
    """An INT8 graph and what was measured of it.

    Attributes:
        model: the Q/DQ graph.
        report: JSON-ready, for ``card.measured["int8"]``.
        warnings: sentences for the user (too few images, nothing gained on this machine).
        magnitudes: how large tensors became while the graph was judged, for :func:`edgedet.calibration.to_half`;
            None where nobody looked.

    >>> from edgedet import Detector
    >>> from edgedet.calibration import pictures_of
    >>> card = Detector("tiny.onnx").card
    >>> frames = CalibrationFrames(pictures_of("photos/*.png"), card)
    >>> options = QuantiseOptions(max_drop=1, effort="quick")
    >>> int8 = quantise(onnx.load("tiny.onnx"), card, frames, options=options)
    >>> int8.report["kept_float"]
    {'spread': 'depthwise: bound by memory, INT8 saves no time over FP16'}
    >>> int8.warnings[1]
    'what INT8 costs was not judged: the fp32 graph finds nothing that scores 0.3 or more in 12 calibration ...'
    """

    model: onnx.ModelProto
    report: dict[str, Any]
    warnings: tuple[str, ...] = ()
    magnitudes: Magnitudes | None = None


def quantise(
    model: onnx.ModelProto,
    card: ModelCard,
    frames: Sequence[Array],
    *,
    judge: Judge | None = None,
    options: QuantiseOptions = QuantiseOptions(),
    progress: Progress = silent,
    runs_after: int = 0,
) -> QuantisedGraph:
    """Quantise a float detector to INT8 with Q/DQ nodes.

    Args:
        model: a float graph with static shapes and one image input; it is not changed.
        card: its model card, which says how outputs are read.
        frames: prepared inputs, each of the graph's input shape and dtype, as
            :class:`edgedet.calibration.calibration_frames.CalibrationFrames` gives them. Gone through several
            times.
        judge: measures accuracy (:class:`edgedet.calibration.judge.MapJudge`); None measures agreement with the
            float graph on calibration frames, or on pictures made from them where it is sure of next to nothing.
        options: the dialect, the budget, and what to keep on disk.
        progress: called with (what, done, of); ``of`` is 0 where the end is not known. One that is a
            :class:`edgedet.calibration.duration_estimate.TimedProgress` is told the time left, too.
        runs_after: how often the caller runs the result afterwards, for the time left.

    Returns:
        The INT8 graph; the float graph, with a warning, where INT8 gains nothing on this machine's CPU.

    Raises:
        CalibrationError: no frames, frames the graph does not take, or nothing in the images to judge by
            (unless ``max_drop`` is 1).
        ArtifactError: a graph that is quantised already or of a hopeless operator set.
        AccuracyBudgetError: the drop cannot be kept inside the budget.
        ExportError: the result breaks a rule of TensorRT's (a defect of edgedet).

    >>> from edgedet import Detector
    >>> from edgedet.calibration import pictures_of
    >>> card = Detector("tiny.onnx").card
    >>> frames = CalibrationFrames(pictures_of("photos/*.png"), card)
    >>> int8 = quantise(onnx.load("tiny.onnx"), card, frames, options=QuantiseOptions(effort="quick"))
    >>> int8.report["layers_int8"], int8.report["layers"], int8.report["after"] >= 0.99
    (3, 5, True)
    """
    started = time.monotonic()
    check_frames(model, frames)
    dialect = Cpu() if options.target == "cpu" else TensorRT(options.layers)
    network = prepare(model)
    layers = network.layers()
    effort = EFFORTS[options.effort].affordable(sum(layer.multiply_adds for layer in layers))

    offer = offered(dialect, network)
    opening = partial(slightly_open, card=card)
    first = None
    # Judge and lanes then take frames at the same time, which a sequence of the caller's may not be made for.
    if judge is None and isinstance(frames, TAKEN_BY_THREADS):
        first = pass_over(frames, offer, dialect, effort, opening=opening, threads=options.threads)

    @cache
    def float_graph() -> GraphRunner:
        return GraphRunner(opening(model), threads=options.threads)

    progress = forecast(
        progress,
        network,
        [layer for unit in offer.units for layer in unit.layers],
        frames,
        float_graph=float_graph,
        judge=judge,
        effort=effort,
        dialect=dialect,
        threads=options.threads,
        max_drop=options.max_drop,
        runs_after=runs_after,
        first=first,
    )
    if first is not None:
        first.progress = progress
    sight = look(
        model,
        card,
        frames,
        judge,
        float_graph=float_graph if first is None else lambda: first,
        effort=effort,
        max_drop=options.max_drop,
        threads=options.threads,
        progress=progress,
    )
    float_graph.cache_clear()  # with its copy of the weights
    task = _Task(dialect, frames, sight, options, effort, progress)
    choice = _choose(task, offer)
    survey = None
    if first is not None and sight.blind:
        first.close()
    elif first is not None:
        survey = first.survey()
    evened = _even_out(task, choice, survey)
    work = _fit(task, evened)
    found = search(
        work,
        evened.choice.reasons,
        max_drop=options.max_drop,
        over_budget=options.over_budget,
        effort=effort,
        progress=progress,
    )
    progress("finishing", 0, 0)
    shipped = _try_out(task, work, found)
    report = _report(task, work, evened, found, shipped)
    warnings = [*shipped.warnings]
    if shipped.units:
        warnings += [*([sight.warning] if sight.warning is not None else ()), *doubts(work.judge, work.reference)]
    return QuantisedGraph(
        shipped.model,
        report | {"seconds": round(time.monotonic() - started, 1)},
        tuple(warnings),
        work.magnitudes_with(shipped.units),
    )


@dataclass(frozen=True)
class _Task:
    """What every step may want to know: how INT8 is written, on which frames, and what is looked at."""

    dialect: Dialect
    frames: Sequence[Array]
    sight: Sight
    options: QuantiseOptions
    effort: Effort
    progress: Progress


def _choose(task: _Task, offer: Offer) -> Offer:
    """Step 1: the units that can gain something."""
    units, reasons = _judged(task, offer.network, offer.units, offer.reasons)
    paying = task.dialect.paying(
        offer.network,
        units,
        task.frames[0],
        cache=task.options.cache,
        threads=task.options.threads,
        progress=task.progress,
    )
    return replace(offer, units=paying, reasons=reasons | no_faster(units, paying))


def _judged(
    task: _Task, network: Network, units: list[Unit], reasons: dict[str, str]
) -> tuple[list[Unit], dict[str, str]]:
    """The units whose INT8 can be judged, and the reasons of the others: blind, predictions are not touched."""
    if not task.sight.blind:
        return units, reasons
    last = {layer.name for layer in prediction_layers(network)}
    kept = [unit for unit in units if last.isdisjoint(layer.name for layer in unit.layers)]
    left = {layer.name: UNJUDGED for unit in units if unit not in kept for layer in unit.layers}
    return kept, reasons | left


@dataclass(frozen=True)
class _Evened:
    """The choice in a graph whose channels were evened out, the error that remains, by layer, and its survey."""

    choice: Offer
    equalised: dict[str, float]
    balanced: dict[str, float]
    survey: Survey | None


def _even_out(task: _Task, choice: Offer, survey: Survey | None) -> _Evened:
    """Step 2: channels that would spoil the scale of the others are made smaller, in place."""
    task.progress("equalisation", 0, 0)
    names = [layer.name for unit in choice.units for layer in unit.layers]
    network, layers, threads = choice.network, choice.layers, task.options.threads
    frames = Sample(task.sight.frames, task.effort.evened)
    equalised = equalise(network, layers, names, frames, kind=task.dialect.kind, survey=survey, threads=threads)
    if survey is not None and equalised:
        moved = [layer for layer in layers if layer.name in equalised]
        survey = survey.again(network, Sample(task.sight.frames, task.effort.frames), moved, threads=threads)
    balanced = task.dialect.balance(network, layers, frames, threads=threads, progress=task.progress)
    if balanced:
        # Balanced layers read other tensors.
        layers = feature_layers(network)
        choice = Offer(network, layers, *_judged(task, network, *task.dialect.units(network, layers)))
    return _Evened(choice, equalised, balanced, None if balanced else survey)


def _fit(task: _Task, evened: _Evened) -> Quantisation:
    """Step 3: ranges, weights and biases of every unit. Step 4 is :func:`.precision_search.search`."""
    return Quantisation(
        evened.choice.network,
        evened.choice.layers,
        task.dialect,
        task.frames,
        task.sight,
        candidates=evened.choice.units,
        effort=task.effort,
        cache=task.options.cache,
        threads=task.options.threads,
        max_drop=task.options.max_drop,
        survey=evened.survey,
        progress=task.progress,
    )


@dataclass(frozen=True)
class _Shipped:
    """The graph that is returned, INT8 or float.

    Attributes:
        model: the graph.
        units: those of it in INT8.
        figure: the judge's.
        share: of the multiply-adds that are INT8.
        kept_float: the layers that are not, with the reason.
        latency_ms: of the float graph and this one, where this machine is the target.
        warnings: sentences for the user.
    """

    model: onnx.ModelProto
    units: tuple[Unit, ...]
    figure: float | None
    share: float
    kept_float: dict[str, str]
    latency_ms: dict[str, float] | None
    warnings: list[str]


def _try_out(task: _Task, work: Quantisation, found: Found) -> _Shipped:
    """Step 5: the finished graph is held to what its target asks for; where it gains nothing, float is shipped."""
    kept, float_graph = found.candidate, work.network.model
    trial = task.dialect.try_out(float_graph, kept.model, task.frames[0], threads=task.options.threads)
    warnings = [
        *(task.frames.warnings if isinstance(task.frames, CalibrationFrames) else ()),
        *([found.missed] if found.missed is not None else ()),
    ]
    if kept.units and not trial.pays:
        reasons = dict.fromkeys((layer.name for layer in work.layers), NO_FASTER)
        shipped = _Shipped(float_graph, (), work.reference, 0.0, reasons, trial.latency_ms, warnings)
    else:
        share = work.share(kept.units)
        units = kept.units if share else ()
        shipped = _Shipped(kept.model, units, kept.figure, share, found.kept_float, trial.latency_ms, warnings)
    if shipped.share == 0 and shipped.latency_ms is not None:
        slow = NO_FASTER in shipped.kept_float.values()
        why = "is not faster than fp32 for this network on this machine" if slow else "costs too much accuracy"
        warnings.append(f"INT8 {why}, so the graph was left in fp32")
        shipped = replace(shipped, latency_ms=shipped.latency_ms | {"int8": shipped.latency_ms["fp32"]})
    onnx.checker.check_model(shipped.model, full_check=True)
    return shipped


def _report(task: _Task, work: Quantisation, evened: _Evened, found: Found, shipped: _Shipped) -> dict[str, Any]:
    """Step 6: what the model card says of the quantisation."""
    int8 = {unit.name for unit in found.candidate.units}
    layers = [layer for unit in shipped.units for layer in unit.layers]
    latency = shipped.latency_ms
    return {
        "target": task.dialect.name,
        "weight_bits": task.dialect.weight_bits,
        "images": len(task.frames),
        "images_measured": len(work.frames),
        "images_digest": work.frames_digest,
        "blind": task.sight.report(),
        "judge": work.judge.name,
        "before": work.reference,
        "after": shipped.figure,
        "max_drop": task.options.max_drop,
        "macs_int8": shipped.share,
        "layers_int8": len(layers),
        "layers": len(work.layers),
        "kept_float": shipped.kept_float,
        "equalised": evened.equalised,
        "balanced": {name: left for name, left in evened.balanced.items() if name in int8},
        # Plain dictionaries: dataclasses.asdict rebuilds a Counter from pairs, and counts the pairs.
        "ranges": dict(Counter(work.fit.methods[layer.input] for layer in layers)),
        "rounding": dict(Counter(work.fit.layers[layer.name].rounding for layer in layers)),
        "losses": found.losses,
        "absent": absent(work.judge, {"before": work.reference, "after": shipped.figure}, found.losses),
        "latency_ms": latency and latency | {"threads": task.options.threads or available_cores()},
        "evaluations": found.candidate.evaluations,
        "resumed_figures": work.ledger.resumed,
    }
