"""The text of a Darknet ``.cfg``: sections of options, and values that are what they have to be."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from edgedet.errors import CheckpointError

LARGEST_FILE = 4_000_000
"""Bytes of a .cfg; the longest of Darknet's own has 40,000."""
LARGEST_NUMBER = 2**24
"""Maximum of any size, count or place in a .cfg."""

NETWORK = ("net", "network")


@dataclass(frozen=True)
class Section:
    """``[kind]`` and what stands below it. ``index`` of the layer, -1 for the network; ``line`` in the file."""

    path: Path
    kind: str
    line: int
    index: int
    options: dict[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Its place in words, for messages."""
        layer = "" if self.index < 0 else f"layer {self.index}, "
        return f"{self.path}: {layer}[{self.kind}] in line {self.line}"

    def refuse(self, reason: str) -> NoReturn:
        """Raises CheckpointError with the place in front."""
        raise CheckpointError(f"{self.where}: {reason}")

    def text(self, name: str, default: str) -> str:
        """An option as it stands."""
        return self.options.get(name, default)

    def integer(self, name: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number from ``least``; without a default it must be there."""
        if name not in self.options:
            if default is None:
                self.refuse(f"has no {name}=; expected a whole number")
            return default
        return self._integer(name, self.options[name], least)

    def number(self, name: str, default: float) -> float:
        """A finite number."""
        return default if name not in self.options else self._number(name, self.options[name])

    def flag(self, name: str) -> bool:
        """Whether an option is a number other than 0."""
        return self.number(name, 0.0) != 0

    def integers(self, name: str) -> tuple[int, ...]:
        """Whole numbers between commas, negative ones too; empty where the option is not there."""
        return tuple(self._integer(name, part, -LARGEST_NUMBER) for part in self._parts(name))

    def numbers(self, name: str) -> tuple[float, ...]:
        """Numbers between commas; empty where the option is not there."""
        return tuple(self._number(name, part) for part in self._parts(name))

    def require(self, used: Collection[str], harmless: Collection[str], only: Mapping[str, float]) -> None:
        """Refuse every option that is not known.

        Args:
            used: options that are read.
            harmless: options of training, and of what does not change numbers.
            only: options that may stand there with one value alone, as if they did not.

        Raises:
            CheckpointError: another option, or another value.
        """
        for name, value in self.options.items():
            if name in only:
                if self._number(name, value) != only[name]:
                    self.refuse(f"has {name}={value}, which edgedet does not do; it does {name}={only[name]:g}")
            elif name not in used and name not in harmless:
                self.refuse(
                    f"has the option {name}={value}, which edgedet does not know and which may change what comes "
                    "out; if your Darknet does not know it either, delete the line"
                )

    def _parts(self, name: str) -> list[str]:
        text = self.options.get(name, "")
        return [part for part in text.split(",") if part]

    def _integer(self, name: str, text: str, least: int) -> int:
        if re.fullmatch(r"[+-]?\d{1,9}", text) is None:
            self.refuse(f"has {name}={text}, expected a whole number")
        value = int(text)
        if not least <= value <= LARGEST_NUMBER:
            self.refuse(f"has {name}={value}, expected {least} to {LARGEST_NUMBER}")
        return value

    def _number(self, name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.refuse(f"has {name}={text}, expected a number")
        return value


def read_cfg(path: Path) -> tuple[Section, list[Section]]:
    """The network's own section and those of its layers.

    As Darknet reads it: spaces and tabs count nowhere, lines that begin with ``#`` or ``;`` are comments, and of an
    option that stands there twice the first counts. Besides, a byte order mark, Windows' line ends, and comments
    behind values are passed over.

    Raises:
        CheckpointError: not there, not a text, or not of sections and options.
    """
    text = _text_of(path)
    sections: list[Section] = []
    for number, full in enumerate(text.splitlines(), 1):
        line = re.sub(r"\s", "", full)
        if not line or line[0] in "#;":
            continue
        line = line.partition("#")[0]
        if line[0] == "[":
            if not re.fullmatch(r"\[\w+\]", line):
                raise CheckpointError(f"{path}: line {number} is {full.strip()[:60]!r}, expected [layer]")
            sections.append(Section(path, line[1:-1], number, len(sections) - 1))
            continue
        name, equals, value = line.partition("=")
        if not sections or not equals or not name:
            raise CheckpointError(
                f"{path}: line {number} is {full.strip()[:60]!r}, expected "
                f"{'NAME=VALUE' if sections else '[net], with which a Darknet .cfg begins'}"
            )
        sections[-1].options.setdefault(name, value)
    if not sections or sections[0].kind not in NETWORK:
        first = f"[{sections[0].kind}]" if sections else "nothing"
        raise CheckpointError(f"{path} begins with {first}, expected [net] as in a Darknet .cfg")
    if len(sections) == 1:
        raise CheckpointError(f"{path} has no layers after [net]; is it cut short?")
    return sections[0], sections[1:]


def _text_of(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise CheckpointError(
                f"{path} has {size} bytes, and a Darknet .cfg has some thousand; give the .cfg as the source and "
                "the weights with --weights"
            )
        # Comments may be in any language and encoding; they alone are not ASCII.
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if "\0" in text:
        raise CheckpointError(f"{path} is not a text, as a Darknet .cfg is (it has zero bytes)")
    return text
