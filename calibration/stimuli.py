"""Pictures made so that a detector responds: things drawn on the user's own frames, bred by what it answers.

Calibration frames of an empty room say where a network's tensors lie while it sees nothing, which is not what it is
for. Random things are drawn on the frames; those that the float network answers most strongly, of every class it
answers with, are changed a little, crossed, and drawn again elsewhere. That is hill climbing on the picture with
scores as height, as Nguyen et al. fool networks with bred pictures (arXiv:1412.1897); whether a person would
see an object there does not matter for the range of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.box_overlap import pairwise_iou
from edgedet.detections import Detections
from edgedet.onnx_graph.network import Array

from .drawn_objects import GENES, Placed, changed, crossed, draw, random_things
from .input_pictures import Canvas
from .observe import Progress, silent

ROUNDS, PER_ROUND = 12, 24
"""Rounds of breeding, and the pictures of each."""
THINGS = 6
"""Maximum number of things in one picture."""
BEST, BEST_OF_CLASS = 32, 4
"""Parents: of all things, and of those that one class was answered to."""
OVER, ANSWERS_COUNTED = 2, 3
"""So many times the wanted pictures are made, and those kept whose strongest answers are strongest together."""
MOVED_SIZE = 0.06
"""How much a thing's size (a gene) differs from one finished picture to another."""

Answers = Callable[[Sequence[Array]], Iterator[Detections]]
"""Prepared inputs to the strongest answers of every place, however weak."""


@dataclass
class _Archive:
    """The things that were answered most strongly, with the score; ``of_class`` by label."""

    best: list[tuple[float, Array]] = field(default_factory=list)
    of_class: dict[int, list[tuple[float, Array]]] = field(default_factory=dict)

    def add(self, score: float, label: int, genes: Array) -> None:
        for where, room in ((self.best, BEST), (self.of_class.setdefault(label, []), BEST_OF_CLASS)):
            where.append((score, genes))
            where.sort(key=lambda one: -one[0])
            del where[room:]

    def parent(self, rng: np.random.Generator) -> Array:
        """One of the best; of any class as often as of those answered most strongly."""
        if rng.random() < 0.5:
            where = self.best
        else:
            where = self.of_class[sorted(self.of_class)[rng.integers(len(self.of_class))]]
        return where[rng.integers(len(where))][1]


def stimuli(
    card: ModelCard,
    frames: Sequence[Array],
    answers: Answers,
    *,
    count: int,
    rounds: int = ROUNDS,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Array]:
    """``count`` prepared inputs on which the network responds as strongly as could be found.

    Args:
        card: of the network.
        frames: prepared inputs, whose pictures are drawn on.
        answers: the float network's, of prepared inputs.
        count: how many to make.
        rounds: generations of things, each of which takes as many runs as the next.
        seed: of everything that is drawn by chance.
        progress: called with (what, done, of).
    """
    rng = np.random.default_rng(seed)
    canvas = Canvas(card.input)
    archive = _Archive()
    for round_ in range(rounds):
        scenes = [_scene(rng, lambda: _candidate(rng, archive), card.input.batch) for _ in range(PER_ROUND)]
        tensors = [_painted(canvas, frames[int(rng.integers(len(frames)))], scene, rng) for scene in scenes]
        places = [place for scene in scenes for place in scene]
        for things, found in zip(places, answers(tensors), strict=True):
            for thing in things:
                best = _answer(thing, found)
                if best is not None:
                    archive.add(*best, thing.genes)
        progress("stimuli", round_ + 1, rounds)
    kept: list[tuple[float, int, Array]] = []
    for first in range(0, OVER * count, PER_ROUND):
        numbers = range(first, min(first + PER_ROUND, OVER * count))
        tensors = []
        for _ in numbers:
            scene = _scene(
                rng,
                lambda: _resized(rng, archive.parent(rng) if archive.best else random_things(rng, 1)[0]),
                card.input.batch,
            )
            tensors.append(_painted(canvas, frames[int(rng.integers(len(frames)))], scene, rng))
        strength = np.zeros(len(tensors))
        for place, found in enumerate(answers(tensors)):
            strength[place // card.input.batch] += float(np.sort(found.scores)[-ANSWERS_COUNTED:].sum())
        kept += zip(strength.tolist(), numbers, tensors, strict=True)
        # Dropped as soon as enough are better: inputs may be large.
        kept = sorted(kept, key=lambda one: (-one[0], one[1]))[:count]
    # In the order of drawing, so that any part of them is a fair sample.
    return [tensor for _, _, tensor in sorted(kept, key=lambda one: one[1])]


def _candidate(rng: np.random.Generator, archive: _Archive) -> Array:
    """A thing to try: mostly a child of good ones, else something new."""
    chance = rng.random()
    if not archive.best or chance < 0.25:
        return random_things(rng, 1)[0]
    if chance < 0.4:
        return changed(rng, crossed(rng, archive.parent(rng), archive.parent(rng)))
    return changed(rng, archive.parent(rng))


def _resized(rng: np.random.Generator, genes: Array) -> Array:
    other = genes.copy()
    index = GENES.index("size")
    other[index] = np.clip(other[index] + rng.normal(0, MOVED_SIZE), 0, 1)
    return other


def _scene(rng: np.random.Generator, thing: Callable[[], Array], batch: int) -> list[list[Placed]]:
    """Things and their places, for every place of the batch."""
    return [
        [Placed(thing(), *rng.uniform(0.1, 0.9, 2).tolist()) for _ in range(rng.integers(1, THINGS + 1))]
        for _ in range(batch)
    ]


def _painted(canvas: Canvas, frame: Array, scene: list[list[Placed]], rng: np.random.Generator) -> Array:
    pictures = canvas.pictures(frame)
    for picture, things in zip(pictures, scene, strict=True):
        for thing in things:
            draw(picture, thing, rng)
    return canvas.tensor(pictures)


def _answer(thing: Placed, found: Detections) -> tuple[float, int] | None:
    """Score and label of the strongest answer about a thing."""
    if not len(found):
        return None
    overlap = pairwise_iou(thing.box(*found.frame_size)[None], found.boxes)[0]
    about = np.flatnonzero(overlap >= 0.3)
    if not len(about):
        return None
    best = about[found.scores[about].argmax()]
    return float(found.scores[best]), int(found.labels[best])
