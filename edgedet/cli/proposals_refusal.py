"""Commands that have no proposals to pass say so of an artifact that needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.errors import UsageError

if TYPE_CHECKING:
    from edgedet.artifacts.card import ModelCard


def require_own_proposals(card: ModelCard, what: str) -> None:
    """Check that a detector finds by itself where to look.

    Args:
        card: of the detector.
        what: the command, or the part it plays, for the message.

    Raises:
        UsageError: its proposals come from outside.
    """
    if card.input.proposals is not None:
        raise UsageError(
            f"{what} has no proposals to pass, and this {card.architecture} makes none (--outside-proposals): "
            "edgedet detect --proposals and Detector.detect(frame, proposals=boxes) pass them"
        )
