"""The order of the house: a room imports only what lies below it, nothing imports in a circle, every arrow is seen.

All imports count, those inside functions too: a late import makes a program start faster, it turns no arrow round.
Imports for type checkers alone do not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("calibration", "export", "runtimes")
"""Rooms that lie beside the folder of the package."""

LAYERS = [
    "__main__",
    "cli",
    "report",
    "cluster",
    "sweep",
    "selftest",
    "export",
    "tune",
    "install",
    "bench",
    "cascade",
    "by_task",
    "segmenter",
    "detector",
    "streaming",
    "lane",
    "outside_proposals",
    "opening",
    "environment",
    "calibration",
    "runtimes",
    "reference",
    "evaluate",
    "onnx_runtime",
    "proof",
    "postprocess",
    "preprocess",
    "foreign_faults",
    "plausible",
    "datasets",
    "service",
    "watching",
    "crops",
    "detections",
    "masks",
    "heatmaps",
    "nms",
    "resizing",
    "box_overlap",
    "geometry",
    "pictures",
    "artifacts",
    "onnx_graph",
    "tuned_choice",
    "exporter",
    "in_order",
    "machine",
    "files",
    "settings",
    "process_setting",
    "absent",
    "errors",
    "doors",
]
"""From top to bottom."""

EXPORT_LAYERS = [
    "selftest_graph",
    "reference_graph",
    "check",
    "pipelines",
    "pipeline",
    "finished_graph",
    "reference_parity",
    "map_parity",
    "parity",
    "sources",
    "checkpoint_source",
    "foreign_source",
    "built_graph",
    "ncnn",
    "self_describing",
    "torch_runtime",
    "segmentation",
    "engines",
    "request",
    "options",
    "hugging_face",
    "darknet",
    "checkpoints",
    "for_cpu",
    "families",
    "ultralytics",
    "foreign",
    "adoption",
    "training",
]


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


@cache
def imports(source: str, package: str) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
    """Module, names taken from it, and whether the import is relative; of every import of the package."""
    return tuple(_imports(source, package))


def _imports(source: str, package: str) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    tree = ast.parse(source)
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from ((name.name, (), False) for name in node.names if name.name.split(".")[0] == "edgedet")
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            if module.split(".")[0] == "edgedet":
                yield module, tuple(name.name for name in node.names), node.level > 0


def arrows(files: Mapping[str, Path]) -> dict[str, set[str]]:
    """Which modules every module imports."""
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        targets = set()
        for module, names, _ in imports(path.read_text("utf-8"), package):
            inner = {f"{module}.{each}" for each in names} & set(files)
            targets |= inner or {module}
        found[name] = targets - {name, "edgedet"}
    return found


def upward(found: Mapping[str, set[str]], layers: list[str], room: str = "edgedet") -> list[str]:
    """Imports that go up or lead to a room without a place in ``layers``."""
    rank = {name: place for place, name in enumerate(layers)}
    faults = []
    for module, targets in found.items():
        for target in targets:
            if not all(each.startswith(f"{room}.") for each in (module, target)):
                continue
            here, there = (each[len(room) + 1 :].split(".")[0] for each in (module, target))
            if here not in rank or there not in rank:
                faults.append(f"{module} or {target} has no place in the layers")
            elif here != there and rank[there] <= rank[here]:
                faults.append(f"{module} imports {target}, which lies above it")
    return faults


def circles(found: Mapping[str, set[str]]) -> list[str]:
    """Modules that import themselves by way of others."""
    faults = []
    for start in found:
        seen: set[str] = set()
        waiting = list(found[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += found.get(name, ())
        if start in seen:
            faults.append(start)
    return faults


def mapped_absolute(files: Mapping[str, Path]) -> list[str]:
    """Imports inside the mapped rooms that reach a mapped room by the package's name, not by its place."""
    faults = []
    for name, path in files.items():
        if name.split(".")[1:2] and name.split(".")[1] in MAPPED:
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            for module, _, relative in imports(path.read_text("utf-8"), package):
                if not relative and module.split(".")[1:2] and module.split(".")[1] in MAPPED:
                    faults.append(f"{name} imports {module}")
    return faults


def test_nothing_imports_upwards() -> None:
    found = arrows(modules(ROOT))
    assert not upward(found, LAYERS)
    assert not upward(found, EXPORT_LAYERS, "edgedet.export")


def test_nothing_imports_in_a_circle() -> None:
    assert not circles(arrows(modules(ROOT)))


def test_mapped_rooms_reach_each_other_by_place() -> None:
    assert not mapped_absolute(modules(ROOT))


@pytest.mark.parametrize(
    ("path", "planted", "fault"),
    [
        ("edgedet/errors.py", "from edgedet.detector import Detector", "upward"),
        ("edgedet/pictures/frames.py", "def late():\n    import edgedet.evaluate.coco", "upward"),
        ("edgedet/bench/suite.py", "from edgedet.cli import bench", "upward"),
        ("export/families/ssd.py", "from ..pipeline import export_model", "upward"),
        ("edgedet/newroom.py", "from edgedet.errors import EdgedetError", "upward"),
        ("edgedet/datasets/dataset.py", "from edgedet.datasets.read import read_dataset", "circle"),
        ("export/options.py", "from edgedet.export import sources", "absolute"),
        ("calibration/grid.py", "from edgedet.runtimes.base import Runtime", "absolute"),
    ],
)
def test_a_planted_import_is_caught(path: str, planted: str, fault: str, tmp_path: Path) -> None:
    files = modules(ROOT)
    changed = tmp_path / Path(path).name
    old = ROOT / path
    changed.write_text(f"{old.read_text('utf-8') if old.exists() else ''}\n{planted}\n", "utf-8")
    parts = Path(path).with_suffix("").parts
    files[".".join(parts if parts[0] == "edgedet" else ("edgedet", *parts))] = changed
    found = arrows(files)
    faults = {
        "upward": upward(found, LAYERS) + upward(found, EXPORT_LAYERS, "edgedet.export"),
        "circle": circles(found),
        "absolute": mapped_absolute(files),
    }
    assert faults[fault]
