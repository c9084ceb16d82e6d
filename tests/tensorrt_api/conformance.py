"""Reads source code and says where it uses something that not every supported TensorRT has.

What is checked: ``trt.NAME.MEMBER`` chains, and attributes and keyword arguments of the objects TensorRT hands out,
which are known by the names of the variables that hold them. What only some versions have must be looked up with
``getattr`` or behind ``hasattr``; then at least one version has to have it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from tests.tensorrt_api.double import VERSIONS, surface

OBJECTS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "cache": "ITimingCache",
}
"""Variables (with or without ``self._``) and the class of what they hold."""

OUTSIDE = {"__version__", "ILogger"}
"""Of the Python package rather than the bindings, or with members of its own."""


def complaints(source: str) -> list[str]:
    """Everything in ``source`` that some version would answer with AttributeError or TypeError."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found += list(_attribute(node))
        elif isinstance(node, ast.Call):
            found += list(_keywords(node))
            found += list(_looked_up(node))
    return sorted(set(found))


def _path(node: ast.expr) -> list[str]:
    """``trt.A.B`` as its words; ``self._x`` and ``x`` alike as ``x``."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        before = _path(node.value)
        if before == ["self"]:
            return [node.attr.lstrip("_")]
        return [*before, node.attr] if before else []
    return []


def _missing(words: list[str]) -> list[str]:
    """The versions that do not have what ``words`` names."""
    return [version for version in VERSIONS if not _has(surface(version), words)]


def _has(known: dict[str, Any], words: list[str]) -> bool:
    if words[0] == "trt":
        if len(words) > 1 and words[1] in OUTSIDE:
            return True
        words = words[1:]
    elif words[0] in OBJECTS:
        words = [OBJECTS[words[0]], *words[1:]]
    here: Any = known
    for word in words:
        if not isinstance(here, dict) or word not in here:
            return word == "name" and isinstance(here, str)
        here = here[word]
    return True


def _attribute(node: ast.Attribute) -> Iterator[str]:
    words = _path(node)
    if len(words) > 1 and (words[0] == "trt" or (words[0] in OBJECTS and not words[1].startswith("_"))):
        missing = _missing(words)
        if missing:
            yield f"line {node.lineno}: {'.'.join(words)} is not in TensorRT {', '.join(missing)}"


def _keywords(node: ast.Call) -> Iterator[str]:
    words = _path(node.func)
    if len(words) < 2 or (words[0] != "trt" and words[0] not in OBJECTS):
        return
    owner = words[1:] if words[0] == "trt" else [OBJECTS[words[0]], *words[1:]]
    for version in VERSIONS:
        declared: Any = surface(version)
        for word in owner:
            declared = declared.get(word) if isinstance(declared, dict) else None
        if isinstance(declared, dict):
            declared = declared.get("__init__")
        if not isinstance(declared, list):
            continue
        names = [item.partition(":")[0] for item in declared]
        if words[-1] == "__init__":
            names.insert(0, "self")
        if len(node.args) > len(names):
            yield f"line {node.lineno}: {'.'.join(words)} takes {len(names)} arguments in TensorRT {version}"
        for keyword in node.keywords:
            if keyword.arg is not None and keyword.arg not in names:
                yield f"line {node.lineno}: {'.'.join(words)} has no argument {keyword.arg} in TensorRT {version}"


def _looked_up(node: ast.Call) -> Iterator[str]:
    """``getattr(trt.X, "NAME", default)`` and ``hasattr``: a name that no version has is a slip of the pen."""
    if not (isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr") and len(node.args) > 1):
        return
    words = _path(node.args[0])
    name = node.args[1]
    if words and words[0] == "trt" and isinstance(name, ast.Constant):
        if len(_missing([*words, str(name.value)])) == len(VERSIONS):
            yield f"line {node.lineno}: no TensorRT has {'.'.join(words)}.{name.value}"
        if node.func.id == "getattr" and len(node.args) < 3:
            yield f"line {node.lineno}: getattr of {'.'.join(words)}.{name.value} needs a default"
