"""Differences of the two Darknets: pjreddie's, and AlexeyAB's, which most people have trained with since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..training.assumptions import Assumption
from .cfg import Section
from .layer_records import Detection, Layer, Region, Yolo
from .options import SYNONYMS, alexeyab_sign

ForkName = Literal["pjreddie", "alexeyab"]
ResizeName = Literal["letterbox", "stretch"]


@dataclass(frozen=True)
class Fork:
    """One of the two.

    Args:
        name: as ``--darknet`` has it.
        title: in sentences.
        why: how it is known; empty where it is assumed.
    """

    name: ForkName
    title: str
    why: str = ""

    def deviation(self, variance: NDArray[np.float64]) -> NDArray[np.float64]:
        """What batch normalisation divides by: pjreddie's CPU program adds its epsilon outside of the root."""
        if self.name == "pjreddie":
            return np.sqrt(variance) + 1e-6
        return np.sqrt(variance + 1e-5)


TITLES: dict[ForkName, str] = {"pjreddie": "pjreddie's Darknet", "alexeyab": "AlexeyAB's Darknet"}


def find_fork(network: Section, sections: Sequence[Section], asked: ForkName | None) -> Fork:
    """Whose the ``.cfg`` is: as asked, else AlexeyAB's where it has what only that one reads, else pjreddie's."""
    if asked is not None:
        return Fork(asked, TITLES[asked], "as asked")
    for section in (network, *sections):
        kind = "net" if section is network else SYNONYMS.get(section.kind, section.kind)
        sign = alexeyab_sign(kind, section.options)
        if sign is not None:
            return Fork("alexeyab", TITLES["alexeyab"], f"its .cfg has {sign}")
    return Fork("pjreddie", TITLES["pjreddie"])


def require_shares(fork: Fork, layers: Sequence[Layer]) -> None:
    """Refuse heads whose scores would be no shares of 1, since nothing brings them there.

    Raises:
        CheckpointError: v2 without softmax, whose classes AlexeyAB's leaves as they are; new_coords without a
            logistic layer before it.
    """
    for layer in layers:
        if isinstance(layer.kind, Region) and not layer.kind.softmax and fork.name == "alexeyab":
            layer.section.refuse(
                "has no softmax=1, and AlexeyAB's Darknet then leaves classes as they are, which are no scores; "
                "pjreddie's takes their logistic function: --darknet pjreddie"
            )
        if isinstance(layer.kind, Yolo) and layer.kind.squared_sizes:
            before = layers[layer.reads[0]]
            if getattr(before.kind, "activation", "") != "logistic":
                layer.section.refuse(
                    f"has new_coords=1, which needs activation=logistic in layer {before.section.index} before it"
                )


def resizing(
    fork: Fork, network: Section, layers: Sequence[Layer], asked: ResizeName | None
) -> tuple[ResizeName, Assumption | None]:
    """How frames come onto the canvas, and what of that was said nowhere.

    As the test commands do it: pjreddie's ``detector test`` keeps proportions, its ``yolo test`` (v1) and
    AlexeyAB's without ``letter_box=1`` do not.
    """
    if asked is not None:
        return asked, None
    option = "--darknet, --resize"
    if any(isinstance(layer.kind, Detection) for layer in layers):
        return "stretch", None if fork.why else Assumption("resizing", "stretched, as Darknet does for v1", option)
    if fork.name == "alexeyab":
        if network.flag("letter_box"):
            return "letterbox", None
        return "stretch", Assumption("resizing", "stretched, as AlexeyAB's does without letter_box=1", "--resize")
    said = "letterbox, as pjreddie's does; AlexeyAB's, if that trained it, stretches"
    return "letterbox", None if fork.why else Assumption("resizing", said, option)
