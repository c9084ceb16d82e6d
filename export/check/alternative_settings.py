"""What else a detector may have been trained with, where nothing says: the values in real use, by setting."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ..training.settings import TrainingSettings

Family = Literal["ssd", "faster_rcnn"]

NORMALISATIONS = (
    ("ImageNet's mean and deviation", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ("-1..1", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ("0..1 as it is", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ("0..255 as it is", (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
    # arXiv:1409.1556's training set, as Caffe's VGG16 takes it; torchvision's SSD300 has the rounded one.
    ("0..255 less VGG's mean", (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)),
    ("0..1 less ImageNet's mean", (0.485, 0.456, 0.406), (1.0, 1.0, 1.0)),
)
"""Mean and deviation of RGB in 0..1, as this is how settings are stated."""

STRETCHED_TO = (224, 256, 300, 320, 384, 416, 512, 640, 800)
SHORTEST_AND_LONGEST = (
    (240, 320), (256, 512), (300, 500), (320, 640), (416, 416), (480, 640), (512, 512), (600, 1000), (640, 640),
    (640, 1333), (800, 1333), (1024, 1024),
)  # fmt: skip
NEAR = (0.5, 2.5)
"""Sizes from half of what was assumed to two and a half times it."""

TENTHS: Any = (10.0, 10.0, 5.0, 5.0)
"""One over the variances 0.1 and 0.2 of SSD and of Faster R-CNN's second stage."""
ONES: Any = (1.0, 1.0, 1.0, 1.0)

DEFAULT_BOX_SCALES = (
    ("Caffe's SSD300 for COCO", (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)),
    ("Caffe's SSD300 for VOC", (0.1, 0.2, 0.37, 0.54, 0.71, 0.88, 1.05)),
    ("60 to 285 of 300 pixels", (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.1)),
)
CAFFE_STEPS = (8.0, 16.0, 32.0, 64.0, 100.0, 300.0)
"""Steps of SSD300's six levels, in pixels."""

ANCHOR_SIDES: dict[int, tuple[tuple[float, ...], ...]] = {
    3: ((128, 256, 512), (64, 128, 256), (32, 64, 128)),
    4: ((64, 128, 256, 512), (32, 64, 128, 256), (16, 32, 64, 128)),
    5: ((32, 64, 128, 256, 512), (16, 32, 64, 128, 256)),
}
"""Sides of all levels alike, by how many a place has: the Faster R-CNN paper's (arXiv:1506.01497) and the smaller
ones people put in their place, TensorFlow's and Detectron's."""

PYRAMID_SIDES = (32.0, 64.0, 128.0, 256.0, 512.0)
"""One for each level of a pyramid (arXiv:1612.03144)."""

EPSILONS = (0.0, 1e-5, 1e-3)


@dataclass(frozen=True)
class Alternative:
    """Another value of an assumed setting: ``what`` it is (as in the assumption), the ``value`` in words, and the
    ``settings`` that state it, all others None."""

    what: str
    value: str
    settings: TrainingSettings


def alternatives(family: Family, current: TrainingSettings, unsaid: Collection[str]) -> tuple[Alternative, ...]:
    """What to try in place of ``current``, which says everything; only names in ``unsaid`` are touched.

    Every setting has a value of the same kind and number as the current one, so that the tensors still fit.
    """
    rules = [_colour, _normalisation, _background, _box_weights]
    rules += [_stretched, _default_boxes] if family == "ssd" else [_shortest_side, _anchors, _pooling]
    rules.append(_epsilon)
    found: list[Alternative] = []
    seen: list[dict[str, Any]] = []
    now = {name: value for name, value in vars(current).items() if name in unsaid}
    for rule in rules:
        for what, value, settings in rule(current):
            changed = {name: settings[name] for name in settings if name in unsaid}
            if changed and changed not in seen and changed.items() - now.items():
                seen.append(changed)
                found.append(Alternative(what, value, TrainingSettings(**changed)))
    return tuple(found)


Found = Iterator[tuple[str, str, dict[str, Any]]]


def _colour(current: TrainingSettings) -> Found:
    yield ("colour", "RGB", {"colour": "RGB"}) if current.colour == "BGR" else ("colour", "BGR", {"colour": "BGR"})


def _background(current: TrainingSettings) -> Found:
    other = "first" if current.background == "last" else "last"
    yield "background", f"the {other} class", {"background": other}


def _normalisation(current: TrainingSettings) -> Found:
    for words, mean, std in NORMALISATIONS:
        # Settings are in the order of the channels that training saw.
        turned = -1 if current.colour == "BGR" else 1
        yield "mean/std", words, {"image_mean": mean[::turned], "image_std": std[::turned]}


def _box_weights(current: TrainingSettings) -> Found:
    for weights in (TENTHS, ONES):
        yield "box weights", numbers(weights), {"box_weights": weights}
        if current.rpn_box_weights is None:
            continue
        for proposals in (TENTHS, ONES):
            value = {"box_weights": weights, "rpn_box_weights": proposals}
            yield "box weights", f"{numbers(weights)}, of proposals {numbers(proposals)}", value


def _stretched(current: TrainingSettings) -> Found:
    assert current.input_size is not None
    for side in STRETCHED_TO:
        if all(NEAR[0] <= side / now <= NEAR[1] for now in current.input_size):
            yield "input size", f"{side}x{side}", {"input_size": (side, side)}


def _shortest_side(current: TrainingSettings) -> Found:
    assert current.min_size is not None
    for shortest, longest in SHORTEST_AND_LONGEST:
        if NEAR[0] <= shortest / current.min_size <= NEAR[1]:
            words = f"shortest side {shortest}, longest {longest}"
            yield "input size", words, {"min_size": shortest, "max_size": longest}


def _default_boxes(current: TrainingSettings) -> Found:
    scales, ratios = current.default_box_scales, current.default_box_ratios
    assert scales is not None and ratios is not None
    levels = len(ratios)
    sets = [
        ("the SSD paper's formula, scales 0.2 to 0.9", _formula(0.2, 0.9, levels)),
        ("torchvision's SSDLite, scales 0.2 to 0.95", _formula(0.2, 0.95, levels)),
        *((words, values) for words, values in DEFAULT_BOX_SCALES if len(values) == len(scales)),
        ("half as large", tuple(scale / 2 for scale in scales)),
        ("twice as large", tuple(scale * 2 for scale in scales)),
    ]
    steps: list[tuple[str, tuple[float, ...]]] = [("", current.default_box_steps or ())]
    if current.default_box_steps:
        steps.append((", on the feature maps' own grid", ()))
    elif levels == len(CAFFE_STEPS) and current.input_size == (300, 300):
        steps.append((", on SSD300's grid", CAFFE_STEPS))
    rest = {"default_box_ratios": ratios, "default_box_clip": current.default_box_clip}
    for words, grid in steps:
        for name, values in (*sets, ("as they are", scales)):
            yield (
                "default boxes",
                f"{name}{words}",
                {"default_box_scales": values, "default_box_steps": grid, **rest},
            )


def _formula(smallest: float, largest: float, levels: int) -> tuple[float, ...]:
    """arXiv:1512.02325, section 2.2, and the whole picture behind the last level."""
    step = (largest - smallest) / max(levels - 1, 1)
    return (*(round(smallest + step * level, 6) for level in range(levels)), 1.0)


def _anchors(current: TrainingSettings) -> Found:
    sizes, ratios = current.anchor_sizes, current.anchor_ratios
    assert sizes is not None and ratios is not None

    def named(words: str, sides: Any, by: Any = ratios) -> tuple[str, str, dict[str, Any]]:
        return "anchors", words, {"anchor_sizes": sides, "anchor_ratios": by}

    for factor, words in ((0.5, "half as large"), (2.0, "twice as large")):
        yield named(words, tuple(tuple(side * factor for side in level) for level in sizes))
    alike = len({len(level) for level in sizes}) == 1
    for sides in ANCHOR_SIDES.get(len(sizes[0]), ()) if alike else ():
        yield named(f"sides {numbers(sides)}", (tuple(map(float, sides)),) * len(sizes))
    if alike and len(sizes[0]) == 1 and len(sizes) == len(PYRAMID_SIDES):
        yield named(f"sides {numbers(PYRAMID_SIDES)}, one a level", tuple((side,) for side in PYRAMID_SIDES))
    turned = tuple(tuple(round(1 / ratio, 6) for ratio in level) for level in ratios)
    yield named("ratios taken as width / height", sizes, turned)


def _pooling(current: TrainingSettings) -> Found:
    names = (
        "pool_size", "pool_sampling_ratio", "pool_levels", "pool_canonical_scale", "pool_canonical_level",
    )  # fmt: skip
    now = {name: getattr(current, name) for name in names}
    for samples in (0, 2, 1):
        words = "as many samples as a bin has pixels" if samples == 0 else f"{samples} samples a bin and side"
        yield "RoIAlign", words, now | {"pool_sampling_ratio": samples}
    if current.pool_levels is not None and len(current.pool_levels) > 1:
        yield "RoIAlign", "the finest level alone", now | {"pool_levels": current.pool_levels[:1]}
        for scale in (224, 112):
            yield "RoIAlign", f"canonical scale {scale}", now | {"pool_canonical_scale": scale}


def _epsilon(current: TrainingSettings) -> Found:
    for eps in EPSILONS:
        yield "BatchNorm's eps", f"{eps:g}", {"norm_eps": eps}


def numbers(values: Any) -> str:
    """For people.

    >>> numbers((10.0, 0.5))
    '10 0.5'
    """
    return " ".join(f"{value:.4g}" for value in values if math.isfinite(value))
