"""What a door names is documented: every parameter, field, result and error; with an example; on the API page."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import functools
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOORS = (
    "edgedet",
    "edgedet.export",
    "edgedet.calibration",
    "edgedet.datasets",
    "edgedet.evaluate",
    "edgedet.bench",
    "edgedet.watching",
)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises):$", re.MULTILINE)
ENTRY = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \(.*?\))?:", re.MULTILINE)
SPECIAL = ("__getitem__", "__call__", "__iter__", "__len__")


def _public() -> list[Any]:
    """Every public name of every door with what it stands for, once."""
    seen: dict[str, Any] = {}
    for door in DOORS:
        module = importlib.import_module(door)
        for name in module.__all__:
            if not name.startswith("__"):
                seen.setdefault(f"{door}.{name}", getattr(module, name))
    return [pytest.param(name, thing, id=name) for name, thing in seen.items()]


def _documented() -> list[Any]:
    """Public classes and functions."""
    return [each for each in _public() if _is_documented_in_place(each.values[1])]


def _is_documented_in_place(thing: Any) -> bool:
    return inspect.isclass(thing) or inspect.isfunction(thing)


@functools.cache
def _entries(text: str) -> dict[str, set[str]]:
    """Section to the names it describes; ``Returns`` and ``Yields`` to nothing."""
    parts = SECTION.split(inspect.cleandoc(text))
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {
        title: {name.lstrip("*") for names in ENTRY.findall(body) for name in names.split(", ")}
        for title, body in sections.items()
    }


def _complaints(thing: Any) -> Iterator[str]:
    """What the documentation of a class or function lacks."""
    text = inspect.getdoc(thing) or ""
    if not text:
        yield "no docstring"
        return
    if not any(example.want for example in doctest.DocTestParser().get_examples(text)):
        yield "no example with a result"
    if inspect.isclass(thing):
        yield from _complaints_of_class(thing, _entries(text))
    else:
        yield from _complaints_of_call(thing, _entries(text), "")


def _complaints_of_class(thing: type, entries: dict[str, set[str]]) -> Iterator[str]:
    described = entries.get("Args", set()) | entries.get("Attributes", set())
    fields = {field.name for field in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
    own = {
        name
        for kind in _own_classes(thing)
        for name, hint in inspect.get_annotations(kind).items()
        if not name.startswith("_") and "ClassVar" not in str(hint)
    }
    inherited = set().union(*(_described_by(kind) for kind in _own_classes(thing)[1:]))
    for name in sorted((fields | own | _assigned(thing)) - described - inherited):
        yield f"no description of the attribute {name}"
    makers = [made for maker in ("__init__", "__post_init__") if (made := _written(thing, maker)) is not None]
    for made in makers:
        for name in sorted(_parameters(made) - described):
            yield f"no Args entry for {name}"
        yield from _unnamed_errors(made, entries, "")
    for kind in _own_classes(thing):
        for name, member in vars(kind).items():
            if name.startswith("_") and name not in SPECIAL:
                continue
            call = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            call = getattr(call, "func", call)
            if not inspect.isfunction(call):
                continue
            docstring = inspect.getdoc(call)
            if not docstring:
                if name not in ("__iter__", "__len__"):
                    yield f"no docstring of {name}"
                continue
            if isinstance(member, property) or not inspect.isfunction(getattr(member, "__func__", member)):
                yield from _unnamed_errors(call, _entries(docstring), f"{name}: ")
            else:
                yield from _complaints_of_call(call, _entries(docstring), f"{name}: ")


def _own_classes(thing: type) -> list[type]:
    return [kind for kind in thing.__mro__ if kind.__module__.startswith("edgedet")]


def _described_by(kind: type) -> set[str]:
    entries = _entries(kind.__doc__ or "")
    return entries.get("Args", set()) | entries.get("Attributes", set())


def _assigned(thing: type) -> set[str]:
    """Public attributes that ``__init__`` sets."""
    made = _written(thing, "__init__")
    if made is None:
        return set()
    tree = _tree(made)
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and not node.attr.startswith("_")
    }


def _complaints_of_call(call: Any, entries: dict[str, set[str]], where: str) -> Iterator[str]:
    for name in sorted(_parameters(call) - entries.get("Args", set())):
        yield f"{where}no Args entry for {name}"
    result = inspect.signature(call).return_annotation
    if result not in (None, "None", inspect.Signature.empty) and not {"Returns", "Yields"} & set(entries):
        yield f"{where}no Returns section"
    if _reads_as_type(inspect.getdoc(call) or ""):
        yield f"{where}the first line of Returns has a colon, and what is before it would be shown as a type"
    yield from _unnamed_errors(call, entries, where)


def _reads_as_type(text: str) -> bool:
    first = re.search(r"^(?:Returns|Yields):\n    (.*)", text, re.MULTILINE)
    return first is not None and ":" in re.sub(r"``.*?``|:\w+:`.*?`", "", first[1])


def _unnamed_errors(call: Any, entries: dict[str, set[str]], where: str) -> Iterator[str]:
    """Errors that the function's own body raises, and ``Raises`` does not name."""
    raised = {
        node.exc.func.id
        for node in ast.walk(_tree(call))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name)
    }
    for name in sorted(raised - entries.get("Raises", set())):
        yield f"{where}no Raises entry for {name}"


def _written(thing: type, name: str) -> Any | None:
    """A method that stands in the class, not one that dataclasses or protocols make."""
    made = vars(thing).get(name)
    return made if made is not None and made.__module__ == thing.__module__ and _has_source(made) else None


def _has_source(call: Any) -> bool:
    return call.__code__.co_filename != "<string>"


def _parameters(call: Any) -> set[str]:
    return {name for name in inspect.signature(call).parameters if name not in ("self", "cls")}


def _tree(call: Any) -> ast.AST:
    if not _has_source(call):
        return ast.Module([], [])
    return ast.parse(textwrap.dedent(inspect.getsource(call)))


@pytest.mark.parametrize(("name", "thing"), _documented())
def test_a_public_name_says_what_it_takes_gives_and_raises(name: str, thing: Any) -> None:
    assert list(_complaints(thing)) == []


@pytest.mark.parametrize(("name", "thing"), _public())
def test_a_public_name_is_on_the_api_page(name: str, thing: Any) -> None:
    door, _, short = name.rpartition(".")
    blocks = re.split(r"^\.\. ", PAGE.read_text(), flags=re.MULTILINE)
    directives = {block.split("\n", 1)[0]: block for block in blocks}
    module = directives.get(f"automodule:: {door}")
    assert module is not None, f"{PAGE.name} has no automodule:: {door}"
    excluded = re.search(r":exclude-members: (.*)", module)
    if _is_documented_in_place(thing) and not (excluded and short in excluded[1].split(", ")):
        return
    # Aliases have no docstring that could be found, and errors have a part of the page to themselves.
    named = (f"autodata:: {door}.{short}", f"py:data:: {door}.{short}", f"py:type:: {door}.{short}")
    if isinstance(thing, type) and issubclass(thing, Exception):
        named = (f"automodule:: {thing.__module__}",)
    assert any(title in directives for title in named), f"{name} is not on {PAGE.name}"


def _named_types(thing: Any) -> set[str]:
    """Capitalised words in the annotations of a public thing and its public members."""
    annotations: list[Any] = []
    if inspect.isclass(thing):
        for kind in _own_classes(thing):
            annotations += [
                hint for name, hint in inspect.get_annotations(kind).items() if not name.startswith("_")
            ]
            for name, member in vars(kind).items():
                if not name.startswith("_") or name in (*SPECIAL, "__init__"):
                    call = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                    annotations += getattr(call, "__annotations__", {}).values()
    else:
        annotations += getattr(thing, "__annotations__", {}).values()
    words = (hint if isinstance(hint, str) else getattr(hint, "__name__", "") for hint in annotations)
    return {word for text in words for word in re.findall(r"\b[A-Z]\w+", text)}


def _is_class_of_edgedet(name: str, module_name: str) -> bool:
    """Whether ``name`` in a module is, or is imported for type checkers as, a class of this package."""
    module = importlib.import_module(module_name)
    found = getattr(module, name, None)
    if found is None:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name for alias in node.names}:
                source = importlib.import_module("." * node.level + (node.module or ""), module.__package__)
                found = getattr(source, name, None)
    return inspect.isclass(found) and found.__module__.startswith("edgedet")


def test_every_type_of_a_public_signature_is_public() -> None:
    names = {each.id.rpartition(".")[2] for each in _public()}
    missing = {
        f"{word} of {name}"
        for name, thing in (each.values for each in _public())
        for word in _named_types(thing) - names
        if _is_documented_in_place(thing) and _is_class_of_edgedet(word, thing.__module__)
    }
    assert missing == set()
