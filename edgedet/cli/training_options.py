"""The option of commands on checkpoints that states the settings of training which the file does not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedet.export.training.settings import NOTHING_STATED, TrainingSettings, parse_settings

if TYPE_CHECKING:
    import argparse


def add_detector_option(group: argparse._ArgumentGroup, meaning: str) -> None:
    """Add ``--detector`` to a command's options about the checkpoint.

    Args:
        group: of options.
        meaning: help text of the option.
    """
    group.add_argument("--detector", metavar="SETTING", action="append", default=[], help=meaning)


def detector_settings(arguments: argparse.Namespace) -> TrainingSettings | None:
    """What ``--detector`` states, later ones before earlier ones; None where it was not given.

    Raises:
        UsageError, CheckpointError: something that is no setting.
    """
    stated = NOTHING_STATED
    for text in arguments.detector:
        stated = parse_settings(text).over(stated)
    return stated if arguments.detector else None
