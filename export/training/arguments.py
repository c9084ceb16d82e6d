"""What a training script kept of its own arguments beside the tensors, under its own names.

A word that means one thing is taken for it; one that may mean several is not, and is named where a value is assumed
instead: nothing that a file says is passed over.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import repr as short
from typing import Any

from edgedet.errors import CheckpointError

from .settings import NOTHING_STATED, SECTION, TrainingSettings, read_settings

ARGUMENTS = ("hyper_parameters", "hparams", "config", "cfg", "args")
"""Keys of the arguments that training scripts keep, beside the tensors; Lightning's is ``hyper_parameters``."""

TOGETHER = (
    ("image_mean", "image_std"),
    ("anchor_sizes", "anchor_ratios"),
    ("default_box_ratios", "default_box_scales"),
)
"""Settings that say something only with one another."""

MEANS = ("mean", "pixel_mean", "img_mean", "norm_mean", "normalize_mean", "means")
"""Spellings of ``image_mean``; with ``std`` in the place of ``mean``, of ``image_std``."""
BGR = ("bgr", "is_bgr", "use_bgr")
RGB = ("rgb", "is_rgb", "use_rgb", "to_rgb", "bgr_to_rgb", "bgr2rgb")
ORDERS = (
    "channel_order", "channels_order", "color", "color_mode", "color_order", "color_format", "color_space",
    "colour_mode", "colour_order", "image_format", "input_format",
)  # fmt: skip
SIZES = (
    "input_size", "img_size", "image_size", "imgsz", "size", "resize", "input_shape", "input_resolution",
    "resolution", "train_size", "crop_size",
)  # fmt: skip
"""Words for the size of the network's input, or of a loader's pictures, which the network resizes again: only
``input_size`` is understood, and what agrees with the detector's own size."""
SMALLEST_SIDE = 16
WORDS = {
    "anchors": ("anchor_sizes", "default_box_scales"),
    "anchor_scales": ("anchor_sizes", "default_box_scales"),
    "scales": ("anchor_sizes", "default_box_scales"),
    "aspect_ratios": ("anchor_ratios", "default_box_ratios"),
    "anchor_aspect_ratios": ("anchor_ratios", "default_box_ratios"),
    "ratios": ("anchor_ratios", "default_box_ratios"),
    "variances": ("box_weights",),
    "variance": ("box_weights",),
    "bbox_reg_weights": ("box_weights",),
    "bn_eps": ("norm_eps",),
    "to_bgr": ("colour",),
    "rgb_to_bgr": ("colour",),
    "swap_rb": ("colour",),
}
"""Further words, and the settings that they are about; what they say of them is not taken."""

DEEPEST = 3


@dataclass(frozen=True)
class Arguments:
    """``settings``: by the place that says them. ``spelt``: how a place spells a setting, where otherwise.
    ``unread``: what is said of a setting, by its name, and could not be taken for its value. ``sizes``: (height,
    width) of everything that is called a size."""

    settings: Mapping[str, TrainingSettings] = field(default_factory=dict)
    spelt: Mapping[tuple[str, str], str] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    sizes: frozenset[tuple[int, int]] = frozenset()

    def names(self, place: str, names: Sequence[str]) -> str:
        """``names`` of settings for a report, with the words of ``place`` for them."""
        pairs = ((name, self.spelt.get((place, name))) for name in names)
        return ", ".join(f"{name} (its {word})" if word else name for name, word in pairs)


class _Reading:
    """What is found on the way: for every setting (place, word, value), and words that were not understood."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.found: dict[str, list[tuple[str, str, Any]]] = {}
        self.unread: dict[str, list[str]] = {}
        self.sizes: set[tuple[int, int]] = set()

    def take(self, name: str, place: str, word: str, value: Any) -> None:
        try:
            settings = read_settings({name: value}, where=place)
        except CheckpointError:
            self.pass_over(name, place, word, value)
            return
        if getattr(settings, name) is not None:
            self.found.setdefault(name, []).append((place, word, getattr(settings, name)))

    def pass_over(self, name: str, place: str, word: str, value: Any) -> None:
        if name in self.names:
            self.unread.setdefault(name, []).append(f"{_dotted(place, word)} = {short(value)}")


def arguments_of_checkpoint(content: Any, names: Sequence[str]) -> Arguments:
    """Read what stands beside the tensors of a checkpoint, in the places of :data:`ARGUMENTS` before others.

    Only settings in ``names`` are looked for: a name of another family's means something else there.
    """
    if not isinstance(content, Mapping):
        return Arguments()
    reading = _Reading(names)
    for place, values in _places(content):
        _read(reading, place, values)
    settings: dict[str, TrainingSettings] = {}
    spelt: dict[tuple[str, str], str] = {}
    for name, said in reading.found.items():
        # The setting's own name before other words for it.
        plain = [each for each in said if each[1] == name] or said
        if any(value != plain[0][2] for _, _, value in plain):
            for place, word, value in plain:
                reading.pass_over(name, place, word, value)
            continue
        place, word, value = plain[0]
        settings[place] = TrainingSettings(**{name: value}).over(settings.get(place, NOTHING_STATED))
        if word != name:
            spelt[place, name] = word
    for place, kept in settings.items():
        for together in TOGETHER:
            lone = [name for name in together if getattr(kept, name) is not None]
            if 0 < len(lone) < len(together):
                for name in lone:
                    missing = ", ".join(each for each in together if each not in lone)
                    value = getattr(kept, name)
                    for each in together:
                        reading.unread.setdefault(each, []).append(
                            f"{_dotted(place, spelt.get((place, name), name))} = {short(value)} without {missing}"
                        )
                kept = dataclasses.replace(kept, **dict.fromkeys(together))  # noqa: PLW2901
        settings[place] = kept
    return Arguments(
        {place: kept for place, kept in settings.items() if kept.stated()},
        spelt,
        {name: ", ".join(dict.fromkeys(words)) for name, words in reading.unread.items()},
        frozenset(reading.sizes),
    )


def _places(content: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping that may be arguments, by its dotted name; "" is the checkpoint itself."""
    ordered = [key for key in ARGUMENTS if key in content] + [key for key in content if key not in ARGUMENTS]
    waiting = [(str(key), content[key], 1) for key in ordered if key != SECTION]
    while waiting:
        place, value, depth = waiting.pop(0)
        values = vars(value) if isinstance(value, argparse.Namespace) else value
        if not isinstance(values, Mapping) or depth > DEEPEST or "param_groups" in values:
            continue
        if any(hasattr(each, "dtype") and getattr(each, "ndim", 0) > 1 for each in values.values()):
            continue  # tensors of a network
        yield place, values
        waiting.extend((f"{place}.{key}", each, depth + 1) for key, each in values.items() if isinstance(key, str))
    yield "", content


def _read(reading: _Reading, place: str, values: Mapping[str, Any]) -> None:
    for name in reading.names:
        if values.get(name) is not None:
            reading.take(name, place, name, _as_meant(name, values[name]))
    _read_mean(reading, place, values)
    _read_colour(reading, place, values)
    _read_sizes(reading, place, values)
    for word, about in WORDS.items():
        value = values.get(word)
        if isinstance(value, bool | list | tuple | float):
            for name in about:
                reading.pass_over(name, place, word, value)


def _as_meant(name: str, value: Any) -> Any:
    """``value`` in the form that the setting has: one number for both sides."""
    if name == "input_size":
        size = _size(value)
        return value if size is None else list(size)
    if name == "min_size" and isinstance(value, list | tuple) and value:
        return value[-1]  # training takes one by chance, inference the last
    if name == "colour" and isinstance(value, str):
        return value.upper()
    return value


def _read_mean(reading: _Reading, place: str, values: Mapping[str, Any]) -> None:
    for word in MEANS:
        for name, spelling in (("image_mean", word), ("image_std", word.replace("mean", "std"))):
            value = _three(values.get(spelling))
            if value is not None:
                reading.take(name, place, spelling, value)


def _read_colour(reading: _Reading, place: str, values: Mapping[str, Any]) -> None:
    for words, when, otherwise in ((BGR, "BGR", "RGB"), (RGB, "RGB", None)):
        for word in words:
            value = values.get(word)
            if isinstance(value, bool):
                said = when if value else otherwise
                if said is None:
                    reading.pass_over("colour", place, word, value)
                else:
                    reading.take("colour", place, word, said)
    for word in ORDERS:
        value = values.get(word)
        if isinstance(value, str) and value:
            reading.take("colour", place, word, value.upper())


def _read_sizes(reading: _Reading, place: str, values: Mapping[str, Any]) -> None:
    about = [name for name in ("input_size", "min_size", "max_size") if name in reading.names]
    for word in SIZES:
        size = _size(values.get(word))
        if size is None or word in about:
            continue
        reading.sizes.add(size)
        for name in about:
            reading.pass_over(name, place, word, values[word])


def _size(value: Any) -> tuple[int, int] | None:
    """(height, width) of one side for both, of two sides, or of a tensor's shape without its batch."""
    if isinstance(value, list | tuple) and len(value) == 3 and value[0] in (1, 3):
        value = value[1:]
    sides = (value, value) if isinstance(value, int) else value
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    if not all(isinstance(side, int) and not isinstance(side, bool) and side >= SMALLEST_SIDE for side in sides):
        return None
    return sides[0], sides[1]


def _three(value: Any) -> list[float] | None:
    value = value.tolist() if hasattr(value, "tolist") else value
    whole = isinstance(value, list | tuple) and len(value) == 3
    if not whole or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value):
        return None
    return [float(each) for each in value]


def _dotted(place: str, word: str) -> str:
    return f"{place}.{word}" if place else word
