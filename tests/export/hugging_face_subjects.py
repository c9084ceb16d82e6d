"""A tiny detector of transformers as a graph, and how alike another graph of it answers.

Weights are random, so that many places score nearly alike: which of them become queries says little of the rest of
the graph. So answers are compared for the same queries: the places that the float graph chose are given to both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgedet.artifacts.card import ModelCard
from edgedet.calibration.executor import open_session
from edgedet.export.families.base import GraphOptions
from edgedet.export.hugging_face.graph import export, load
from edgedet.onnx_graph.network import Network
from edgedet.onnx_graph.preparing import prepare
from edgedet.preprocess import Preprocessor
from edgedet.proof.golden_scene import golden_frame
from tests.export.hugging_face_models import image_size, save

RAW = ("network/logits", "network/boxes")


@dataclass(frozen=True)
class Subject:
    """A graph, its card, prepared frames to calibrate on and to try it with, and where its queries are chosen."""

    model: onnx.ModelProto
    card: ModelCard
    calibration: list[np.ndarray]
    trial: list[np.ndarray]
    chosen: str

    @property
    def network(self) -> Network:
        return prepare(self.model)


@dataclass(frozen=True)
class Likeness:
    """Of two graphs' answers.

    ``alike``: share of queries chosen alike. ``logits``, ``boxes``: cosine of the same queries' about each column's
    mean. ``errors``: of the two, the root of the squared error over that of the deviation from the mean.
    """

    alike: float
    logits: float
    boxes: float
    errors: tuple[float, float]


def make_subject(kind: str, folder: Path, *, frames: tuple[int, int] = (8, 4), **config: Any) -> Subject:
    """``frames``: how many to calibrate on, and how many to try it with; ``config``: of the model."""
    loaded = load(save(kind, folder / kind, **config))
    exported, _ = export(loaded, GraphOptions())
    card = replace(loaded.card(), input=exported.input, resize=exported.resize, output=exported.output)
    preprocess = Preprocessor(card.input, card.resize)
    made = []
    for seed in range(sum(frames)):
        preprocess.prepare(golden_frame(seed, image_size(kind), image_size(kind)), 0)
        made.append(preprocess.tensor.copy())
    chosen = next(node.output[1] for node in prepare(exported.model).graph.node if node.op_type == "TopK")
    return Subject(exported.model, card, made[: frames[0]], made[frames[0] :], chosen)


def answers(
    subject: Subject, model: onnx.ModelProto, chosen: Sequence[np.ndarray] | None = None
) -> list[list[np.ndarray]]:
    """Logits, boxes and chosen places on the trial frames; ``chosen``: places to take, not the model's own."""
    tried = onnx.ModelProto()
    tried.CopyFrom(model)
    names = [*RAW, subject.chosen]
    tried.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    if chosen is not None:
        shape = chosen[0].shape
        tried.graph.input.append(onnx.helper.make_tensor_value_info("given", onnx.TensorProto.INT64, shape))
        for node in tried.graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = "given" if name == subject.chosen else name
    session = open_session(tried, fusion="separate", threads=2)
    image = session.get_inputs()[0].name
    feeds = [{image: frame} for frame in subject.trial]
    if chosen is not None:
        feeds = [feed | {"given": place} for feed, place in zip(feeds, chosen, strict=True)]
    return [session.run(names, feed) for feed in feeds]


def likeness(subject: Subject, model: onnx.ModelProto) -> Likeness:
    """Of ``model`` to the subject's own graph."""
    expected, free = answers(subject, subject.model), answers(subject, model)
    alike = [len(np.intersect1d(a[2], b[2])) / a[2].size for a, b in zip(expected, free, strict=True)]
    given = answers(subject, model, [one[2] for one in expected])
    cosines, errors = [], []
    for place in range(2):
        want, got = (np.concatenate([one[place][0] for one in many]) for many in (expected, given))
        middle = want.mean(axis=0)
        want, got = want - middle, got - middle
        cosines.append(float((want * got).sum() / np.sqrt((want**2).sum() * (got**2).sum())))
        errors.append(float(np.sqrt(((want - got) ** 2).sum() / (want**2).sum())))
    return Likeness(float(np.mean(alike)), cosines[0], cosines[1], (errors[0], errors[1]))
