"""The libraries whose ONNX parser and builder a graph is held to, and where their releases differ.

Where each fact is from: TensorRT 10.x and 11.x, the parser's list of operators and its source
(github.com/onnx/onnx-tensorrt, ``docs/operators.md`` and ``onnxOpImporters.cpp``) and the release notes;
TensorRT-RTX 1.7, its own parser and builder, to which ``tests/export/engines/test_refused_by_both.py`` holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ParserVersion:
    """One release of one library.

    Attributes:
        library: its name, as errors say it.
        release: its version, as errors say it.
        first_opset, last_opset: of graphs it is given.
        names_scatter_reduction: ScatterND may carry the attribute ``reduction`` at all, be it "none".
        reducing_scatter: ScatterElements may reduce; a plugin does it since TensorRT 10.0.
        int32_relu: Relu of int32; ``docs/operators.md`` of 10.1 lists it, and TensorRT-RTX 1.7 refuses it.
        missing: operators that others have an implementation of and this library does not, each with what to do.
    """

    library: Literal["TensorRT", "TensorRT-RTX"]
    release: str
    first_opset: int
    last_opset: int
    names_scatter_reduction: bool = True
    reducing_scatter: bool = True
    int32_relu: bool = True
    missing: Mapping[str, str] = field(default_factory=dict)


MISSING_IN_RTX = {
    # The parser takes it, and the builder has "no runners that implement it". TensorRT has them (INMSLayer).
    "NonMaxSuppression": "it parses, and then no kernel implements it; export with --nms runtime",
    # A plugin in TensorRT as well, whose builder has asked CUDA for the device before anything is parsed.
    "RoiAlign": "it is a plugin, which asks CUDA for the device while it is parsed, takes floats only, and puts "
    "code into version-compatible engines; export the checkpoint with --target tensorrt-rtx (or -o model.rtx), "
    "which writes it otherwise if its sampling ratio is above 0; one of 0 or less has no other form: run a graph "
    "(.onnx), or build for TensorRT",
    "NonZero": "its plugin is not in this library, and its output's size depends on the picture; write a mask and "
    "a TopK instead",
    # TensorRT has the plugin (docs/operators.md); nothing edgedet exports needs it.
    "DeformConv": "its plugin is not in this library; write it as GridSample and Conv",
}

VERSIONS: dict[str, ParserVersion] = {
    "10.3": ParserVersion("TensorRT", "10.3", 9, 20, names_scatter_reduction=False),
    # Later opsets are parsed in part; what edgedet writes ends at 20 for the sake of 10.3.
    "10.16": ParserVersion("TensorRT", "10.16", 9, 20),
    "11.4": ParserVersion("TensorRT", "11.4", 9, 25),
    "rtx-1.7": ParserVersion(
        "TensorRT-RTX", "1.7", 9, 25, reducing_scatter=False, int32_relu=False, missing=MISSING_IN_RTX
    ),
}
"""JetPack 6 has 10.3 and stays there; 10.16 is JetPack 7.2's; 11.4 is the newest."""

TENSORRT = tuple(name for name, version in VERSIONS.items() if version.library == "TensorRT")
"""What a graph of target tensorrt is checked for."""

TENSORRT_RTX = tuple(name for name, version in VERSIONS.items() if version.library == "TensorRT-RTX")
"""What the graph of an ``.rtx`` engine is checked for."""


def spoken(names: tuple[str, ...] | list[str]) -> str:
    """Versions as an error names them, grouped by library.

    >>> spoken(["10.3", "11.4", "rtx-1.7"])
    'TensorRT 10.3, 11.4 and TensorRT-RTX 1.7'
    """
    releases: dict[str, list[str]] = {}
    for name in names:
        releases.setdefault(VERSIONS[name].library, []).append(VERSIONS[name].release)
    return " and ".join(f"{library} {', '.join(found)}" for library, found in releases.items())
