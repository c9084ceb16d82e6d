"""Why a layer stayed in float: what the model card says of each."""

from __future__ import annotations

from collections.abc import Collection

from .accuracy_guard import Guard
from .dialect import Unit
from .quantisation_run import Quantisation

NO_FASTER = "no faster in INT8 on this machine (measured)"
UNJUDGED = "predicts boxes or scores, and the calibration images show nothing to judge its INT8 by"
OUTLIER = 20
"""Times the median channel's magnitude from which a channel is named as the culprit."""


def no_faster(units: Collection[Unit], paying: Collection[Unit]) -> dict[str, str]:
    """The units that are not ``paying``, by name, with the reason."""
    return {unit.name: NO_FASTER for unit in units if unit not in paying}


def given_back(work: Quantisation, guard: Guard, unit: Unit) -> str:
    """What a unit given back costs alone, and what of its input is to blame."""
    loss = guard.losses.get(unit.name)
    text = "given back to stay inside the budget" if not loss else f"costs {loss:.2%} of agreement alone"
    channels = work.fit.seen[unit.layers[0].input].channel_high
    typical = float(sorted(channels)[len(channels) // 2]) if len(channels) else 0.0
    if len(channels) and typical > 0 and channels.max() > OUTLIER * typical:
        text += (
            f"; channel {int(channels.argmax())} of its input reaches {channels.max():.3g}, "
            f"{channels.max() / typical:.0f} times the median channel"
        )
    return text
