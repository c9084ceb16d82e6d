"""What a dialect would make INT8 of a float graph, before anything is measured; one pass over pictures for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx

from edgedet.errors import CalibrationError
from edgedet.onnx_graph.network import Array, Layer, Network

from .decoder_boundary import feature_layers
from .dialect import Dialect, Unit
from .effort import Effort
from .first_pass import FirstPass, first_pass


@dataclass(frozen=True)
class Offer:
    """What may become INT8: a float graph, its ``layers``, the ``units`` to try, and why layers are in none."""

    network: Network
    layers: list[Layer]
    units: list[Unit]
    reasons: dict[str, str]


def offered(dialect: Dialect, network: Network) -> Offer:
    """What there is to choose from.

    Raises:
        CalibrationError: nothing in the graph can be INT8.
    """
    network = dialect.adapt(network)
    layers = feature_layers(network)
    if not layers:
        raise CalibrationError("the graph has no convolution or matrix product with constant weights to quantise")
    return Offer(network, layers, *dialect.units(network, layers))


def pass_over(
    frames: Sequence[Array],
    offer: Offer,
    dialect: Dialect,
    effort: Effort,
    *,
    opening: Callable[[onnx.ModelProto], onnx.ModelProto],
    threads: int | None,
) -> FirstPass | None:
    """One pass for the judge and for ranges; None where it is not known yet of what, or two take less time.

    ``opening``: makes of the graph the one that the judge wants.
    """
    if not dialect.settled:
        return None
    layers = [layer for unit in offer.units for layer in unit.layers]
    tensors = [*(layer.input for layer in layers), *dialect.tensors(offer.network, offer.units)]
    return first_pass(offer.network, tensors, layers, frames, effort, opening=opening, threads=threads)
