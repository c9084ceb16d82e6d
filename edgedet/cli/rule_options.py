"""Options that say when to alert, for every command that does."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from edgedet.cli.values import fraction

if TYPE_CHECKING:
    from edgedet.watching.rule import AlertRule

OPTIONS = {
    "alert_classes": "--class",
    "min_size": "--min-size",
    "region": "--region",
    "evidence": "--evidence",
    "hold": "--hold",
    "keep_conf": "--keep-conf",
}
"""Names of values and options; all are None where they are not given."""


class _Arguments(Protocol):
    def add_argument(self, *names: str, **settings: Any) -> argparse.Action: ...


def add_rule_options(parser: _Arguments) -> None:
    """What begins an alert, but for the score and the number of frames."""
    parser.add_argument(
        "--class",
        dest="alert_classes",
        metavar="NAME[,NAME…]",
        action="append",
        help="class, or several that count as one; repeat it for further alerts (each class of the detector)",
    )
    parser.add_argument(
        "--min-size",
        metavar="X",
        type=size,
        help="minimum of the longer side of a box: pixels, or below 1 a share of the frame's longer side",
    )
    parser.add_argument(
        "--region",
        metavar="AREA",
        help="where the centre of a box must lie: x1,y1,x2,y2, or corners 'x,y x,y x,y …'; shares of the frame "
        "(all from 0 to 1), else pixels",
    )
    parser.add_argument(
        "--evidence",
        choices=("track", "class"),
        help="track (the default): the N frames must show the same object, and each has an alert of its own; "
        "class: any of the class, in one alert",
    )


def add_end_options(parser: _Arguments) -> None:
    """What ends an alert."""
    parser.add_argument(
        "--hold", metavar="S", type=seconds, help="it was last seen S seconds ago, and not in M frames (1)"
    )
    parser.add_argument(
        "--keep-conf",
        metavar="X",
        type=fraction,
        help="minimum score that keeps it alive (three quarters of that which begins it)",
    )


def given_options(arguments: argparse.Namespace) -> list[str]:
    """Those of the options that were used."""
    return [option for name, option in OPTIONS.items() if getattr(arguments, name) is not None]


def alert_rules(
    arguments: argparse.Namespace,
    names: Sequence[str],
    frames: tuple[int, int],
    *,
    conf: float,
    keep_conf: float | None,
) -> list[AlertRule]:
    """The rules of a command; each of ``names`` has one where no class is named.

    Raises:
        UsageError: a value that no rule takes.
    """
    from edgedet.watching.region import Region
    from edgedet.watching.rule import AlertRule

    settings: dict[str, Any] = {
        name: value for name in ("min_size", "evidence", "hold") if (value := getattr(arguments, name)) is not None
    }
    if arguments.region is not None:
        settings["region"] = Region.parse(arguments.region)
    groups: list[tuple[str, ...]] = [(name,) for name in names]
    if arguments.alert_classes is not None:
        groups = [_group(text, names) for text in arguments.alert_classes]
    return [AlertRule(classes, frames, conf=conf, keep_conf=keep_conf, **settings) for classes in groups]


def _group(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Classes of one alert; a name may hold a comma itself."""
    if text in names:
        return (text,)
    return tuple(part.strip() for part in text.split(",") if part.strip())


def frames(text: str) -> tuple[int, int]:
    """N of M frames.

    >>> frames("3/5")
    (3, 5)
    """
    found = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]) <= 10_000:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not N/M; expected N of the last M frames, such as 3/5, with N from 1 to M"
        )
    return int(found[1]), int(found[2])


def size(text: str) -> float:
    """Pixels, or a share below 1.

    >>> size("0.1"), size("32")
    (0.1, 32.0)
    """
    return _from_zero(text, "pixels, or a share of the frame below 1")


def seconds(text: str) -> float:
    """Seconds from 0 on.

    >>> seconds("1.5")
    1.5
    """
    return _from_zero(text, "seconds from 0 on")


def _from_zero(text: str, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not understood; expected {expected}")
    return value
