"""Networks without random weights, for those that are given trained ones at once."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

RANDOM = (Tensor.uniform_, Tensor.normal_, init.uniform_, init.normal_, init.trunc_normal_, init.kaiming_uniform_)
"""Functions that fill a weight with random numbers, as PyTorch shows them to a ``TorchFunctionMode``."""


class Unfilled(TorchFunctionMode):
    """Context in which modules keep whatever lies in their memory: drawing numbers takes up to two seconds (VGG16).

    Every weight must be loaded afterwards.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in RANDOM:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **(kwargs or {}))
