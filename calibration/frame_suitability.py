"""Whether calibration frames show a network anything, and what is calibrated and judged on where they do not.

On frames of an empty room a detector's tensors lie elsewhere than before an object, and a graph that no longer
finds anything agrees with the float one; what it finds in noise by mistake is no object either. Where the frames
show nothing, which is called blind here, pictures are made on which the network does respond. Half of them set
ranges, together with the frames; what INT8 makes of its answers to the other half is judged. Nobody knows how far
objects reach beyond the pictures, so ranges are only ever widened, and the layers that predict boxes and scores
stay in float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.onnx_graph.network import Array
from edgedet.proof.agreement import MIN_SCORE, agreement

from .calibration_frames import Sample
from .effort import Effort
from .executor import GraphRunner
from .judge import AgreementJudge, Judge, Reader, Run
from .judge_validity import FEW_CONFIDENT
from .observe import Progress
from .response_judge import ResponseJudge
from .segmenter_judge import MapAgreementJudge, MapReader, map_likeness
from .stimuli import ROUNDS, stimuli
from .weak_boxes import WeakReader, lowered, opened

JUDGED_FROM = MIN_SCORE
"""Score threshold of graphs while they are compared with the float one. What INT8 costs is a matter of the network,
not of the threshold it is used at: there, a box that scores 0.24 in place of 0.26 would be lost."""
MARGIN = 1.2
"""Ranges reach so far beyond everything that was met, where nobody knows what objects look like."""
MADE = 64
"""Pictures made: every other one for ranges, the rest to judge by."""
MADE_PER_FRAME = 4
"""The same for a heavy network, for every calibration frame that it is shown."""
EMPTY = 16
"""Calibration frames that set ranges beside them."""


def unchanged(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model itself."""
    return model


@dataclass(frozen=True)
class Sight:
    """What a quantisation looks at.

    Attributes:
        frames: prepared inputs that set ranges.
        judge: of graphs.
        probes: prepared inputs on which single layers are tried.
        reader: of what graphs find on them.
        likeness: of two graphs' findings, in [0, 1]; None where there is nothing to compare.
        opening: makes of a graph the one that judge and reader want.
        margin: how far ranges are widened; 1 where clipping them is judged, too.
        made: pictures that were made.
    """

    frames: Sequence[Array]
    judge: Judge
    probes: Sequence[Array]
    reader: Reader | MapReader
    likeness: Callable[[Sequence[Any], Sequence[Any]], float | None] = agreement
    opening: Callable[[onnx.ModelProto], onnx.ModelProto] = unchanged
    margin: float = 1.0
    made: int = 0

    @property
    def blind(self) -> bool:
        """Whether the calibration frames show the network nothing to judge by."""
        return self.made > 0

    def report(self) -> dict[str, float] | None:
        """For the model card: what was made and how it was calibrated; None where the frames were enough."""
        if not isinstance(self.judge, ResponseJudge):
            return None
        return {"pictures": self.made, "answers": self.judge.answers, "margin": self.margin}

    @property
    def warning(self) -> str | None:
        """What the user should know; None where the frames were enough."""
        if not self.blind:
            return None
        return (
            "the fp32 graph is sure of next to nothing in the calibration images, so INT8 was calibrated and "
            f"judged on {self.made} pictures made for the purpose, ranges were widened and the layers that predict "
            "boxes and scores left in float; images with objects in them (--calib) make tighter ranges and INT8 "
            "throughout, labelled ones (--eval) show what it costs"
        )


def shows_objects(judge: AgreementJudge) -> bool:
    """Whether the frames hold what the network was made for, as far as it can tell.

    Networks take noise and walls for objects now and then, without being sure of it.
    """
    return judge.sure >= FEW_CONFIDENT and 2 * judge.sure >= judge.confident


def slightly_open(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """The graph as graphs are compared, with a low score threshold."""
    return opened(model, card.output.score_threshold, JUDGED_FROM)


def look(
    model: onnx.ModelProto,
    card: ModelCard,
    frames: Sequence[Array],
    judge: Judge | None,
    *,
    float_graph: Callable[[], Run],
    effort: Effort,
    max_drop: float,
    threads: int | None,
    progress: Progress,
) -> Sight:
    """Decide what to calibrate and to judge on.

    Args:
        model: the float graph.
        card: its model card.
        frames: prepared inputs.
        judge: the caller's, which is believed; None asks for agreement with the float graph.
        float_graph: opens the float graph, :func:`slightly_open`, or has it open; asked where it is needed, and
            then called for the frames that are judged, in order.
        effort: how much is looked at.
        max_drop: what may be lost; who allows 1 asks for INT8 unjudged, and no pictures are made for it.
        threads: of a run; None takes every core.
        progress: called with (what, done, of).
    """
    outputs = [value.name for value in model.graph.output]
    probes = Sample(frames, effort.probes)
    if card.task == "segmentation":
        if judge is None:
            progress("float accuracy", 0, 0)
            judge = MapAgreementJudge(card, Sample(frames, effort.judged), outputs, float_graph())
        return Sight(frames, judge, probes, MapReader(card, outputs), map_likeness)
    if judge is not None:
        return Sight(frames, judge, probes, Reader(card, outputs))
    progress("float accuracy", 0, 0)
    judged = Sample(frames, effort.judged)
    open_card = lowered(card, JUDGED_FROM)

    def slightly(graph: onnx.ModelProto) -> onnx.ModelProto:
        return slightly_open(graph, card)

    alike = AgreementJudge(open_card, judged, outputs, float_graph())
    if max_drop >= 1 or shows_objects(alike):
        return Sight(frames, alike, probes, Reader(open_card, outputs), opening=slightly)

    def opening(graph: onnx.ModelProto) -> onnx.ModelProto:
        return opened(graph, card.output.score_threshold)

    weak = WeakReader(card, outputs)
    run = GraphRunner(opening(model), threads=threads)
    count = min(MADE, MADE_PER_FRAME * effort.frames)
    rounds = max(ROUNDS * count // MADE, 1)
    made = stimuli(card, judged, lambda tensors: weak(run, tensors), count=count, rounds=rounds, progress=progress)
    blindness = {} if alike.confident else {"blindness": alike.nothing}
    response = ResponseJudge(card, made[1::2], outputs, run, **blindness)
    return Sight(
        [*Sample(frames, min(EMPTY, effort.frames)), *made[::2]],
        response,
        Sample(made, effort.probes),
        weak,
        opening=opening,
        margin=MARGIN,
        made=len(made),
    )
