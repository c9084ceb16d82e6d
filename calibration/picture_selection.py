"""Which made pictures are fit to calibrate on: those the detector answers to, as strongly as training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.errors import CalibrationError
from edgedet.onnx_graph.network import Array, Layer

from .float_responses import Answer
from .training_statistics import Statistics

BEST_SHARE = 0.25
"""Share of the pictures, those with the largest response, that say how strongly layers answer to what is known."""
ALIKE = 1.0
"""log2 of the factor that a layer's strength may differ by and be called alike."""
MIN_ALIKE_SHARE = 0.8
"""Minimum share of the layers that have to be alike."""
FAR = 2.0
"""log2 of the factor from which a layer is far from what training saw."""
SAME = 1e-4
"""Difference, as a share of what there is, that float32 sums cannot tell from none."""
DEAD_SHARE = 0.5
"""Share of the layers that may be constant."""


@dataclass(frozen=True)
class Chosen:
    """Indices of the pictures to calibrate on (``calibrate``) and to be judged by (``judge``), and what was seen.

    Attributes:
        alike: pictures, of all, that excite most layers as they should be.
        strengths: of every layer with statistics, on the chosen pictures: its deviation over that of training.
        trusted: those layers whose statistics agree with the pictures that the detector answers to best.
    """

    calibrate: tuple[int, ...]
    judge: tuple[int, ...]
    alike: int
    strengths: dict[str, float]
    trusted: tuple[str, ...]


def choose(
    answers: Sequence[Answer],
    layers: Sequence[Layer],
    channels: Sequence[slice],
    statistics: Statistics,
    *,
    calibrate: int,
    judge: int,
) -> Chosen:
    """Choose among pictures by the answers to them.

    Of a detector for pale slides, pictures of anything else excite its layers ten times as strongly as its own
    frames do, and ranges from them leave nothing of it. A detector's own frames are not at hand; pictures in which
    it finds something are as near to them as made pictures come, and those that excite its layers like these, or
    like training did, are not far.

    Args:
        answers: to every picture.
        layers, channels: as :class:`edgedet.calibration.float_responses.Questions` has them.
        statistics: what training saw, where it is known.
        calibrate, judge: how many are wanted for either.
    """
    means = np.stack([answer.means for answer in answers]).astype(np.float64)
    squares = np.stack([answer.squares for answer in answers]).astype(np.float64)
    response = np.array([answer.response for answer in answers])
    by_response = np.argsort(-response, kind="stable")
    best = by_response[: max(int(len(answers) * BEST_SHARE), 1)]
    differ = np.zeros((len(answers), len(layers)))
    trusted, known = [], {}
    for column, (layer, piece) in enumerate(zip(layers, channels, strict=True)):
        mean, square = means[:, piece], squares[:, piece]
        seen = statistics.get(layer.output)
        if seen is not None:
            known[column] = _strength(mean, square, seen.mean, seen.deviation)
            if abs(np.median(known[column][best])) <= ALIKE:
                trusted.append(layer.name)
                differ[:, column] = known[column]
                continue
        middle = mean[best].mean(axis=0)
        spread = np.sqrt(np.maximum(square[best].mean(axis=0) - middle**2, 0))
        differ[:, column] = _strength(mean, square, middle, spread)
    distance = np.quantile(np.abs(differ), MIN_ALIKE_SHARE, axis=1) if len(layers) else np.zeros(len(answers))
    alike = distance <= ALIKE
    # Pictures that are alike, those first that are answered to; then the least different of the others.
    order = [
        *(i for i in by_response if alike[i]),
        *(i for i in np.argsort(distance, kind="stable") if not alike[i]),
    ]
    taken = [int(i) for i in order[: calibrate + judge]]
    held = set(taken[1 :: max(len(taken) // max(judge, 1), 2)][:judge])
    chosen = [i for i in taken if i not in held]
    strengths = {layers[column].name: float(2 ** np.median(values[taken])) for column, values in known.items()}
    return Chosen(tuple(sorted(chosen)), tuple(sorted(held)), int(alike.sum()), strengths, tuple(trusted))


def _strength(mean: Array, square: Array, middle: Array, spread: Array) -> Array:
    """log2 of how far the channels of pictures [n, C] go from ``middle`` [C], over ``spread`` [C]: float64 [n]."""
    power = (square - 2 * mean * middle + middle**2).mean(axis=1)
    return np.log2(np.sqrt(np.maximum(power, 1e-30)) / np.sqrt(np.maximum(np.mean(spread**2), 1e-30)))


def require_alive(answers: Sequence[Answer], layers: Sequence[Layer], channels: Sequence[slice]) -> None:
    """Refuse a network of which pictures show nothing.

    Raises:
        CalibrationError: values that are no numbers, or most layers give the same whatever is seen.
    """
    means = np.stack([answer.means for answer in answers]).astype(np.float64)
    squares = np.stack([answer.squares for answer in answers]).astype(np.float64)
    broken = [
        layer.name
        for layer, piece in zip(layers, channels, strict=True)
        if not np.isfinite(means[:, piece]).all() or not np.isfinite(squares[:, piece]).all()
    ]
    if broken:
        raise CalibrationError(
            f"the network gives values that are no numbers on made pictures, first in {broken[0]}: it cannot be "
            "quantised; look at the checkpoint, or give pictures of your own with --calib"
        )
    constant = [
        layer.name
        for layer, piece in zip(layers, channels, strict=True)
        if _constant(means[:, piece], squares[:, piece])
    ]
    if layers and len(constant) > DEAD_SHARE * len(layers):
        raise CalibrationError(
            f"the network is dead or saturated on made pictures: {len(constant)} of its {len(layers)} layers give "
            f"the same whatever is seen, first {constant[0]}. Nothing can be calibrated on that: give pictures "
            "like those the device will see with --calib, or look at the checkpoint and at how its input is scaled"
        )


def _constant(means: Array, squares: Array) -> bool:
    """Whether every picture gives the same, as far as float32 sums can tell.

    Variation between positions is not asked for: zeros beyond the border make some of constants, too.
    """
    power = np.maximum(squares.mean(axis=0), 1e-20)
    moved = np.ptp(means, axis=0) <= SAME * np.sqrt(power)
    return bool((moved & (np.ptp(squares, axis=0) <= SAME * power)).all())
