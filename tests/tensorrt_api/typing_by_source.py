"""Which expressions of a source hold something of TensorRT's, and of which class: read off the source alone.

Types are ``trt`` (the module), ``type Builder`` (a class), ``Builder`` (an object), ``plain`` (numbers, text,
lists), ``?`` (TensorRT's, and nobody recorded what) and None: nothing of TensorRT's, as far as can be told.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path

from tests.tensorrt_api.double import RTX_VERSIONS, VERSIONS, surface

EVERY = (*VERSIONS, *RTX_VERSIONS)

MODULE, PLAIN, UNKNOWN = "trt", "plain", "?"
MODULES = ("tensorrt", "tensorrt_bindings", "tensorrt_lean", "tensorrt_dispatch", "tensorrt_rtx_bindings")

NAMES = {
    "trt": MODULE,
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
"""What untyped parameters of these names hold, attributes of ``self``, and names that nobody assigns."""

RETURNS: dict[str, str] = {
    "Builder.build_serialized_network": "IHostMemory",
    "Dims.__getitem__": PLAIN,
    "ICudaEngine.create_execution_context": "IExecutionContext",
    "Runtime.deserialize_cuda_engine": "ICudaEngine",
    **json.loads(Path(__file__).with_name("returns.json").read_text()),
}
"""What calls give; first those whose signatures are overloaded or too long to be recorded whole."""

PROPERTIES = {
    "ICudaEngine.num_io_tensors": PLAIN,
    "ICudaEngine.num_layers": PLAIN,
    "IHostMemory.nbytes": PLAIN,
    "OnnxParser.num_errors": PLAIN,
    "ITensor.shape": "Dims",
    "ITensor.dtype": "DataType",
}
"""What reading them gives; the bindings do not tell."""

OUTSIDE = {"__version__": PLAIN, "__name__": PLAIN, "ILogger": "type ILogger"}
"""Of the Python package rather than the bindings, or with members of its own."""

Binding = ast.expr | str | ast.FunctionDef | ast.AsyncFunctionDef | None
"""A value, a type, a function of ours, or something unknown."""
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scope:
    """A module, class, function or comprehension: its names, and what its functions return."""

    def __init__(self, parent: Scope | None, *, comprehends: bool = False) -> None:
        self.parent = parent
        self.comprehends = comprehends
        self.names: dict[str, list[tuple[Binding, Scope]]] = {}
        self.returned: list[ast.expr] = []

    def bind(self, name: str, value: Binding, scope: Scope | None = None) -> None:
        self.names.setdefault(name, []).append((value, scope or self))

    def find(self, name: str) -> list[tuple[Binding, Scope]] | None:
        if name in self.names or self.parent is None:
            return self.names.get(name)
        return self.parent.find(name)


class Source:
    """One module. ``ours``: what functions of other modules of ours give, by name."""

    def __init__(self, text: str, ours: dict[str, str] | None = None) -> None:
        self.tree = ast.parse(text)
        self._ours = {} if ours is None else ours
        self._scopes: dict[ast.AST, Scope] = {}
        self._functions: dict[ast.AST, Scope] = {}
        self._attributes: dict[str, list[tuple[Binding, Scope]]] = {}
        """What the module assigns to attributes, without leading underscores."""
        self._asked: set[ast.AST] = set()
        self.module = Scope(None)
        self._read(self.tree, self.module)

    def type_of(self, node: ast.expr) -> str | None:
        """See the module's docstring."""
        if node in self._asked:
            return None
        self._asked.add(node)
        try:
            return self._type(node, self._scopes[node]) if node in self._scopes else None
        finally:
            self._asked.discard(node)

    def returns(self) -> dict[str, str]:
        """What the module's own functions give, where that is TensorRT's."""
        found = {}
        for name, bindings in self.module.names.items():
            for value, _ in bindings:
                kind = self._result(value)
                if kind is not None:
                    found[name] = kind
        return found

    def _read(self, node: ast.AST, scope: Scope) -> None:
        self._scopes[node] = scope
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._bind(target, node.value, scope)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            self._bind(node.target, node.value, scope)
            if scope.comprehends and scope.parent is not None:  # where := puts its name
                self._bind(node.target, node.value, scope.parent)
        elif isinstance(node, ast.For | ast.comprehension):
            element = ast.Subscript(node.iter, ast.Constant(0), ast.Load())
            self._scopes[element] = scope
            self._bind(node.target, ast.copy_location(element, node.iter), scope)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            self._bind(node.optional_vars, node.context_expr, scope)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                known = alias.name in MODULES
                scope.bind(alias.asname or alias.name.partition(".")[0], MODULE if known else None)
        elif isinstance(node, ast.ImportFrom):
            theirs = node.module in MODULES and node.level == 0
            for alias in node.names:
                imported = f"type {alias.name}" if theirs else f"ours {alias.name}"
                scope.bind(alias.asname or alias.name, imported)
        elif isinstance(node, ast.Return) and node.value is not None:
            scope.returned.append(node.value)
        inner = scope
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope.bind(node.name, None if isinstance(node, ast.ClassDef) else node)
        if isinstance(node, (*FUNCTIONS, *COMPREHENSIONS, ast.ClassDef)):
            inner = self._functions[node] = Scope(scope, comprehends=isinstance(node, COMPREHENSIONS))
        if isinstance(node, FUNCTIONS):
            every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            for argument in every:
                untyped = isinstance(node, ast.Lambda) or _is_untyped(argument.annotation)
                inner.bind(argument.arg, NAMES.get(argument.arg) if untyped else None)
            for rest in (node.args.vararg, node.args.kwarg):
                if rest is not None:
                    inner.bind(rest.arg, None)
        for child in ast.iter_child_nodes(node):
            self._read(child, inner)

    def _bind(self, target: ast.expr, value: ast.expr | None, scope: Scope) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            given = value.elts if isinstance(value, ast.Tuple | ast.List) else []
            fits = len(given) == len(target.elts)
            for index, part in enumerate(target.elts):
                self._bind(part, given[index] if fits else None, scope)
        elif isinstance(target, ast.Name):
            scope.bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            self._attributes.setdefault(target.attr.lstrip("_"), []).append((value, scope))

    def _type(self, node: ast.expr, scope: Scope) -> str | None:
        if isinstance(node, ast.Name):
            found = scope.find(node.id)
            return NAMES.get(node.id) if found is None else self._first(found)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Call):
            return self._call(node, scope)
        if isinstance(node, ast.Subscript):
            base = self.type_of(node.value)
            if base in (None, PLAIN, UNKNOWN):
                return base
            return RETURNS.get(f"{base}.__getitem__", UNKNOWN)
        if isinstance(node, ast.NamedExpr | ast.Await | ast.Starred):
            return self.type_of(node.value)
        if isinstance(node, ast.IfExp | ast.BoolOp):
            parts = node.values if isinstance(node, ast.BoolOp) else [node.body, node.orelse]
            return next((kind for part in parts if (kind := self.type_of(part)) not in (None, PLAIN)), None)
        return None

    def _first(self, bindings: list[tuple[Binding, Scope]]) -> str | None:
        """Assigned twice, a name is what is TensorRT's of the two."""
        kinds = [self.type_of(value) if isinstance(value, ast.expr) else value for value, _ in bindings]
        told = [kind for kind in kinds if isinstance(kind, str) and not kind.startswith("ours ")]
        return next((kind for kind in told if kind != PLAIN), told[0] if told else None)

    def _attribute(self, node: ast.Attribute) -> str | None:
        base = self.type_of(node.value)
        if base is not None:
            return member(base, node.attr)
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            name = node.attr.lstrip("_")
            return self._first(self._attributes[name]) if name in self._attributes else NAMES.get(name)
        return None

    def _call(self, node: ast.Call, scope: Scope) -> str | None:
        called = node.func
        if isinstance(called, ast.Name):
            if called.id == "getattr" and len(node.args) > 1:
                base, name = self.type_of(node.args[0]), node.args[1]
                if isinstance(name, ast.Constant):
                    return None if base is None else member(base, str(name.value))
                # Of an enum any member is of its type.
                return base.removeprefix("type ") if base is not None and base.startswith("type ") else base
            found = scope.find(called.id)
            kinds = [self._ours.get(called.id)] if found is None else [self._result(value) for value, _ in found]
            told = next((kind for kind in kinds if kind is not None), None)
            if told is not None:
                return told
        kind = self.type_of(called)
        if kind is not None and kind.startswith("type "):
            return kind.removeprefix("type ")
        if isinstance(called, ast.Attribute) and (base := self.type_of(called.value)) is not None:
            if base in (PLAIN, UNKNOWN) or called.attr == "__init__":
                return base if base == UNKNOWN else PLAIN
            owner = "" if base == MODULE else f"{base.removeprefix('type ')}."
            # Of what no version has, nothing more need be said than that.
            return RETURNS.get(f"{owner}{called.attr}", UNKNOWN if member(base, called.attr) else None)
        return None

    def _result(self, value: Binding) -> str | None:
        """What calling a function of ours gives."""
        if isinstance(value, str) and value.startswith("ours "):
            return self._ours.get(value.removeprefix("ours "))
        if isinstance(value, ast.FunctionDef | ast.AsyncFunctionDef):
            kinds = map(self.type_of, self._functions[value].returned)
            return next((kind for kind in kinds if kind not in (None, PLAIN)), None)
        return None


def _is_untyped(annotation: ast.expr | None) -> bool:
    return annotation is None or ast.unparse(annotation).split(" | ")[0] in ("Any", "object")


def member(base: str, name: str) -> str | None:
    """The type of an attribute of something that is TensorRT's."""
    if base in (PLAIN, UNKNOWN):
        return base
    if base == MODULE:
        if name in OUTSIDE:
            return OUTSIDE[name]
        return f"type {name}" if any(isinstance(surface(version).get(name), dict) for version in EVERY) else None
    owner = base.removeprefix("type ")
    declared = [known.get(name) for version in EVERY if isinstance(known := surface(version).get(owner), dict)]
    if base.startswith("type "):
        return owner if "value" in declared else PLAIN
    if "property" in declared:
        return PLAIN if name in ("name", "value") else PROPERTIES.get(f"{owner}.{name}", UNKNOWN)
    return PLAIN if any(kind is not None for kind in declared) else None


def functions_of(texts: list[str]) -> dict[str, str]:
    """What the functions of several modules give, where that is TensorRT's; they may call one another."""
    ours: dict[str, str] = {}
    sources = [Source(text, ours) for text in texts]
    for _ in range(3):
        for source in sources:
            ours |= source.returns()  # which the others see
    return ours
