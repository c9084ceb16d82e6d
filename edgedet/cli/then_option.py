"""Options of commands that run a second artifact on the crops of the first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgedet.errors import UsageError

if TYPE_CHECKING:
    import argparse

MARGIN = 0.1


def add_then_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command."""
    from edgedet.argument_checks import LARGEST_MARGIN
    from edgedet.cli.values import fraction, margin, positive_integer

    group = parser.add_argument_group("a second artifact on the crops of what the first finds")
    group.add_argument("--then", metavar="ARTIFACT", help="what looks into the crops; its objects are the result")
    group.add_argument(
        "--then-class",
        metavar="CLASS",
        action="append",
        default=[],
        help="class of the first that is looked into (all of them); may be repeated",
    )
    group.add_argument(
        "--then-margin",
        metavar="X",
        type=margin,
        help="how far a crop reaches beyond its box on each side, as a share of the box's sides, 0 to "
        f"{LARGEST_MARGIN:g} ({MARGIN:g})",
    )
    group.add_argument(
        "--then-conf", metavar="X", type=fraction, help="minimum score of what is found in the crops"
    )
    group.add_argument(
        "--then-most", metavar="N", type=positive_integer, help="crops of a frame at most, the best first (all)"
    )


def then_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What :class:`edgedet.cascade.Cascade` is to be told beside its two detectors.

    Raises:
        UsageError: an option about crops without a second artifact.
    """
    if arguments.then is None:
        for name in ("then_class", "then_margin", "then_conf", "then_most"):
            if getattr(arguments, name) not in ([], None):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is about crops, and nothing looks into them: add --then ARTIFACT")
    return {
        "classes": arguments.then_class or None,
        "margin": MARGIN if arguments.then_margin is None else arguments.then_margin,
        "most": arguments.then_most,
    }
