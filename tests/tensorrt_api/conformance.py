"""Reads source code and says where it uses something that not every supported TensorRT has, TensorRT-RTX too.

What is checked: ``trt.NAME.MEMBER`` chains; attributes, read or set, and arguments of the objects TensorRT hands
out, followed from call to call (:mod:`tests.tensorrt_api.typing_by_source`). What only some versions have must be
looked up with ``getattr`` and a default; then at least one version has to have it. What TensorRT gives and nobody
recorded is a complaint too; and of objects nobody knows, the names that only some versions have.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.tensorrt_api.double import RTX_VERSIONS, VERSIONS, surface
from tests.tensorrt_api.typing_by_source import MODULE, OUTSIDE, PLAIN, UNKNOWN, Source, functions_of

ROOT = Path(__file__).parents[2]
ROOMS = ("edgedet", "export", "runtimes", "calibration")
EVERY = (*VERSIONS, *RTX_VERSIONS)
RTX_ALONE = ("export/engines/rtx_build.py", "runtimes/tensorrt_rtx.py")
"""Modules that only ever meet TensorRT-RTX."""


def sources() -> list[Path]:
    """Every module of ours, whether it seems to touch TensorRT or not."""
    # The package's folder holds links to the other rooms.
    found = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    return [path for path in found if not any(part.is_symlink() for part in path.parents if part != ROOT)]


def versions_of(path: Path) -> tuple[str, ...]:
    """The versions a module of ours is held to."""
    return RTX_VERSIONS if path.relative_to(ROOT).as_posix() in RTX_ALONE else EVERY


@cache
def our_functions() -> dict[str, str]:
    """What our own functions give, where that is TensorRT's."""
    return functions_of([path.read_text("utf-8") for path in sources()])


@cache
def sometimes() -> frozenset[str]:
    """Names that TensorRT has in some versions only, and that are nobody else's."""
    found: set[str] = set()
    for name in surface(VERSIONS[0]):
        kinds = [set(known) for version in EVERY if isinstance(known := surface(version).get(name), dict)]
        found |= set.union(*kinds) - set.intersection(*kinds) if kinds else set()
    return frozenset(name for name in found if name.islower() and "_" in name)


def complaints(text: str, versions: tuple[str, ...] = EVERY) -> list[str]:
    """Everything in ``text`` that one of ``versions`` would answer with AttributeError or TypeError."""
    source = Held(text, versions)
    found: list[str] = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            found += [f"line {node.lineno}: {said}" for said in _attribute(source, node)]
        elif isinstance(node, ast.Call):
            said = (*_arguments(source, node), *_looked_up(source, node), *_unrecorded(source, node))
            found += [f"line {node.lineno}: {words}" for words in said]
        elif isinstance(node, ast.Subscript):
            found += [f"line {node.lineno}: {said}" for said in _subscript(source, node)]
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and isinstance(node.value, ast.expr):
            found += [f"line {node.lineno}: {said}" for said in _unrecorded(source, node.value)]
        elif isinstance(node, ast.For | ast.comprehension):
            found += [f"line {node.iter.lineno}: {said}" for said in _unrecorded(source, node.iter)]
        elif isinstance(node, ast.ImportFrom) and (node.module, node.level) == ("tensorrt", 0):
            names = [alias.name for alias in node.names]
            found += [
                f"line {node.lineno}: {said}" for name in names for said in _lacking(source, MODULE, name, name)
            ]
    return sorted(set(found))


class Held(Source):
    """A module's source, and the versions it is held to."""

    def __init__(self, text: str, versions: tuple[str, ...]) -> None:
        super().__init__(text, our_functions())
        self.versions = versions


def _missing(source: Held, base: str, name: str) -> list[str]:
    """The versions in which something of type ``base`` has no ``name``."""
    if base == MODULE:
        return [] if name in OUTSIDE else [version for version in source.versions if name not in surface(version)]
    owner = base.removeprefix("type ")
    return [version for version in source.versions if name not in (surface(version).get(owner) or {})]


def _is_recorded(base: str) -> bool:
    return base == MODULE or any(base.removeprefix("type ") in surface(version) for version in EVERY)


def _lacking(source: Held, base: str, name: str, words: str) -> Iterator[str]:
    if base == UNKNOWN:
        yield f"{words}: nobody recorded what this is an attribute of (RETURNS or PROPERTIES)"
    elif not _is_recorded(base):
        yield f"{words}: {base} is not recorded; add it to the classes of make_surface.py"
    elif missing := _missing(source, base, name):
        yield f"{words} is not in TensorRT {', '.join(missing)}"


def _attribute(source: Held, node: ast.Attribute) -> Iterator[str]:
    base = source.type_of(node.value)
    words = ast.unparse(node)
    if base is None:
        if node.attr in sometimes():
            yield f"{words}: {node.attr} is not in every TensorRT, and what has it here is not known"
    elif base != PLAIN and (base.startswith(("type ", MODULE)) or not node.attr.startswith("_")):
        yield from _lacking(source, base, node.attr, words)


def _subscript(source: Held, node: ast.Subscript) -> Iterator[str]:
    base = source.type_of(node.value)
    if base not in (None, PLAIN):
        assert base is not None
        if base.startswith("type "):
            yield f"{ast.unparse(node)}: classes and enums of TensorRT take no [...]; use getattr with a default"
        else:
            yield from _lacking(source, base, "__getitem__", f"{ast.unparse(node)} by __getitem__")


def _unrecorded(source: Held, node: ast.expr) -> Iterator[str]:
    if source.type_of(node) == UNKNOWN:
        yield f"{ast.unparse(node)}: nobody recorded what this gives (RETURNS or PROPERTIES)"


def _arguments(source: Held, node: ast.Call) -> Iterator[str]:
    if not isinstance(node.func, ast.Attribute):
        return
    base, name, words = source.type_of(node.func.value), node.func.attr, ast.unparse(node.func)
    if base in (None, PLAIN, UNKNOWN):
        return
    assert base is not None
    for version in source.versions:
        known: Any = surface(version)
        declared = known.get(name) if base == MODULE else (known.get(base.removeprefix("type ")) or {}).get(name)
        if isinstance(declared, dict):
            declared = declared.get("__init__")
        if not isinstance(declared, list):
            continue
        names = [item.partition(":")[0] for item in declared]
        if base.startswith("type "):
            names.insert(0, "self")
        if len(node.args) > len(names):
            yield f"{words} takes {len(names)} arguments in TensorRT {version}"
        for keyword in node.keywords:
            if keyword.arg is not None and keyword.arg not in names:
                yield f"{words} has no argument {keyword.arg} in TensorRT {version}"


def _looked_up(source: Held, node: ast.Call) -> Iterator[str]:
    """``getattr(trt.X, "NAME", default)``, ``hasattr``: a name that no version has is a slip of the pen."""
    kinds = ("getattr", "hasattr", "setattr")
    if not (isinstance(node.func, ast.Name) and node.func.id in kinds and len(node.args) > 1):
        return
    base, called = source.type_of(node.args[0]), node.func.id
    if not isinstance(node.args[1], ast.Constant) or base == PLAIN:
        return
    name = str(node.args[1].value)
    words = f"{ast.unparse(node.args[0])}.{name}"
    if base is None or base == UNKNOWN or not _is_recorded(base):
        if base is not None or (name in sometimes() and called != "hasattr"):
            yield f"{called} of {words}: what has it is not known"
    elif len(_missing(source, base, name)) == len(source.versions):
        yield f"no TensorRT has {words}"
    elif called == "setattr":
        yield from _lacking(source, base, name, words)
    if base is not None and called == "getattr" and len(node.args) < 3:
        yield f"getattr of {words} needs a default"
