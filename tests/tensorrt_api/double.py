"""A TensorRT made from the recorded surface of one version: it has what the real one has, and refuses the rest.

Names, argument lists, types of arguments and enum members come from ``surface.json``; what the calls do is in
:mod:`tests.tensorrt_api.behaviour`. Every call is recorded in ``module.calls``.
"""

from __future__ import annotations

import enum
import inspect
import json
import types
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from tests.tensorrt_api import behaviour

VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106")
RTX_VERSIONS = ("rtx-1.7.1.116",)
"""TensorRT-RTX: another library with nearly the same bindings."""
Surface = dict[str, Any]


@cache
def surface(version: str) -> Surface:
    """Class to member to what it is, of one TensorRT version."""
    everything: dict[str, Surface] = json.loads(Path(__file__).with_name("surface.json").read_text())
    return everything[version]


def make_tensorrt(version: str, machine: behaviour.Machine | None = None) -> Any:
    """A module that looks like ``tensorrt`` of ``version``, or like TensorRT-RTX's bindings."""
    name = "tensorrt_rtx_bindings" if version in RTX_VERSIONS else "tensorrt"
    module: Any = types.ModuleType(name)
    module.__version__ = version.removeprefix("rtx-")
    module.__spec__ = ModuleSpec(name, None)
    module.calls = []
    module.machine = machine or behaviour.Machine()
    for offset, (name, members) in enumerate(surface(version).items()):
        if isinstance(members, list):
            setattr(module, name, _function(module, name, members))
        elif all(value == "value" for key, value in members.items() if key.isupper()) and "value" in members:
            setattr(module, name, _enumeration(name, members, offset + len(version)))
        else:
            setattr(module, name, _class(module, name, members))
    return module


def _enumeration(name: str, members: Surface, start: int) -> Any:
    """Numbers differ from version to version, as NVIDIA's do."""
    named = sorted(key for key in members if members[key] == "value")
    bits = name.endswith("Diagnostics")  # they are told together, as a sum
    values = {key: 1 << index if bits else start + index for index, key in enumerate(named)}
    return enum.Enum(name, values, type=_Integer)


class _Integer:
    """What a pybind11 enum is besides an enum: convertible to int, and nothing more."""

    value: int

    def __int__(self) -> int:
        return self.value


def _function(module: Any, name: str, declared: list[str]) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        bound = _bind(module, name, declared, arguments, named)
        module.calls.append((name, bound))
        return behaviour.FUNCTIONS[name](module, *bound.values())

    return call


def _class(module: Any, name: str, members: Surface) -> type:
    body: dict[str, Any] = {"__init__": _initialiser(module, name, members), "__setattr__": _setter(name, members)}
    for key, value in members.items():
        if key == "Severity":
            levels = [
                level for level in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE") if level in members
            ]
            severity: Any = enum.Enum("Severity", {level: i for i, level in enumerate(levels)}, type=_Integer)
            body[key] = severity
            body.update({level: severity[level] for level in levels})
        elif value == "overloaded" or (isinstance(value, list) and key != "__init__"):
            body[key] = _method(module, name, key, value)
        elif isinstance(value, str) and value == "property" and (name, key) in behaviour.PROPERTIES:
            body[key] = property(behaviour.PROPERTIES[name, key], _recorder(module, name, key))
    # Host memory is a buffer, which before Python 3.12 only a class that inherits one can be.
    return type(name, (bytearray,) if name == "IHostMemory" else (), body)


def _initialiser(module: Any, name: str, members: Surface) -> Any:
    def initialise(self: Any, *arguments: Any, **named: Any) -> None:
        declared = members["__init__"]
        if declared == [] and name not in ("ILogger", "IProfiler", "IProgressMonitor"):
            raise TypeError(f"tensorrt.{name}: No constructor defined!")
        bound = _bind(module, name, declared, arguments, named)
        object.__setattr__(self, "_constructed", True)
        object.__setattr__(self, "_module", module)
        module.calls.append((name, bound))
        if name in behaviour.CONSTRUCTORS:
            behaviour.CONSTRUCTORS[name](module, self, *bound.values())

    return initialise


def _setter(name: str, members: Surface) -> Any:
    def assign(self: Any, key: str, value: Any) -> None:
        own = type(self).__name__ != name  # a Python subclass may have attributes of its own
        if not own and not key.startswith("_") and members.get(key) != "property":
            raise AttributeError(f"'tensorrt.{name}' object has no attribute '{key}'")
        if members.get(key) == "property":
            self._module.calls.append((f"{name}.{key}", {"value": value})) if hasattr(self, "_module") else None
        object.__setattr__(self, key, value)

    return assign


def _recorder(module: Any, name: str, key: str) -> Any:
    def record(self: Any, value: Any) -> None:
        raise AttributeError(f"can't set attribute '{key}' of 'tensorrt.{name}'")

    return record


def _method(module: Any, name: str, key: str, declared: Any) -> Any:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        if not getattr(self, "_constructed", False):
            raise TypeError(f"tensorrt.{name}.__init__() must be called when overriding __init__")
        bound = _bind(module, f"{name}.{key}", declared, arguments, named)
        module.calls.append((f"{name}.{key}", bound))
        if (name, key) not in behaviour.METHODS:
            raise NotImplementedError(f"the double knows {name}.{key}, but not what it does")
        return behaviour.METHODS[name, key](module, self, *bound.values())

    return call


def _bind(module: Any, what: str, declared: Any, arguments: Any, named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, or the TypeError pybind11 raises."""
    if declared == "overloaded":
        return {str(index): value for index, value in enumerate(arguments)} | named
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = []
    kinds = {}
    for item in declared:
        name, _, annotation = item.removesuffix(" =").partition(": ")
        default = None if item.endswith("=") else inspect.Parameter.empty
        parameters.append(inspect.Parameter(name, kind, default=default))
        kinds[name] = annotation
    bound = inspect.Signature(parameters).bind(*arguments, **named).arguments
    for name, value in bound.items():
        _require_kind(module, f"{what}({name})", kinds[name], value)
    return bound


PLAIN: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "SupportsInt": (int,),
    "bool": (bool,),
    "str": (str,),
    "buffer": (bytes, bytearray, memoryview),
    "Buffer": (bytes, bytearray, memoryview),
}


def _require_kind(module: Any, what: str, kind: str, value: Any) -> None:
    expected = PLAIN.get(kind) or getattr(module, kind.removeprefix("I") if kind == "IParserError" else kind, None)
    if isinstance(expected, tuple | type):
        if not isinstance(value, expected) and value is not None:
            raise TypeError(f"{what}: incompatible function arguments: {type(value).__name__}, expected {kind}")
        ours = not isinstance(value, enum.Enum | int | str | bytes | type(None))
        if isinstance(expected, type) and ours and not getattr(value, "_constructed", False):
            raise TypeError(f"{what}: {kind}.__init__() was not called")
