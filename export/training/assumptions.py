"""What a source does not say and an export has to take for granted; said aloud, because boxes depend on it.

Tensors hold neither anchors nor input size, mean and standard deviation, box weights, or the background's place.
Nothing that compares a graph with a rebuilt model can notice a wrong one: both were built from the same guess.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts.card import ASSUMED_KEY, ModelCard
from edgedet.errors import AssumptionError

from .settings import TrainingSettings


@dataclass(frozen=True)
class Assumption:
    """One value nothing stated: ``what`` it is (``"anchors"``), the ``value`` that was taken, in words, and the
    option or key that states it (``"detector.anchor_sizes"``). ``unread``: what the source says of it in words that
    could not be taken for a value."""

    what: str
    value: str
    stated_by: str
    unread: str = ""

    def text(self) -> str:
        """As it stands on the card and in reports.

        >>> Assumption("mean/std", "ImageNet's", "detector.image_mean").text()
        "mean/std: ImageNet's"
        >>> Assumption("input size", "320x320", "input_size", "args.img_size = 512").text()
        'input size: 320x320, while the file has args.img_size = 512'
        """
        return f"{self.what}: {self.value}{WHILE + self.unread if self.unread else ''}"


WHILE = ", while the file has "


def assumptions_on(card: ModelCard) -> tuple[Assumption, ...]:
    """What was assumed when a graph was made, as its card tells."""
    listed = card.provenance.get(ASSUMED_KEY)
    texts = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
    parts = (text.partition(": ") for text in texts)
    return tuple(
        Assumption(what, value.partition(WHILE)[0], "when exporting the checkpoint", value.partition(WHILE)[2])
        for what, _, value in parts
    )


def assumption_note(assumed: Sequence[Assumption], *, confirmed_by: str | None = None, boxes: bool = True) -> str:
    """One line for the report of an export. ``confirmed_by``: whose boxes agree with what was assumed. ``boxes``:
    whether there are boxes to judge by."""
    unsaid = "; ".join(entry.text() for entry in assumed if not entry.unread)
    unread = "; ".join(entry.text() for entry in assumed if entry.unread)
    parts = [f"assumed, since nothing says: {unsaid}." if unsaid else ""]
    parts.append(f"assumed, since what the file says is not understood: {unread}." if unread else "")
    said = " ".join(part for part in parts if part)
    if confirmed_by is not None:
        return f"{said} Confirmed by the boxes of {confirmed_by}"
    if not boxes:
        return f"{said} State them (--detector, --classes), or have them judged: edgedet eval"
    if any(_is_setting(entry) for entry in assumed):
        return f"{said} State them (--detector, --classes), or have them judged: edgedet check, --reference"
    return f"{said} Have them judged by boxes of the training framework (--reference), or by edgedet eval"


def _is_setting(entry: Assumption) -> bool:
    """Whether ``--detector`` can state it."""
    names = {field.name for field in dataclasses.fields(TrainingSettings)} - {"classes"}
    return all(name in names for name in entry.stated_by.split(", "))


def require_stated(source: Path, assumed: Sequence[Assumption], *, boxes: bool = True) -> None:
    """Refuse to take anything for granted. ``boxes``: whether there are some that could confirm it.

    Raises:
        AssumptionError: ``assumed`` is not empty.
    """
    if assumed:
        what = "boxes" if boxes else "classes"
        raise AssumptionError(
            f"{source} does not say everything that its {what} depend on, and --strict takes nothing for granted; "
            f"it would be assumed: {'; '.join(entry.text() for entry in assumed)}. It is stated by: "
            f"{', '.join(sorted({entry.stated_by for entry in assumed}))}"
            f"{'; or confirm it with --reference' if boxes else ''}"
        )
