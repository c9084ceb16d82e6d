"""The smallest detector for ncnn, written by hand: one box, whose score for each colour is that colour's mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.artifacts.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.artifacts.ncnn_file import write_ncnn

HEIGHT, WIDTH = 6, 10
BOX = (1.0, 2.0, 7.0, 5.0)
NAMES = ("blue", "green", "red")
PARAM = f"""7767517
5 5
Input in 0 1 images 0={WIDTH} 1={HEIGHT} 2=3
Pooling mean 1 1 images means 0=1 4=1
Reshape row 1 1 means row 0=3 1=1
BinaryOp share 1 1 row scores 0=3 1=1 2=2.55000000e+02
MemoryData box 0 1 boxes 0=4 1=1
"""
WEIGHTS = np.array(BOX, "<f4").tobytes()
OUTPUTS = {"boxes": [1, 4], "scores": [1, 3]}


def card(**changes: Any) -> ModelCard:
    """Its card; ``changes`` of the input."""
    return ModelCard(
        family="yolox",
        architecture="colour",
        names=NAMES,
        input=replace(InputSpec(HEIGHT, WIDTH), **changes),
        resize=ResizeRule("stretch"),
        output=OutputSpec("candidates", score_threshold=0.5, iou_threshold=0.5, max_detections=3),
    )


def save_colour_file(
    path: Path, described: ModelCard | None = None, *, param: str = PARAM, weights: bytes = WEIGHTS
) -> ModelCard:
    """Write it; returns its card."""
    described = described or card()
    write_ncnn(path, described, {"outputs": OUTPUTS}, param=param, weights=weights)
    return described
