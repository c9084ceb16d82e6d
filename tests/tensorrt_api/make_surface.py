"""Write ``surface.json``: what NVIDIA's Python bindings offer, version by version, of the classes edgedet uses; and
``returns.json``: what their methods give, where the versions agree and the signature tells.

The input is a folder of ``VERSION.json.gz`` files (class, member, first line of its signature) read off the real
bindings. To add a version: import its ``tensorrt_bindings`` (nine stub symbols suffice, no GPU), dump the members'
``__doc__`` lines, and run::

    python tests/tensorrt_api/make_surface.py FOLDER

Without FOLDER the TensorRT-RTX that is installed is read off itself, which takes no GPU either. Versions that are
not given stay as they are.
"""

from __future__ import annotations

import gzip
import inspect
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

CLASSES = (
    "Builder", "BuilderFlag", "ComputeCapability", "DataType", "Dims", "EngineInspector",
    "EngineInvalidityDiagnostics", "EngineValidity", "HardwareCompatibilityLevel", "IBuilderConfig", "ICudaEngine",
    "IExecutionContext", "IHostMemory", "ILogger", "INetworkDefinition", "IProfiler", "IProgressMonitor",
    "IRuntimeCache", "IRuntimeConfig", "ITensor", "ITimingCache", "LayerInformationFormat", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "ProfilingVerbosity", "Runtime", "TensorIOMode",
    "init_libnvinfer_plugins", "get_nv_onnx_parser_version",
)  # fmt: skip
SURFACE = Path(__file__).with_name("surface.json")
RETURNS = Path(__file__).with_name("returns.json")
RECORDED = 200
"""Letters that are kept of a signature."""
PLAIN = {"bool", "bytes", "capsule", "dict", "float", "int", "list", "None", "object", "str", "tuple", "typing"}


def parameters(signature: str) -> list[str] | None:
    """``name: type`` of every parameter but self, with ``=`` where it has a default; None for overloads.

    >>> parameters("f(self: tensorrt.A, flags: int = 0, k: nvinfer1::B) -> tensorrt.C")
    ['flags: int =', 'k: B']
    """
    inside = re.match(r"\w+\((.*)", signature.partition("\n")[0])
    if inside is None or "*args" in signature:
        return None
    text, depth, current, found = inside.group(1), 0, "", []
    for letter in text:
        if letter in "[(<":
            depth += 1
        elif letter in "])>":
            depth -= 1
            if depth < 0:
                break
        if letter == "," and depth == 0:
            found.append(current)
            current = ""
        else:
            current += letter
    found.append(current)
    plain = []
    for item in found:
        name, _, kind = item.strip().partition(":")
        kind, equals, _ = kind.partition("=")
        kind = re.split(r"\.|::", re.sub(r"\[.*", "", kind))[-1].strip()
        if name and name != "self":
            plain.append(f"{name}: {kind}" + (" =" if equals else ""))
    return plain


def member(name: str, value: str) -> Any:
    """``property``, ``value`` (of an enum), a list of parameters, or ``overloaded``."""
    if value == "property":
        return "property"
    if "(" in value:
        found = parameters(value)
        return "overloaded" if found is None else found
    return [] if name == "__init__" else "value"


def returned(signature: str) -> str | None:
    """What a call gives: a class, ``plain`` for Python's own types, None where the signature does not tell.

    >>> returned("f(self: tensorrt.A) -> tensorrt.C"), returned("f(self: tensorrt.A) -> List[str]")
    ('C', 'plain')
    >>> returned("f(*args, **kwargs)"), returned("f(self: tensorrt.A) -> List[tensorrt.Dims]")
    (None, None)
    """
    line, _, after = signature.partition("\n")
    _, arrow, kind = line.partition(" -> ")
    if not arrow or (not after and len(line) >= RECORDED):
        return None
    words = re.findall(r"[\w:.]+", kind)
    if {word.lower() if word != "None" else word for word in words} <= PLAIN:
        return "plain"
    return re.split(r"\.|::", words[0])[-1].replace("IParserError", "ParserError") if len(words) == 1 else None


def installed() -> dict[str, Any]:
    """Members of the installed TensorRT-RTX by its version: what a ``VERSION.json.gz`` holds."""
    import tensorrt_rtx_libs  # noqa: F401, I001 (loads what the bindings are linked with)
    import tensorrt_rtx_bindings as trt

    def said(value: Any) -> str:
        if isinstance(value, property):
            return "property"
        lines = (
            (value.__doc__ or "").strip().splitlines() if callable(value) and not isinstance(value, type) else []
        )
        return lines[0][:RECORDED] + ("\n" if len(lines) > 1 else "") if lines else ""

    kept = ("__init__", "__getitem__", "__len__")
    found: dict[str, Any] = {}
    for name in CLASSES:
        value = getattr(trt, name)
        if not isinstance(value, type):
            found[name] = said(value)
            continue
        static = {key: inspect.getattr_static(value, key) for key in dir(value)}
        found[name] = {
            key: said(what if isinstance(what, property) else getattr(value, key))
            for key, what in static.items()
            if not key.startswith("_") or (key in kept and key in vars(value))
        }
    return {f"rtx-{trt.__version__}": found}


def main(folder: Path | None) -> None:
    surface: dict[str, Any] = json.loads(SURFACE.read_text())
    returns: dict[str, set[str | None]] = defaultdict(set)
    for name, kind in json.loads(RETURNS.read_text()).items():
        returns[name].add(kind)
    dumps = installed() if folder is None else {
        path.name.removesuffix(".json.gz"): json.loads(gzip.decompress(path.read_bytes()))
        for path in sorted(folder.glob("*.json.gz"))
    }  # fmt: skip
    for version, full in dumps.items():
        recorded = [name for name in CLASSES if name in full]
        surface[version] = {
            name: {key: member(key, text) for key, text in sorted(full[name].items())}
            if isinstance(full[name], dict)
            else member(name, full[name])
            for name in recorded
        }
        for name in recorded:
            members = full[name].items() if isinstance(full[name], dict) else [("", full[name])]
            for key, text in members:
                if "(" in text and key != "__init__":
                    returns[f"{name}.{key}".rstrip(".")].add(returned(text))
    told = {name: kinds - {None} for name, kinds in sorted(returns.items())}
    agreed = {name: kind for name, kinds in told.items() if len(kinds) == 1 for kind in kinds}
    RETURNS.write_text(json.dumps(agreed, indent=0) + "\n")
    text = json.dumps(surface, indent=0, sort_keys=True)
    SURFACE.write_text(re.sub(r"\n(?=[^{}])", "", text).replace('",', '", ') + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
