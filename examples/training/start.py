"""Weights to begin a training with: those of another detector, as far as they fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

STAGES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"^backbone\.features\.0\.13\."), lambda found: "backbone.body.13.block.0."),
    (re.compile(r"^backbone\.features\.0\.(\d+)\."), lambda found: f"backbone.body.{found[1]}."),
    (re.compile(r"^backbone\.features\.1\.0\."), lambda found: "backbone.body.13.block."),
    (re.compile(r"^backbone\.features\.1\.(\d+)\."), lambda found: f"backbone.body.{13 + int(found[1])}."),
)
"""SSDLite has MobileNetV3's stages in two parts, cut within the fourteenth; two-stage detectors have one."""


def start_from(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> set[str]:
    """Load the tensors of ``state`` that ``model`` has in the same shape; their names in ``model``.

    Those of an SSDLite's backbone fit the one of a Faster or Mask R-CNN.
    """
    own = model.state_dict()
    fitting = {}
    for name, tensor in state.items():
        there = name if name in own else _body_name(name)
        if there in own and own[there].shape == tensor.shape:
            fitting[there] = tensor.to(own[there].dtype)
    model.load_state_dict(fitting, strict=False)
    return set(fitting)


def _body_name(name: str) -> str:
    for pattern, renamed in STAGES:
        found = pattern.match(name)
        if found:
            return renamed(found) + name[found.end() :]
    return name
