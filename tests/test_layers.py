"""The order of the house: a room imports only what lies below it, nothing imports in a circle, every arrow is seen.

All imports count, those inside functions too: a late import makes a program start faster, it turns no arrow round.
A name taken from a door (the ``__init__`` of a room or of the package) counts as an import of the module it comes
from, and a module's name in a string as an import of that module. Imports for type checkers alone do not count.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.product_imports import CLONE, MAPPED, ROOT, arrows, doors, imports_of, modules, named, reached

TABLES = {
    ("edgedet.runtimes", "edgedet.export.torch_runtime"): "the table of runtimes; who opens a checkpoint loads it",
    **{
        ("edgedet.dataset_formats", f"edgedet.datasets.{name}"): "the table of formats; who reads one loads it"
        for name in ("annotation_txt", "box_csv", "coco", "labelme", "open_images", "voc", "yolo")
    },
}
"""Module and the module above it that it may name in a string, and why: tables of what is loaded late, by name."""

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
    "task_dispatch",
    "segmenter",
    "detector",
    "streaming",
    "inference_lane",
    "outside_proposals",
    "opening",
    "installed_packages",
    "calibration",
    "runtimes",
    "reference",
    "evaluate",
    "onnxruntime_import",
    "proof",
    "postprocess",
    "preprocess",
    "outputs",
    "datasets",
    "service",
    "watching",
    "crops",
    "detections",
    "masks",
    "nms",
    "resizing",
    "box_overlap",
    "geometry",
    "pictures",
    "artifacts",
    "onnx_graph",
    "tuned_choice",
    "prefetch",
    "machine",
    "files",
    "argument_checks",
    "dataset_formats",
    "budget_limits",
    "missing_figures",
    "uninstalled_rooms",
    "errors",
    "lazy_names",
]
"""From top to bottom."""

EXPORT_LAYERS = [
    "selftest_graph",
    "workload_graph",
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
    "embedded_card",
    "torch_runtime",
    "segmentation",
    "engines",
    "request_checks",
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
    by_door = doors(files)
    return [
        f"{name} imports {target}"
        for name, path in files.items()
        if name.split(".")[1:2] and name.split(".")[1] in MAPPED
        for taken in imports_of(name, path)
        if not taken.relative
        for target in reached(taken, files, by_door)
        if target.split(".")[1:2] and target.split(".")[1] in MAPPED
    ]


def clone_only(files: Mapping[str, Path]) -> list[str]:
    """Imports of the clone's folders by names of their own, which no installed package has."""
    return [
        f"{name} imports {taken.module}, which is there in a clone alone"
        for name, path in files.items()
        for taken in imports_of(name, path)
        if taken.module.split(".")[0] in CLONE
    ]


def named_upward(files: Mapping[str, Path]) -> list[str]:
    """Modules above that are named in a string and stand in no table that may do so."""
    found = {
        name: {each for each in targets if (name, each) not in TABLES} for name, targets in named(files).items()
    }
    return upward(found, LAYERS) + upward(found, EXPORT_LAYERS, "edgedet.export")


def test_nothing_imports_upwards() -> None:
    found = arrows(modules(ROOT))
    assert not upward(found, LAYERS)
    assert not upward(found, EXPORT_LAYERS, "edgedet.export")


def test_strings_name_no_module_above_but_in_the_tables() -> None:
    files = modules(ROOT)
    assert not named_upward(files)
    assert not [(name, above) for name, above in TABLES if above not in named(files)[name]]


def test_nothing_imports_in_a_circle() -> None:
    assert not circles(arrows(modules(ROOT)))


def test_mapped_rooms_reach_each_other_by_place() -> None:
    assert not mapped_absolute(modules(ROOT))


def test_nothing_needs_a_clone() -> None:
    assert not clone_only(modules(ROOT))


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
        ("calibration/quantisation_grid.py", "from edgedet.runtimes.base import Runtime", "absolute"),
        ("edgedet/errors.py", "from edgedet import Detector", "upward"),
        ("edgedet/errors.py", "from edgedet import Detector as Other", "upward"),
        ("edgedet/errors.py", "from . import Detector", "upward"),
        ("edgedet/errors.py", "from edgedet import *", "upward"),
        ("edgedet/errors.py", "import edgedet as whole", "upward"),
        ("edgedet/errors.py", "import edgedet.lazy_names\nedgedet.Detector", "upward"),
        ("edgedet/errors.py", "from edgedet.watching import Tracker", "upward"),
        ("edgedet/watching/tracker.py", "from edgedet.watching import Watcher", "circle"),
        ("edgedet/datasets/dataset.py", "from edgedet.datasets import read_dataset", "circle"),
        ("export/families/ssd.py", "from .. import export_model", "upward"),
        ("export/families/ssd.py", "from edgedet.export import export_model", "upward"),
        ("export/families/ssd.py", "from edgedet import export", "upward"),
        ("export/options.py", "from edgedet import runtimes", "absolute"),
        ("export/options.py", "from edgedet import Runtime", "absolute"),
        ("edgedet/inference_lane.py", "from runtimes.base import Runtime", "clone"),
        ("export/options.py", "from runtimes.base import Runtime", "clone"),
        ("calibration/quantisation_grid.py", "import export.options", "clone"),
        ("edgedet/inference_lane.py", "from tests.tiny_detector import tiny", "clone"),
        ("edgedet/inference_lane.py", "import_module('benchmarks.peers')", "clone"),
        ("edgedet/errors.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import edgedet.detector", "upward"),
        ("edgedet/errors.py", "if TYPE_CHECKING:\n    pass\nelif late:\n    import edgedet.detector", "upward"),
        ("edgedet/errors.py", "import_module('edgedet.detector')", "upward"),
        ("edgedet/errors.py", "importlib.import_module('.detector', 'edgedet')", "upward"),
        ("edgedet/errors.py", "importlib.import_module('.detector', package=__package__)", "upward"),
        ("edgedet/errors.py", "__import__('edgedet.detector')", "upward"),
        ("edgedet/errors.py", "__import__('detector', globals(), None, (), 1)", "upward"),
        ("export/families/ssd.py", "import_module('..pipeline', __package__)", "upward"),
        ("edgedet/errors.py", "TABLE = {'detector': 'edgedet.detector:Detector'}", "named"),
        ("runtimes/base.py", "TABLE = ('edgedet.export.torch_runtime',)", "named"),
        ("export/families/base.py", "COMMAND = ['-m', 'edgedet.export.engines.operator_check_process']", "named"),
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
        "clone": clone_only(files),
        "named": named_upward(files),
    }
    assert faults[fault]


def test_an_import_for_type_checkers_alone_is_no_arrow(tmp_path: Path) -> None:
    files = modules(ROOT)
    changed = tmp_path / "errors.py"
    planted = "if TYPE_CHECKING:\n    from edgedet import Detector\n    from edgedet.inference_lane import Timing\n"
    changed.write_text(f"{files['edgedet.errors'].read_text('utf-8')}\n{planted}", "utf-8")
    assert arrows({**files, "edgedet.errors": changed}) == arrows(files)


def test_a_name_that_a_door_imports_at_once_leads_to_its_module(tmp_path: Path) -> None:
    texts = {
        "__init__": "from edgedet.detector import Detector as Eager",
        "errors": "from . import Eager",
        "detector": "class Detector: ...",
    }
    files = {}
    for name, text in texts.items():
        path = tmp_path / f"{name}.py"
        path.write_text(text, "utf-8")
        files["edgedet" if name == "__init__" else f"edgedet.{name}"] = path
    assert arrows(files)["edgedet.errors"] == {"edgedet.detector"}
