"""What stands for the objects of a pickle whose classes are not imported, and the few that are built after all."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

LONGEST_KEY = 16
"""Elements of a tuple that is a key."""

UNREAD_TENSORS = {
    "torch._utils._rebuild_qtensor": "quantised",
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "a meta tensor, which has no numbers",
    "torch._utils._rebuild_tensor_v3": "of eight-bit floats or unsigned integers, as if quantised",
    "torch._utils._rebuild_wrapper_subclass": "of a class of its own",
    "torch._tensor._rebuild_from_type_v2": "of a class of its own",
}
"""Makers of tensors whose numbers mean nothing by themselves; nothing here builds them."""


class Named:
    """A class or function that a pickle names; not imported."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


class Inert:
    """An object whose class was not imported.

    ``path``: of its class, or of the function that would have made it. ``arguments``: what that would have been
    given. ``state``: what it held. ``items``, ``mapping``: what was put in where it is a list or a dict.
    """

    __slots__ = ("arguments", "items", "mapping", "path", "state")

    def __init__(self, path: str, arguments: Any) -> None:
        self.path = path
        self.arguments = arguments
        self.state: Any = None
        self.items: list[Any] = []
        self.mapping: dict[Any, Any] = {}

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Its instance variables, as far as it kept them by name."""
        state = self.state
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
            return {**(state[0] if isinstance(state[0], dict) else {}), **state[1]}
        return state if isinstance(state, dict) else {}


def made(function: Any, arguments: Any) -> Any:
    """What ``function(*arguments)`` gives where that is a tensor, a number or a plain container; else an
    :class:`Inert`. Nothing but this module's own functions is called.

    Raises:
        pickle.UnpicklingError: a tensor that does not fit into its storage, or a key that is no plain value.
    """
    path = function.path if isinstance(function, Named) else "an unnamed function"
    maker = MAKERS.get(path)
    if maker is None or not isinstance(arguments, tuple):
        return Inert(path, arguments)
    try:
        return maker(*arguments)
    except TypeError:  # not the arguments that its writer gives
        return Inert(path, arguments)


def mapping(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict of pairs whose keys are plain."""
    return {plain_key(key): value for key, value in pairs}


def plain_key(value: Any) -> Any:
    """``value``, if it can be hashed at once: nested tuples that share their parts can take for ever.

    Raises:
        pickle.UnpicklingError: it is something else.
    """
    parts = value if isinstance(value, tuple) and len(value) <= LONGEST_KEY else (value,)
    if not all(isinstance(part, str | bytes | int | float | None | Named | Inert) for part in parts):
        raise pickle.UnpicklingError(f"a {type(value).__name__} as key")
    return value


def array_values(value: Any) -> Any:
    """A NumPy array that was pickled, as (nested) lists; anything else as it is."""
    if not isinstance(value, Inert) or value.path not in ARRAY_MAKERS:
        return value
    if not isinstance(value.state, tuple) or len(value.state) != 5:
        return value
    _, shape, dtype, fortran, content = value.state
    if isinstance(content, list):
        return content
    parsed = _dtype(dtype)
    if parsed is None or not isinstance(content, bytes) or not _counts(shape):
        return value
    try:
        return np.frombuffer(content, parsed).reshape(shape, order="F" if fortran else "C").tolist()
    except ValueError:
        return value


def _dtype(value: Any) -> np.dtype[Any] | None:
    """A dtype of numbers or texts: an object's dtype would read addresses out of the file."""
    text = value.arguments[0] if isinstance(value, Inert) and value.arguments else None
    if not isinstance(text, str) or not re.fullmatch(r"[biufSU]\d{1,6}", text):
        return None
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    return np.dtype(text).newbyteorder(">" if order == ">" else "<" if order == "<" else "=")


def _scalar(dtype: Any, content: Any) -> Any:
    parsed = _dtype(dtype)
    if parsed is None or not isinstance(content, bytes) or len(content) != parsed.itemsize:
        raise TypeError
    return np.frombuffer(content, parsed)[0].item()


def _pairs(given: Any = (), *_: Any) -> dict[Any, Any]:
    if isinstance(given, dict):
        return dict(given)
    if not isinstance(given, list | tuple) or not all(isinstance(each, list | tuple) for each in given):
        raise TypeError
    return mapping((key, value) for key, value in given)


def _default_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _items(given: Any = ()) -> Iterator[Any]:
    if not isinstance(given, list | tuple | set | frozenset):
        raise TypeError
    return iter(given)


def unique(given: Iterable[Any]) -> set[Any]:
    """A set of plain values."""
    return {plain_key(value) for value in given}


def _encoded(text: Any, encoding: Any) -> bytes:
    # How protocol 2 writes bytes.
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise TypeError
    return text.encode("latin-1")


def _counts(values: Any) -> bool:
    return isinstance(values, tuple) and all(type(value) is int and value >= 0 for value in values)


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
    """A view of a storage; whether gradients flowed through it, and hooks on them, do not matter any more."""
    if not isinstance(storage, torch.TypedStorage):
        raise TypeError
    if not _counts((offset,)) or not _counts(size) or not _counts(stride) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor of no shape")
    end = offset + 1 + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if 0 not in size and end > len(storage):
        raise pickle.UnpicklingError("a tensor that is larger than its storage")
    # Its name stands in every file of torch.save, so it stays.
    tensor: Tensor = torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())
    return tensor


def _parameter(tensor: Any, *_: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError
    return tensor


def _typed(function: Any, kind: Any, arguments: Any, state: Any) -> Tensor:
    """A Tensor with attributes, or of a subclass whose numbers are those of an ordinary tensor."""
    if not isinstance(kind, Named) or kind.path not in ("torch.Tensor", "torch.nn.parameter.Buffer"):
        raise TypeError
    return _parameter(made(function, arguments))


ARRAY_MAKERS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")

MAKERS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _typed,
    "torch.Size": lambda given=(): tuple(_items(given)),
    "collections.OrderedDict": _pairs,
    "collections.Counter": _pairs,
    "collections.defaultdict": _default_dict,
    "builtins.dict": _pairs,
    "builtins.list": lambda given=(): list(_items(given)),
    "builtins.tuple": lambda given=(): tuple(_items(given)),
    "builtins.set": lambda given=(): unique(_items(given)),
    "builtins.frozenset": lambda given=(): unique(_items(given)),
    "_codecs.encode": _encoded,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
}
"""Name of a class or function to what is done in its place."""
