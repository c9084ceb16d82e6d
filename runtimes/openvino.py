"""OpenVINO: graphs on CPUs, read as they are, with its own rules where they decide boxes set to ONNX's.

What differs from ONNX's rules, in 2026.4: non-maximum suppression also suppresses at an IoU *equal* to the
threshold, TopK orders equal values at will, and on CPUs with bfloat16 units everything is computed in it. All three
are set right here, on the graph as it is read.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.errors import ArtifactError, UsageError

from .base import Array, TensorSpec, require_input, require_outputs, threads_in_words
from .heap_trimming import return_free_memory
from .openvino_library import openvino
from .openvino_topk import order_ties

SUPPRESSION = "NonMaxSuppression"
IOU_THRESHOLD = 3
"""Place of the threshold among the inputs of a suppression."""


def open(
    path: Path,
    *,
    card: ModelCard,
    threads: int | None = None,
    device: str | None = None,
    content: bytes | None = None,
    lanes: int = 1,
) -> OpenVino:
    """Open a graph.

    ``threads``: CPU threads, None for OpenVINO's own choice. ``device``: ``cpu`` or None. ``content``: the graph's
    bytes in place of the file, with all its weights inside. ``lanes``: runs at the same time; of more than one,
    each takes one thread.

    Raises:
        ArtifactError: OpenVINO cannot load the graph.
        UsageError: a device it is not used on.
    """
    if device not in (None, "cpu"):
        raise UsageError(f"unknown device {device!r} for openvino; expected cpu")
    return OpenVino(path, card, threads=threads if lanes == 1 else lanes, content=content, lanes=lanes)


class OpenVino:
    """One compiled network and one request. See :class:`edgedet.runtimes.base.Runtime`."""

    def __init__(
        self, path: Path, card: ModelCard, *, threads: int | None, content: bytes | None = None, lanes: int = 1
    ) -> None:
        self.card = card
        self.device: Literal["cpu", "gpu"] = "cpu"
        settings: dict[str, Any] = {
            # Else bfloat16 wherever the CPU has it, whatever the card says.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": lanes,
            # Else the threads of every network are tied to the same first cores: two networks with a thread each
            # share one core, and on a busy machine they wait for it while others are free.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            model = core.read_model(path if content is None else content)
            follow_onnx(model)
            compiled = core.compile_model(model, "CPU", settings)
            self._compiled: Any = compiled
            self._request = compiled.create_infer_request()
        except Exception as error:  # the bindings raise plain RuntimeError for all of it
            raise ArtifactError(f"OpenVINO cannot load {path}: {_reason(error)}") from error
        return_free_memory()
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)
        require_input(path, card.input, self.inputs, remedy="export it again")
        require_outputs(path, self.outputs)
        self._ports = dict(zip((spec.name for spec in self.outputs), compiled.outputs, strict=True))
        version = openvino.__version__.partition("-")[0]
        self.description = f"openvino {version} CPU, {threads_in_words(threads, lanes)}"

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Execute once; see :class:`edgedet.runtimes.base.Runtime`.

        Raises:
            ArtifactError: OpenVINO fails while executing.
        """
        try:
            found = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        except Exception as error:
            raise ArtifactError(f"OpenVINO failed while running the graph: {_reason(error)}") from error
        return {name: found[port] for name, port in self._ports.items()}

    def another_lane(self) -> OpenVino:
        """See :class:`edgedet.runtimes.base.RunsInLanes`; each has a request of its own."""
        other = copy.copy(self)
        other._request = self._compiled.create_infer_request()
        return other

    def close(self) -> None:
        """Release the network; calling twice is harmless."""
        self._request = self._compiled = None
        self._ports = {}


def follow_onnx(model: Any) -> None:
    """Make suppression and TopK of an ``openvino.Model`` follow ONNX's rules; changes ``model``.

    Raises:
        ArtifactError: a suppression whose threshold is computed.
    """
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind == SUPPRESSION and node.get_input_size() > IOU_THRESHOLD:
            _suppress_above(node)
        elif kind == "TopK":
            order_ties(node)


def _suppress_above(node: Any) -> None:
    """What OpenVINO suppresses from the next larger number on is what ONNX suppresses above the threshold."""
    source = node.input_value(IOU_THRESHOLD).get_node()
    if source.get_type_name() != "Constant":
        raise ArtifactError(f"{node.get_friendly_name()} computes its IoU threshold; expected a constant")
    threshold = np.asarray(source.get_data(), np.float32)
    above = np.nextafter(threshold, np.float32(np.inf), dtype=np.float32)
    # The number next to 0 counts as 0 there.
    above = np.maximum(above, np.finfo(np.float32).tiny)
    constant = openvino.opset13.constant(above)
    node.input(IOU_THRESHOLD).replace_source_output(constant.output(0))


def _reason(error: Exception) -> str:
    """What went wrong, without the places in OpenVINO's sources."""
    text = " ".join(str(error).split())
    return re.sub(r"(Exception from|Check '[^']*' failed at) \S+: ", "", text)[:300]


def _spec(port: Any) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else -1 for size in port.get_partial_shape())
    return TensorSpec(port.get_any_name(), shape, np.dtype(port.get_element_type().to_dtype()))
