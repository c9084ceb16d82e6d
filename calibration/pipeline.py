"""From a float graph and calibration frames to an INT8 graph whose accuracy was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import onnx

from edgedet.calibration.fitting import fit
from edgedet.calibration.network import Array, Layer, Network, prepare
from edgedet.calibration.observe import Progress, observe, silent
from edgedet.calibration.regions import feature_layers
from edgedet.errors import CalibrationError

Target = Literal["cpu", "tensorrt"]
FEWEST_FRAMES = 2
"""One image cannot tell a range from an accident."""
FEW_FRAMES = 16


class Judge(Protocol):
    """Measures how good a graph is: COCO mAP on labelled images, or agreement with the fp32 graph.

    ``name`` goes onto the model card. ``digest`` identifies the images and settings behind the figure.
    """

    name: str
    digest: str

    def __call__(self, model: onnx.ModelProto) -> float:
        """A figure in [0, 1], larger is better, of a graph with the inputs and outputs of the float one."""


@dataclass(frozen=True)
class QuantiseOptions:
    """``target``: which dialect. ``max_drop``: how much of the judge's figure may be lost, absolute.

    ``over_budget``: what happens when that cannot be kept: ``refuse`` raises, ``keep_best`` returns the best graph.
    ``cache``: folder for what was measured, so that a killed run resumes; None keeps nothing.
    """

    target: Target = "tensorrt"
    max_drop: float = 0.01
    over_budget: Literal["refuse", "keep_best"] = "refuse"
    cache: Path | None = None
    threads: int | None = None


@dataclass(frozen=True)
class QuantisedGraph:
    """``model``: the Q/DQ graph. ``report``: JSON-ready, for ``card.measured["int8"]``.

    ``warnings``: sentences for the user (too few images, nothing gained on this machine).
    """

    model: onnx.ModelProto
    report: dict[str, Any]
    warnings: tuple[str, ...] = field(default=())


def quantise(
    model: onnx.ModelProto,
    frames: Sequence[Array],
    *,
    judge: Judge | None = None,
    options: QuantiseOptions = QuantiseOptions(),
    progress: Progress = silent,
) -> QuantisedGraph:
    """Quantise a float detector to INT8 with Q/DQ nodes.

    Args:
        model: a float graph with static shapes and one image input; it is not changed.
        frames: prepared inputs, each of the graph's input shape and dtype, as
            :class:`edgedet.preprocess.Preprocessor` makes them (:class:`edgedet.calibration.data.CalibrationFrames`
            does so lazily). Gone through several times.
        judge: measures accuracy; None means nothing is measured and nothing is given back.
        progress: called with (what, done, of).

    Raises:
        CalibrationError: too few frames, or frames the graph does not take.
        ArtifactError: a graph that is quantised already or of a hopeless operator set.
        AccuracyBudgetError: the drop cannot be kept inside the budget.
    """
    if len(frames) < FEWEST_FRAMES:
        raise CalibrationError(
            f"{len(frames)} calibration image: ranges taken from a single image clip every other one; "
            f"give at least {FEW_FRAMES}, better 100 or more, like those the device will see"
        )
    network = prepare(model)
    check_frames(network, frames)
    layers = feature_layers(network)
    if not layers:
        raise CalibrationError("the graph has no convolution or matrix product with constant weights to quantise")
    from edgedet.calibration import tensorrt

    chosen = [layer for layer in layers if not layer.depthwise]
    seen = observe(
        network,
        frames,
        list(dict.fromkeys(layer.input for layer in layers)),
        threads=options.threads,
        progress=progress,
    )
    fitted = fit(
        network,
        frames,
        chosen,
        seen,
        kind="s8" if options.target == "tensorrt" else "u8",
        threads=options.threads,
        progress=progress,
    )
    placed = tensorrt.place(network, fitted, chosen)
    onnx.checker.check_model(placed.model)
    return QuantisedGraph(placed.model, {"macs_int8": macs_share(layers, chosen)})


def macs_share(layers: Sequence[Layer], chosen: Sequence[Layer]) -> float:
    """Share of the multiply-adds of all weighted layers that ``chosen`` perform."""
    return sum(layer.multiply_adds for layer in chosen) / max(sum(layer.multiply_adds for layer in layers), 1)


def check_frames(network: Network, frames: Sequence[Array]) -> None:
    """Compare the first frame with the graph's input.

    Raises:
        CalibrationError: shape or dtype differ.
    """
    value = network.graph.input[0]
    shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    first = frames[0]
    agrees = len(shape) == first.ndim and all(s in (0, n) for s, n in zip(shape, first.shape, strict=True))
    if not agrees or first.dtype != dtype:
        raise CalibrationError(
            f"calibration frames are {first.dtype} {list(first.shape)}, the graph takes {dtype} {list(shape)}; "
            "prepare them with the model card's own pre-processing"
        )
