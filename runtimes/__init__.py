"""Runtimes: one module each behind the protocol in :mod:`edgedet.runtimes.base`, found by this table.

A new runtime is a module and an entry here: commands, ``--help``, ``edgedet doctor`` and messages follow the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgedet.artifacts.engine_library import LIBRARIES
from edgedet.artifacts.ncnn_file import SUFFIX

Kind = Literal["graph", "engine", "ncnn", "checkpoint"]


@dataclass(frozen=True)
class RuntimeInfo:
    """What is known of a runtime without importing it.

    Args:
        name: what users call it (``runtime="onnxruntime"``).
        module: dotted name; it has ``open(path, *, card, threads, device) -> Runtime``; see ``from_memory``.
        suffixes: file suffix to the kind of artifact it runs under that suffix. Several runtimes may run one kind;
            the first of the table that is installed is the choice of ``auto``.
        needs: the module that must be installed.
        install: how to get it.
        devices: what may follow the name after a colon (``onnxruntime:cuda``).
        from_memory: whether ``open`` takes ``content=``, the artifact's bytes, in place of the file; without, it
            runs neither bytes nor artifacts whose signature was checked.
        lanes: whether ``open`` takes ``lanes`` (:class:`edgedet.runtimes.base.RunsInLanes`).
    """

    name: str
    module: str
    suffixes: Mapping[str, Kind]
    needs: str
    install: str
    devices: tuple[str, ...] = ()
    from_memory: bool = False
    lanes: bool = False

    @property
    def kinds(self) -> frozenset[Kind]:
        """Kinds of artifact it runs."""
        return frozenset(self.suffixes.values())

    @property
    def spelling(self) -> str:
        """Name and devices as ``--help`` shows them: ``onnxruntime[:cpu|:cuda]``."""
        return self.name + (f"[{'|'.join(f':{device}' for device in self.devices)}]" if self.devices else "")


RUNTIMES: tuple[RuntimeInfo, ...] = (
    RuntimeInfo(
        "onnxruntime",
        "edgedet.runtimes.onnxruntime",
        {".onnx": "graph"},
        needs="onnxruntime",
        install="pip install onnxruntime",
        devices=("cpu", "cuda"),
        from_memory=True,
        lanes=True,
    ),
    RuntimeInfo(
        "openvino",
        "edgedet.runtimes.openvino",
        {".onnx": "graph"},
        needs="openvino",
        install="pip install 'edgedet[openvino]'",
        from_memory=True,
        lanes=True,
    ),
    RuntimeInfo(
        "ncnn",
        "edgedet.runtimes.ncnn",
        {SUFFIX: "ncnn"},
        needs="ncnn",
        install="pip install 'edgedet[ncnn]'",
        from_memory=True,
    ),
    *(
        RuntimeInfo(
            library.name,
            "edgedet.runtimes.tensorrt",
            dict.fromkeys(library.suffixes, "engine"),
            needs=library.module,
            install=library.install,
            from_memory=True,
        )
        for library in LIBRARIES
    ),
    RuntimeInfo(
        "torch",
        "edgedet.export.torch_runtime",
        {".pt": "checkpoint", ".pth": "checkpoint", ".ckpt": "checkpoint", ".safetensors": "checkpoint"},
        needs="torchvision",
        install="pip install 'edgedet[export]', or export the checkpoint and run the .onnx file",
    ),
)
"""All runtimes, in order of preference."""


def suffixes() -> dict[str, Kind]:
    """File suffix to kind of artifact, of all runtimes."""
    return {suffix: kind for info in reversed(RUNTIMES) for suffix, kind in info.suffixes.items()}


def spellings() -> str:
    """What ``--runtime`` takes, for help texts: ``auto, onnxruntime[:cpu|:cuda], tensorrt, torch``."""
    return ", ".join(["auto", *(info.spelling for info in RUNTIMES)])
