"""What the product's modules import and name, read from their text: nothing is loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("calibration", "export", "runtimes")
"""Rooms that lie beside the folder of the package."""

CLONE = (*MAPPED, "benchmarks", "conftest", "docs", "examples", "release", "tests")
"""What Python finds by these names in a clone, and nowhere else."""


def modules(root: Path) -> dict[str, Path]:
    """Dotted names and files of the product's modules."""
    found = {}
    for room in ("edgedet", *MAPPED):
        for path in sorted((root / room).rglob("*.py")):
            inside = path.relative_to(root).with_suffix("").parts
            # The folder of the package holds links to the mapped rooms.
            if room == "edgedet" and len(inside) > 1 and inside[1] in MAPPED:
                continue
            parts = inside if room == "edgedet" else ("edgedet", *inside)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


class Import(NamedTuple):
    """One import: the module, names taken from it by the names they get, and whether it goes by place."""

    module: str
    names: Mapping[str, str]
    relative: bool = False


@cache
def imports(source: str, name: str, package: str) -> tuple[Import, ...]:
    """Every import of the package, or of another folder of the clone, in the module ``name`` of ``package``."""
    places = {"__name__": name, "__package__": package}
    found = (each for node in _seen(ast.parse(source)) for each in _imports(node, places))
    return tuple(each for each in found if each.module.split(".")[0] in ("edgedet", *CLONE))


@cache
def strings(source: str) -> frozenset[str]:
    """Strings of a module, up to a colon."""
    constants = (node.value for node in _seen(ast.parse(source)) if isinstance(node, ast.Constant))
    return frozenset(each.partition(":")[0] for each in constants if isinstance(each, str))


@cache
def lazy_homes(source: str) -> dict[str, str]:
    """Names that a door loads late, and the modules they come from."""
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(value=ast.Call(func=ast.Name(id="lazy_names"), args=[_, homes])):
                return dict(ast.literal_eval(homes))
    return {}


def _seen(tree: ast.AST) -> Iterator[ast.AST]:
    """The tree without what stands below ``if TYPE_CHECKING:``; what stands below its ``else:`` runs."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
                waiting += otherwise
            case _:
                waiting += ast.iter_child_nodes(node)


def _imports(node: ast.AST, places: Mapping[str, str]) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            yield from (Import(each.name, {}) for each in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            start = resolve_name("." * level, places["__package__"]) if level else ""
            whole = ".".join(filter(None, (start.rstrip("."), module)))
            yield Import(whole, {each.asname or each.name: each.name for each in names}, level > 0)
        case ast.Attribute(value=ast.Name(id="edgedet"), attr=attribute):
            yield Import("edgedet", {attribute: attribute})
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__" as called)
            | ast.Attribute(attr="import_module" | "__import__" as called),
            args=[ast.Constant(value=str(asked)), *more],
            keywords=keywords,
        ):
            options = {each.arg: each.value for each in keywords}
            level, anchor = options.get("level"), places["__package__"]
            if called == "__import__":
                level = more[3] if len(more) > 3 else level
                asked = "." * (level.value if isinstance(level, ast.Constant) else 0) + asked
            else:
                match more[0] if more else options.get("package"):
                    case ast.Constant(value=str(said)):
                        anchor = said
                    case ast.Name(id="__name__" | "__package__" as said):
                        anchor = places[said]
            yield Import(resolve_name(asked, anchor), {}, asked.startswith("."))


def imports_of(name: str, path: Path) -> tuple[Import, ...]:
    """The imports of a module."""
    return imports(path.read_text("utf-8"), name, name if path.name == "__init__.py" else name.rpartition(".")[0])


def doors(files: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """For every package, the names its ``__init__`` has from elsewhere, with the modules they come from."""
    found = {}
    for door, path in files.items():
        if path.name == "__init__.py":
            found[door] = {}
            for module, names, _ in imports_of(door, path):
                for name, old in names.items():
                    found[door][name] = f"{module}.{old}" if f"{module}.{old}" in files else module
            found[door] |= lazy_homes(path.read_text("utf-8"))
    return found


def reached(taken: Import, files: Mapping[str, Path], by_door: Mapping[str, Mapping[str, str]]) -> set[str]:
    """Modules that an import leads to. Who imports a door whole can take all its names."""
    found = set()
    names = by_door.get(taken.module, {}) if "*" in taken.names.values() else taken.names.values()
    for name in names:
        home = by_door.get(taken.module, {}).get(name)
        inner = f"{taken.module}.{name}"
        if home:
            found |= {taken.module, home}
        found |= {inner, *by_door.get(inner, {}).values()} if inner in files else set()
    if not taken.names:
        found |= set(by_door.get(taken.module, {}).values())
    return found or {taken.module}


def arrows(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which modules of the package every module imports."""
    by_door = doors(files)
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        targets = (reached(taken, files, by_door) for taken in imports_of(name, path))
        inside = {each for target in targets for each in target if each.split(".")[0] == "edgedet"}
        found[name] = inside - {name, "edgedet"}
    return found


def named(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which modules every module names in strings: in tables, and in commands that start one of them."""
    known = files.keys() - {"edgedet"}
    return {name: (strings(path.read_text("utf-8")) & known) - {name} for name, path in files.items()}
