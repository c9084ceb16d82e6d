"""A graph with its model card inside, and such a graph opened as the device will open it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import onnx

from edgedet import __version__
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.artifacts.seal import SEAL_KEY, sealed
from edgedet.detector import Detector
from edgedet.errors import OutputError
from edgedet.proof.made_proposals import propose_made
from edgedet.segmenter import Segmenter


def embed(model: onnx.ModelProto, card: ModelCard) -> onnx.ModelProto:
    """Write the card into the graph's metadata, in place. The seal of what the graph was is taken out."""
    kept = [entry for entry in model.metadata_props if entry.key not in (METADATA_KEY, SEAL_KEY)]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.helper.set_model_props(model, {**{entry.key: entry.value for entry in kept}, METADATA_KEY: card.to_json()})
    model.producer_name, model.producer_version = "edgedet", __version__
    return model


def graph_bytes(model: onnx.ModelProto) -> bytes:
    """A graph as it is written: serialised and sealed, so that damage to it is found when it is opened."""
    return sealed(model.SerializeToString())


@contextmanager
def opened(model: onnx.ModelProto) -> Iterator[Detector]:
    """The graph as the device will open it; one that takes proposals from outside gets made ones."""
    with _written(model) as path, Detector(path, runtime="onnxruntime:cpu") as detector:
        propose_made(detector)
        yield detector


@contextmanager
def opened_segmenter(model: onnx.ModelProto) -> Iterator[Segmenter]:
    """The graph of a segmenter as the device will open it."""
    with _written(model) as path, Segmenter(path, runtime="onnxruntime:cpu") as segmenter:
        yield segmenter


@contextmanager
def _written(model: onnx.ModelProto) -> Iterator[Path]:
    """The graph in a file that is gone afterwards.

    Raises:
        OutputError: the folder of temporary files has no room for it.
    """
    with ExitStack() as stack:
        try:
            path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "graph.onnx"
            path.write_bytes(model.SerializeToString())
        except OSError as error:
            raise OutputError(
                "cannot write the graph, which is tried before it is kept, into the folder of temporary files: "
                f"{error.strerror or error}; make room there, or name another folder: TMPDIR=/path edgedet export"
            ) from error
        yield path
