"""Tensors of torchvision's heads by the names they have now."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

State = Mapping[str, Tensor]

FORMER_NAMES = (
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
    *((re.compile(rf"\.mask_head\.mask_fcn{n + 1}\.(weight|bias)$"), rf".mask_head.{n}.0.\1") for n in range(8)),
)
"""Tensors of torchvision's heads as they were called before 0.13, and what they are called now."""


def present_names(state: State) -> State:
    """``state`` with the names that torchvision's modules have now."""

    def present(name: str) -> str:
        for former, now in FORMER_NAMES:
            name = former.sub(now, name)
        return name

    return {present(name): tensor for name, tensor in state.items()}
