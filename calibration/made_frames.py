"""Calibration frames for who has no pictures: drawn, shown to the float detector, and chosen by its answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.errors import CalibrationError
from edgedet.machine.cores import available_cores
from edgedet.onnx_graph.network import Array
from edgedet.onnx_graph.preparing import prepare
from edgedet.preprocess import Preprocessor
from edgedet.proof.agreement import CONFIDENT

from .calibration_frames import CalibrationFrames
from .decoder_boundary import feature_layers
from .executor import GraphRunner, in_lanes
from .float_responses import Answer, Questions
from .made_judge import MadeJudge
from .observe import Progress, silent
from .picture_selection import FAR, Chosen, choose, require_alive
from .pictures import Pictures
from .procedural import MadePicture, made_picture
from .training_statistics import Statistics

POOL = 256
"""Pictures drawn, at most."""
SMALLEST_POOL = 96
POOL_MULTIPLY_ADDS = 1e12
"""What it may cost to show them all to the detector: of a heavy one, fewer are drawn."""
CALIBRATE, JUDGE = 64, 32
"""Pictures chosen of the largest pool."""
NAMED = 3
"""Layers a warning names."""


@dataclass(frozen=True)
class MadeFrames:
    """Made pictures that a detector answers to, prepared.

    Attributes:
        frames: to calibrate on.
        held_out: others, to judge INT8 by (:class:`MadeJudge`).
        report: JSON-ready, for the model card: ``drawn`` is the number of pictures drawn, ``alike`` of those that
            excite most layers as they should be, ``best_score`` the highest score in any, in [0, 1];
            ``layers_with_statistics`` is the number of layers of which training says how strongly they answer,
            ``layers_agreeing`` of those that answer to the pictures like that.
        warnings: sentences for the user: layers that answer to the pictures unlike they did in training.

    >>> from edgedet import Detector
    >>> card = Detector("tiny.onnx").card
    >>> drawn = [made_picture(number, card.input.width, card.input.height) for number in range(6)]
    >>> halves = [CalibrationFrames(Pictures("drawn", tuple(half)), card) for half in (drawn[:4], drawn[4:])]
    >>> made = MadeFrames(*halves, report={"drawn": 6}, warnings=())
    >>> len(made.frames), len(made.held_out), made.frames[0].shape
    (4, 2, (1, 32, 32, 3))
    """

    frames: CalibrationFrames
    held_out: CalibrationFrames
    report: dict[str, Any]
    warnings: tuple[str, ...]


def make_frames(
    model: onnx.ModelProto,
    card: ModelCard,
    statistics: Statistics | None = None,
    *,
    threads: int | None = None,
    progress: Progress = silent,
) -> MadeFrames:
    """Draw pictures, show them to the float detector, and keep those it is made for.

    Args:
        model: the float graph; it is not changed.
        card: its model card.
        statistics: what training saw of its layers, by the names of their outputs, where the checkpoint says it.
        threads: of a run; None takes every core.
        progress: called with (what, done, of).

    Returns:
        Frames of 64 pictures to calibrate on and of 32 others to judge by; of fewer for a heavy detector.

    Raises:
        CalibrationError: the detector is dead or saturated on all of them, or finds nothing in any.
        ArtifactError: a graph that is quantised already or of a hopeless operator set.

    >>> from edgedet import Detector
    >>> made = make_frames(onnx.load("model.onnx"), Detector("model.onnx").card)
    >>> made.frames.images, made.held_out.images, made.report["best_score"]
    (64, 32, 0.875)
    """
    network = prepare(model)
    layers = feature_layers(network)
    questions = Questions(network, card, layers, threads=threads)
    count = _pool(sum(layer.multiply_adds for layer in layers))
    pictures = [made_picture(number, card.input.width, card.input.height) for number in range(count)]
    answers = []
    for answer in _answers(questions, card, pictures, threads):
        answers.append(answer)
        progress("made pictures", len(answers), count)
    require_alive(answers, questions.layers, questions.channels)
    if not any(len(answer.scores) for answer in answers):
        raise CalibrationError(
            f"the detector finds nothing in any of {count} made pictures, so INT8 can neither be calibrated nor "
            f"judged on them (scores count from {card.output.score_threshold:g}): give pictures like those the "
            "device will see with --calib"
        )
    share = count / POOL
    chosen = choose(
        answers,
        questions.layers,
        questions.channels,
        statistics or {},
        calibrate=round(CALIBRATE * share),
        judge=round(JUDGE * share),
    )
    return MadeFrames(
        _frames(pictures, chosen.calibrate, card),
        _frames(pictures, chosen.judge, card),
        _report(answers, chosen),
        tuple(_far(chosen, statistics or {}, {layer.name: layer.output for layer in layers})),
    )


def made_judge(model: onnx.ModelProto, card: ModelCard, made: MadeFrames) -> tuple[MadeJudge, list[str]]:
    """The judge of graphs made from ``model`` by the pictures held out, and sentences on what it rests on."""
    outputs = [value.name for value in model.graph.output]
    judge = MadeJudge(card, made.held_out, outputs, GraphRunner(model))
    if judge.level >= CONFIDENT:
        return judge, []
    return judge, [
        f"little was found in the made pictures: INT8 is judged by {judge.truths} detections that score "
        f"{judge.level:.2g} or more; judge it by pictures of your own: --calib, --eval"
    ]


def _pool(multiply_adds: int) -> int:
    """How many pictures are drawn for a detector that costs so much; a multiple of eight."""
    affordable = int(POOL_MULTIPLY_ADDS / max(multiply_adds, 1)) // 8 * 8
    return min(max(affordable, SMALLEST_POOL), POOL)


def _answers(
    questions: Questions, card: ModelCard, pictures: list[MadePicture], threads: int | None
) -> Iterator[Answer]:
    """One for every picture."""
    prepared = Preprocessor(card.input, card.resize)
    batch = card.input.batch
    padding = [pictures[i % len(pictures)] for i in range(-len(pictures) % batch)]

    def tensors() -> Iterator[Array]:
        drawn = in_lanes(MadePicture.read, [*pictures, *padding], threads or available_cores())
        for number, pixels in enumerate(drawn):
            prepared.prepare(pixels, number % batch)
            if number % batch == batch - 1:
                yield prepared.tensor.copy()

    for number, answer in enumerate(questions.ask(tensors())):
        if number < len(pictures):
            yield answer


def _frames(pictures: list[MadePicture], chosen: tuple[int, ...], card: ModelCard) -> CalibrationFrames:
    return CalibrationFrames(Pictures("made pictures", tuple(pictures[i] for i in chosen)), card)


def _report(answers: list[Answer], chosen: Chosen) -> dict[str, Any]:
    best = np.array([answer.scores.max(initial=0) for answer in answers])
    return {
        "drawn": len(answers),
        "alike": chosen.alike,
        "best_score": round(float(best.max()), 4),
        "layers_with_statistics": len(chosen.strengths),
        "layers_agreeing": len(chosen.trusted),
    }


def _far(chosen: Chosen, statistics: Statistics, outputs: dict[str, str]) -> Iterator[str]:
    """A sentence where layers answer far more or less strongly than in training."""
    far = {name: ratio for name, ratio in chosen.strengths.items() if abs(np.log2(max(ratio, 1e-9))) > FAR}
    if not far:
        return
    named = sorted(far, key=lambda name: -abs(np.log2(max(far[name], 1e-9))))
    words = ", ".join(f"{name} {far[name]:.3g} times" for name in named[:NAMED])
    more = f" and {len(far) - NAMED} more" if len(far) > NAMED else ""
    frozen = any(statistics[outputs[name]].frozen for name in far)
    why = (
        "its batch normalisation is frozen, so that may be another data set's"
        if frozen
        else "ranges set by made pictures may not fit: real pictures (--calib) are safer"
    )
    yield (
        f"on made pictures {words}{more} of {len(chosen.strengths)} layers vary as much as their batch "
        f"normalisation says they did in training; {why}"
    )
