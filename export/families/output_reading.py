"""How the outputs of any foreign graph are read, as data, and as the words of ``--outputs``.

``boxes=dets:xyxy@input, scores=labels:softmax+bg`` names what is read from which output, and how;
docs/checkpoints.md has the whole grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NoReturn

from edgedet.errors import UsageError

from .default_boxes import SETS

BoxWords = Literal["xyxy", "cxcywh", "xywh", "yxyx", "offsets", "offsets_yx"]
Unit = Literal["input", "unit"]
Activation = Literal["none", "sigmoid", "softmax"]
Background = Literal["first", "last"]
Suppression = Literal["all", "best", "done"]
Resizing = Literal["stretch", "letterbox", "letterbox_top_left"]

BOX_WORDS = ("xyxy", "cxcywh", "xywh", "yxyx", "offsets", "offsets_yx")
ACTIVATIONS = ("none", "sigmoid", "softmax")
RESIZING = ("stretch", "letterbox", "letterbox_top_left")
BACKGROUNDS: dict[str, Background] = {"+bg": "first", "+bg_last": "last"}
KEYS = ("boxes", "scores", "objectness", "labels", "count", "priors", "nms", "image")

GRAMMAR = (
    "boxes=OUTPUT:xyxy|cxcywh|xywh|yxyx@input|unit, scores=OUTPUT:none|sigmoid|softmax[+bg|+bg_last] "
    "[, objectness=OUTPUT[:sigmoid]] [, labels=OUTPUT[:from1]] [, count=OUTPUT] [, nms=all|best|done] "
    "[, image=rgb|bgr[-MEAN][/STD][:stretch|letterbox|letterbox_top_left]]; OUTPUT may end in [4:] or [0:4]"
)

_ENTRY = re.compile(r",\s*(?=(?:" + "|".join(KEYS) + r")\s*=)")
_SLICE = re.compile(r"\[(\d*)(:?)(\d*)\]$")
_NUMBERS = r"\d+(?:\.\d+)?(?:,\s*\d+(?:\.\d+)?){0,2}"
_IMAGE = re.compile(rf"(rgb|bgr)(?:-({_NUMBERS}))?(?:/({_NUMBERS}))?(?::(\w+))?$")


@dataclass(frozen=True)
class Part:
    """What of a tensor: all of it, or of every anchor's numbers those from ``start`` on, before ``stop``."""

    tensor: str
    start: int = 0
    stop: int | None = None

    def text(self) -> str:
        """As the grammar writes it."""
        if self.start == 0 and self.stop is None:
            return self.tensor
        if self.stop == self.start + 1:
            return f"{self.tensor}[{self.start}]"
        return f"{self.tensor}[{self.start or ''}:{'' if self.stop is None else self.stop}]"


@dataclass(frozen=True)
class Picture:
    """What the network was trained on: ``(pixel - mean) / std`` of 0..255, in ``colour`` order."""

    colour: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (255.0, 255.0, 255.0)
    resizing: Resizing = "letterbox"

    def settings(self) -> dict[str, Any]:
        """``scale``, ``mean`` and ``std`` of an :class:`~edgedet.artifacts.card.InputSpec`."""
        mean, std = (tuple(value / 255 for value in values) for values in (self.mean, self.std))
        return {"scale": 1 / 255, "mean": mean, "std": std}

    def text(self) -> str:
        """As the grammar writes it."""
        mean = f"-{_joined(self.mean)}" if any(self.mean) else ""
        std = f"/{_joined(self.std)}" if set(self.std) != {1.0} else ""
        return f"{self.colour.lower()}{mean}{std}:{self.resizing}"


@dataclass(frozen=True)
class Reading:
    """Which tensors hold what, and in what form.

    Attributes:
        boxes, box_words: four numbers an anchor. ``offsets`` are those of SSD from its default boxes, x first, and
            ``offsets_yx`` y first.
        unit: ``input``: pixels of the network's input; ``unit``: shares of it.
        scores, activation, background: one number a class, and what makes probabilities of them; ``background``
            is which of them is that of nothing.
        objectness, objectness_activation: a number by which all scores of an anchor are multiplied.
        labels, first_label: the class number of every box, where it has one score; what class 0 is called.
        count: how many of the boxes are any.
        priors: default boxes cx, cy, w, h as shares [A, 4] of ``offsets``: a tensor, or a name of
            :data:`~.default_boxes.SETS`.
        nms: ``all``: every class suppresses for itself; ``best``: a box has its best class only; ``done``: nothing
            is left to suppress.
        picture: None where nothing says.
    """

    boxes: Part
    box_words: BoxWords
    unit: Unit
    scores: Part
    activation: Activation = "none"
    background: Background | None = None
    objectness: Part | None = None
    objectness_activation: Literal["none", "sigmoid"] = "none"
    labels: Part | None = None
    first_label: Literal[0, 1] = 0
    count: Part | None = None
    priors: str | None = None
    nms: Suppression = "all"
    picture: Picture | None = field(default=None)

    def tensors(self) -> tuple[Part, ...]:
        """Everything that is read from the network."""
        values = [getattr(self, name.name) for name in fields(self)]
        priors = [] if self.priors is None or self.priors in SETS else [Part(self.priors)]
        return tuple(value for value in (*values, *priors) if isinstance(value, Part))

    def text(self) -> str:
        """The reading in the words of ``--outputs``.

        >>> text = "boxes=dets:xyxy@input, scores=labels:softmax+bg, image=rgb-127/128:stretch"
        >>> parse_reading(text).text() == text
        True
        """
        unit = "" if self.box_words.startswith("offsets") else f"@{self.unit}"
        background = "" if self.background is None else "+bg" if self.background == "first" else "+bg_last"
        said = [f"boxes={self.boxes.text()}:{self.box_words}{unit}"]
        said.append(f"scores={self.scores.text()}:{self.activation}{background}")
        if self.objectness is not None:
            activation = ":sigmoid" if self.objectness_activation == "sigmoid" else ""
            said.append(f"objectness={self.objectness.text()}{activation}")
        if self.labels is not None:
            said.append(f"labels={self.labels.text()}{':from1' if self.first_label else ''}")
        if self.count is not None:
            said.append(f"count={self.count.text()}")
        if self.priors is not None:
            said.append(f"priors={self.priors}")
        if self.nms != "all":
            said.append(f"nms={self.nms}")
        if self.picture is not None:
            said.append(f"image={self.picture.text()}")
        return ", ".join(said)


def parse_reading(text: str) -> Reading:
    """The reading that ``--outputs`` states.

    Raises:
        UsageError: words that are none of the grammar's, with the place.

    >>> parse_reading("boxes=out[:4]:cxcywh@input, objectness=out[4], scores=out[5:]:none, nms=best").scores
    Part(tensor='out', start=5, stop=None)
    >>> parse_reading("boxes=dets:xyxy@input")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    edgedet.errors.UsageError: --outputs: scores= is missing. The grammar: ...
    """
    said: dict[str, str] = {}
    for entry in _ENTRY.split(text.strip()):
        key, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or key not in KEYS or not value:
            _refuse(f"{entry.strip()!r} is not one of {', '.join(f'{name}=' for name in KEYS)}")
        if key in said:
            _refuse(f"{key}= stands there twice")
        said[key] = value
    for key in ("boxes", "scores"):
        if key not in said:
            _refuse(f"{key}= is missing")
    boxes, box_words, unit = _boxes(said["boxes"])
    scores, activation, background = _scores(said["scores"])
    reading = Reading(boxes, box_words, unit, scores, activation, background, priors=said.get("priors"))
    return _with_rest(reading, said)


def _with_rest(reading: Reading, said: dict[str, str]) -> Reading:
    if "objectness" in said:
        part, word = _words(said["objectness"], ("none", "sigmoid"))
        reading = replace(reading, objectness=part, objectness_activation=word or "none")  # type: ignore[arg-type]
    if "labels" in said:
        part, word = _words(said["labels"], ("from0", "from1"))
        reading = replace(reading, labels=part, first_label=1 if word == "from1" else 0)
    if "count" in said:
        reading = replace(reading, count=_part(said["count"]))
    if "nms" in said:
        if said["nms"] not in ("all", "best", "done"):
            _refuse(f"nms={said['nms']} is none of nms=all, nms=best, nms=done")
        reading = replace(reading, nms=said["nms"])  # type: ignore[arg-type]
    if "image" in said:
        reading = replace(reading, picture=_picture(said["image"]))
    if (reading.priors is not None) != reading.box_words.startswith("offsets"):
        _refuse("priors=TENSOR, a set of default boxes, goes with boxes=OUTPUT:offsets and with nothing else")
    if reading.labels is not None and reading.background is not None:
        _refuse("scores beside labels= are one a box, none of which is that of the background")
    return reading


def _boxes(value: str) -> tuple[Part, BoxWords, Unit]:
    name, _, words = value.rpartition(":")
    form, at, unit = words.partition("@")
    if not name or form not in BOX_WORDS:
        _refuse(f"boxes={value} does not say which numbers: end it in :{', :'.join(BOX_WORDS[:4])} or :offsets")
    if form.startswith("offsets"):
        if at:
            _refuse(f"boxes={value}: offsets have no unit, drop @{unit}")
        return _part(name), form, "unit"  # type: ignore[return-value]
    if unit not in ("input", "unit"):
        _refuse(f"boxes={value} does not say of what: end it in @input (pixels of the network's input) or @unit "
                "(shares of it)")  # fmt: skip
    return _part(name), form, unit  # type: ignore[return-value]


def _scores(value: str) -> tuple[Part, Activation, Background | None]:
    name, _, words = value.rpartition(":")
    word, _, rest = words.partition("+")
    background = f"+{rest}" if "+" in words else ""
    if not name or word not in ACTIVATIONS or background not in ("", *BACKGROUNDS):
        _refuse(
            f"scores={value} does not say what is done to them: end it in :none (they are from 0 to 1), :sigmoid "
            "or :softmax, and +bg or +bg_last where the first or last is that of the background"
        )
    return _part(name), word, BACKGROUNDS.get(background)  # type: ignore[return-value]


def _words(value: str, known: tuple[str, ...]) -> tuple[Part, str]:
    name, _, word = value.rpartition(":")
    return (_part(name), word) if name and word in known else (_part(value), "")


def _part(text: str) -> Part:
    """A tensor's name may hold anything, colons too; only what ends it in brackets is a slice."""
    found = _SLICE.search(text)
    if found is None:
        return Part(text)
    start, colon, stop = found.groups()
    name = text[: found.start()]
    if not name or (not start and not stop) or (stop and int(stop) <= int(start or 0)):
        _refuse(
            f"{text} is no part of an output; expected such as {name or 'OUTPUT'}[4] or {name or 'OUTPUT'}[0:4]"
        )
    if not colon:
        return Part(name, int(start), int(start) + 1)
    return Part(name, int(start or 0), int(stop) if stop else None)


def _picture(text: str) -> Picture:
    found = _IMAGE.match(text)
    if found is None or (found[4] or "letterbox") not in RESIZING:
        _refuse(
            f"image={text} is not understood; expected rgb or bgr, what is subtracted from pixels of 0..255 and "
            f"what they are divided by, and one of {', '.join(RESIZING)}: image=rgb-127/128:stretch"
        )
    std = _triple(found[3] or "1")
    if 0.0 in std:
        _refuse(f"image={text} divides by 0")
    return Picture(found[1].upper(), _triple(found[2] or "0"), std, found[4] or "letterbox")  # type: ignore[arg-type]


def _triple(text: str) -> tuple[float, float, float]:
    numbers = [float(part) for part in text.split(",")]
    if len(numbers) == 2:
        _refuse(f"image=: {text} are two numbers, expected one, or one for each of three channels")
    return (numbers[0], numbers[-1] if len(numbers) == 1 else numbers[1], numbers[-1])


def _joined(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _refuse(what: str) -> NoReturn:
    raise UsageError(f"--outputs: {what}. The grammar: {GRAMMAR}")
