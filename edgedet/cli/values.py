"""Option values: text to numbers, sizes and names, with messages that say what was expected."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgedet.argument_checks import LARGEST_MARGIN
from edgedet.artifacts.class_lists import LISTS, class_list

LARGEST_SIDE = 16384
ENDLESS = 1e9
"""Maximum of seconds, milliseconds and watts: anything larger is a slip."""

Value = TypeVar("Value")


def fraction(text: str) -> float:
    """A number from 0 to 1.

    >>> fraction("0.25")
    0.25
    """
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def share(text: str) -> float:
    """A number between 0 and 1, and neither of them.

    >>> share("0.8")
    0.8
    """
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1, such as 0.8")
    return value


def margin(text: str) -> float:
    """How far a crop reaches beyond its box, as a share of the box's sides.

    >>> margin("1.5")
    1.5
    """
    value = _number(text)
    if not 0 <= value <= LARGEST_MARGIN:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share of a box's sides, 0 to {LARGEST_MARGIN:g}")
    return value


def positive_number(text: str) -> float:
    """A number above 0, such as seconds or watts.

    >>> positive_number("2.5")
    2.5
    """
    value = _number(text)
    if not 0 < value < ENDLESS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def number_from_zero(text: str) -> float:
    """A number of at least 0, such as false alarms per hour.

    >>> number_from_zero("0")
    0.0
    """
    value = _number(text)
    if not 0 <= value < ENDLESS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def _number(text: str) -> float:
    """NaN, which no range holds, for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def list_of(kind: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """A parser of values separated by commas, each of them parsed by ``kind``.

    >>> list_of(whole_number)("1, 4")
    (1, 4)
    """

    def parse(text: str) -> tuple[Value, ...]:
        return tuple(kind(part.strip()) for part in text.split(","))

    return parse


def positive_integer(text: str) -> int:
    """A whole number of at least 1.

    >>> positive_integer("8")
    8
    """
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def whole_number(text: str) -> int:
    """A whole number from 0 on, such as a seed.

    >>> whole_number("0")
    0
    """
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def canvas_size(text: str) -> tuple[int, int]:
    """Network input as (height, width), from ``SIDE`` or ``HEIGHTxWIDTH``.

    >>> canvas_size("640"), canvas_size("384x640")
    ((640, 640), (384, 640))
    """
    sides = _sides(text)
    if sides is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size; expected SIDE or HEIGHTxWIDTH in pixels, such as 320 or 384x640"
        )
    return (sides[0], sides[-1])


def camera_size(text: str) -> tuple[int, int]:
    """Camera picture as (width, height), from ``WIDTHxHEIGHT``, the order cameras are sold by.

    >>> camera_size("1920x1080")
    (1920, 1080)
    """
    sides = _sides(text)
    if sides is None or len(sides) != 2:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a frame size; expected WIDTHxHEIGHT in pixels, such as 1920x1080"
        )
    return (sides[0], sides[1])


def _sides(text: str) -> tuple[int, ...] | None:
    if not re.fullmatch(r"[0-9]{1,6}([xX,][0-9]{1,6})?", text):
        return None
    sides = tuple(int(side) for side in re.split("[xX,]", text))
    return sides if all(1 <= side <= LARGEST_SIDE for side in sides) else None


def class_names(text: str) -> tuple[str, ...]:
    """Class names in label order: a built-in list, separated by commas, or one per line of a text file.

    >>> class_names("camera, cell phone")
    ('camera', 'cell phone')
    >>> len(class_names("coco"))
    80
    """
    if text in LISTS:
        return class_list(text)
    if text.lower().endswith((".txt", ".names", ".labels")):
        entries = _lines(Path(text))
    else:
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise argparse.ArgumentTypeError(f"{text!r} names no class; expected names separated by commas")
    twice = sorted({name for name in entries if entries.count(name) > 1})
    if twice:
        raise argparse.ArgumentTypeError(f"the class {twice[0]!r} is named twice")
    return tuple(entries)


def _lines(path: Path) -> list[str]:
    """Names, one a line. TensorFlow writes ??? where no class has a number: first for the background."""
    try:
        # Editors on Windows begin a file with a byte order mark, which is no part of the first name.
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise argparse.ArgumentTypeError(f"cannot read class names from {path}: {reason}") from error
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        raise argparse.ArgumentTypeError(
            f"{path}: line {lines.index('') + 1} is empty, and lines are classes by their numbers; name it or take "
            "it out"
        )
    return [
        line if line != "???" else "background" if index == 0 else f"unused_{index}"
        for index, line in enumerate(lines)
    ]


def human_bytes(count: int) -> str:
    """A size for people, in powers of ten as disks are sold.

    >>> human_bytes(512), human_bytes(3678356), human_bytes(16 * 10**9)
    ('512 B', '3.68 MB', '16.0 GB')
    """
    if count < 1000:
        return f"{count} B"
    # 999.6 kB would be rounded to 1000 kB: take the next unit already.
    exponent = 1
    while count >= 999.5 * 1000**exponent and exponent < 4:
        exponent += 1
    return f"{count / 1000**exponent:#.3g}".rstrip(".") + (" kB", " MB", " GB", " TB")[exponent - 1]
