"""A graph with its model card inside, and such a graph opened as the device will open it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from edgedet import __version__
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.detector import Detector


def embed(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """Write the card into the graph's metadata, in place."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.helper.set_model_props(model, {**{entry.key: entry.value for entry in kept}, METADATA_KEY: card.to_json()})
    model.producer_name, model.producer_version = "edgedet", __version__
    return model


@contextmanager
def opened(model: onnx.ModelProto) -> Iterator[Detector]:
    """The graph as the device will open it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(model.SerializeToString())
        with Detector(path, runtime="onnxruntime:cpu") as detector:
            yield detector
