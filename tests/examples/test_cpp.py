"""The C++ example, built and run: Detector's boxes from the same files, and refusals of what it cannot honour."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet import Detector
from edgedet.artifacts.seal import sealed
from edgedet.detections import Detection
from examples.scenes.scene import render_scene

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "cpp" / "run_graph.cpp"
SAMPLE = ROOT / "examples" / "sample" / "camera_phone_ssdlite320.pt"
API = "onnxruntime_cxx_api.h"

Run = Callable[..., subprocess.CompletedProcess[str]]


def prefixes(variable: str) -> list[Path]:
    named = os.environ.get(variable)
    return [Path(named)] if named else [Path("/usr/local"), Path("/usr"), Path("/opt/onnxruntime")]


def folder_of(header: str, variable: str, *places: str) -> Path:
    """The include folder that holds ``header``, or a skip that says where it was looked for."""
    found = prefixes(variable)
    for folder in [prefix / place for prefix in found for place in places]:
        if (folder / header).is_file():
            return folder
    pytest.skip(f"needs {header}, which is not below {', '.join(map(str, found))} (set {variable})")


def library_beside(headers: Path, folder: Path) -> Path:
    """Where libonnxruntime.so is: beside the headers, else the Python package's, linked in ``folder``."""
    for prefix in prefixes("ONNXRUNTIME_DIR"):
        if headers.is_relative_to(prefix):
            for beside in (*prefix.glob("lib*/libonnxruntime.so"), *prefix.glob("lib/*/libonnxruntime.so")):
                return beside.parent
    spec = find_spec("onnxruntime")
    wheel = Path(spec.origin).parent if spec is not None and spec.origin else Path("/nonexistent")
    library = next(iter(sorted(wheel.glob("capi/libonnxruntime.so.*"))), None)
    if library is None:
        pytest.skip("needs libonnxruntime.so, beside its headers or in the Python package onnxruntime")
    wanted = re.search(r"#define ORT_API_VERSION (\d+)", (headers / "onnxruntime_c_api.h").read_text("utf-8"))
    minor = int(library.name.split(".")[3])
    if wanted is None or int(wanted[1]) > minor:
        pytest.skip(f"needs headers of ONNX Runtime 1.{minor} or older for the library of the Python package")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(library)
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Run:
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        pytest.skip("needs a C++ compiler (c++, g++, clang++ or CXX)")
    runtime = folder_of(API, "ONNXRUNTIME_DIR", "include", "include/onnxruntime")
    nlohmann = folder_of("nlohmann/json.hpp", "NLOHMANN_JSON_DIR", "include", "single_include", ".")
    folder = tmp_path_factory.mktemp("cpp")
    library = library_beside(runtime, folder)
    command = [compiler, "-std=c++17", "-O2", "-Wall", "-Wextra", str(SOURCE), "-o", str(folder / "run_graph")]
    command += ["-isystem", str(runtime), "-isystem", str(nlohmann)]
    command += [f"-L{library}", "-lonnxruntime", f"-Wl,-rpath,{library}"]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr, built.stderr

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(folder / "run_graph"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample detector as a graph: float32 pixels, stretched."""
    return exported(SAMPLE, tmp_path_factory.mktemp("graph"))


def exported(source: Path, folder: Path, **options: Any) -> Path:
    pipeline = pytest.importorskip("edgedet.export.pipeline", reason="needs edgedet[export]")
    from edgedet.export.options import ExportOptions

    path: Path = pipeline.export_model(source, folder / "graph.onnx", ExportOptions(**options)).path
    return path


def write_ppm(path: Path, image: np.ndarray) -> Path:
    height, width = image.shape[:2]
    path.write_bytes(b"P6\n%d %d\n255\n" % (width, height) + image[..., ::-1].tobytes())
    return path


def is_same(row: dict[str, Any], found: Detection) -> bool:
    return (
        (row["label"], row["name"]) == (found.label, found.name)
        and abs(row["score"] - found.score) <= 1e-3
        and bool(np.abs(np.array(row["box"]) - found.box).max() <= 0.5)
    )


def require_equal(program: Run, graph: Path, images: list[np.ndarray], folder: Path) -> int:
    """Compare with Detector, and return how many detections were compared."""
    compared = 0
    with Detector(graph, runtime="onnxruntime:cpu", threads=1) as detector:
        for image in images:
            done = program(graph, write_ppm(folder / "picture.ppm", image))
            assert done.returncode == 0, done.stderr
            rows = [json.loads(line) for line in done.stdout.splitlines()]
            expected = detector.detect(image)
            assert len(rows) == len(expected)
            scores = [row["score"] for row in rows]
            assert scores == sorted(scores, reverse=True)
            # Detections whose scores differ by a rounding may change places.
            for found in expected:
                row = next((row for row in rows if is_same(row, found)), None)
                assert row is not None, f"not found: {found}"
                rows.remove(row)
            compared += len(expected)
    return compared


def photographs(folder: Path, count: int = 4) -> list[np.ndarray]:
    return [np.asarray(cv2.imread(str(path))) for path in sorted(folder.glob("*.jpg"))[:count]]


def test_the_boxes_of_detector(program: Run, sample: Path, tmp_path: Path) -> None:
    scenes = [
        render_scene(1).image,
        render_scene(2, width=321, height=517).image,
        render_scene(3).image[:200, :100],
    ]
    assert require_equal(program, sample, [scene.astype(np.uint8) for scene in scenes], tmp_path) > 100


def test_letterboxed_bytes(program: Run, shared: Path, tmp_path: Path) -> None:
    graph = exported(shared / "models/yolox_nano.onnx", tmp_path, family="yolox", conf=0.05)
    pictures = photographs(shared / "data/coco128/val2017")
    # Smaller than the canvas, exactly half as large again, and as large.
    pictures += [cv2.resize(pictures[0], size) for size in ((208, 130), (832, 832), (416, 416))]
    assert require_equal(program, graph, pictures, tmp_path) > 50


def test_the_shortest_side_decides(program: Run, shared: Path, tmp_path: Path) -> None:
    graph = exported(shared / "models/fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt", tmp_path, proposals=30)
    pictures = photographs(shared / "data/bccd/JPEGImages", 2)
    # Taller and wider than the canvas has room for.
    pictures += [np.ascontiguousarray(pictures[0][:, 200:400]), pictures[0][100:240]]
    assert require_equal(program, graph, pictures, tmp_path) > 30


CHANGES: dict[str, tuple[str, Any, str]] = {
    "a newer card": ("version", 2, "2, this program only knows 1"),
    "a card of no version": ("version", "1", '"1", this program only knows 1'),
    "outputs without NMS": ("output.format", "candidates", '"candidates", this program only knows "detections"'),
    "an unknown format": ("output.format", "masks", '"masks"'),
    "planes": ("input.layout", "NCHW", '"NCHW"'),
    "RGB": ("input.colour", "RGB", '"RGB"'),
    "arithmetic of the host": ("input.normalise", "host", '"host"'),
    "antialiasing": ("resize.antialias", True, "true, this program only knows false"),
    "no resizing": ("resize.rule", "none", "resize rule none is not supported"),
    "an unknown rule": ("resize.rule", "cover", "resize rule cover is not supported"),
    "a rule that is missing": ("resize.rule", None, "must be string"),
    "a size that is no number": ("input.width", "320", "must be number"),
    "another size": ("input.width", 416, "not the input of the card"),
    "a size beyond all memory": ("input.width", 2**60, "impossible size"),
    "another type of pixels": ("input.dtype", "uint8", "data type"),
    "no number of detections": ("output.max_detections", None, "must be number"),
    "fewer names": ("names", [], "out of range"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_cards_it_cannot_honour(program: Run, sample: Path, tmp_path: Path, what: str) -> None:
    key, value, message = CHANGES[what]
    picture = write_ppm(tmp_path / "picture.ppm", render_scene(1).image)
    refused(program(changed(sample, key, value, tmp_path / "changed.onnx"), picture), message)


def changed(graph: Path, key: str, value: Any, path: Path) -> Path:
    """``graph`` with another value on its card."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(graph)
    (entry,) = (entry for entry in model.metadata_props if entry.key == "edgedet")
    card = json.loads(entry.value)
    *outer, last = key.split(".")
    (card[outer[0]] if outer else card)[last] = value
    entry.value = json.dumps(card)
    onnx.save(model, path)
    return path


def test_the_card_limits_the_detections(program: Run, sample: Path, tmp_path: Path) -> None:
    fewer = changed(sample, "output.max_detections", 7, tmp_path / "fewer.onnx")
    fewer.write_bytes(sealed(fewer.read_bytes()))  # Detector opens nothing that was changed
    assert require_equal(program, fewer, [render_scene(1).image], tmp_path) == 7


def test_graphs_that_are_none_of_ours(program: Run, sample: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    picture = write_ppm(tmp_path / "picture.ppm", np.zeros((4, 4, 3), np.uint8))
    refused(program(tmp_path / "nowhere.onnx", picture), "exist")
    (tmp_path / "text.onnx").write_text("not a graph")
    refused(program(tmp_path / "text.onnx", picture), "failed")
    model = onnx.load(sample)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    refused(program(tmp_path / "bare.onnx", picture), "no model card")
    onnx.helper.set_model_props(model, {"edgedet": "{"})
    onnx.save(model, tmp_path / "broken.onnx")
    refused(program(tmp_path / "broken.onnx", picture), "parse error")
    refused(program(), "usage")


def test_outputs_that_are_not_those_of_the_format(program: Run, sample: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    picture = write_ppm(tmp_path / "picture.ppm", np.zeros((4, 4, 3), np.uint8))
    model = onnx.load(sample)
    kept = [output for output in model.graph.output if output.name != "count"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, tmp_path / "without.onnx")
    refused(program(tmp_path / "without.onnx", picture), "count")
    model = onnx.load(sample)
    (last,) = (output for output in model.graph.output if output.name == "count")
    (maker,) = (node for node in model.graph.node if "count" in node.output)
    maker.output[list(maker.output).index("count")] = "few"
    model.graph.node.append(onnx.helper.make_node("Cast", ["few"], ["count"], to=onnx.TensorProto.INT64))
    last.type.tensor_type.elem_type = onnx.TensorProto.INT64
    onnx.save(model, tmp_path / "longer.onnx")
    refused(program(tmp_path / "longer.onnx", picture), "outputs are not what its card says")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a PPM"),
        (b"\xff\xd8\xff\xe0", "expected a PPM"),
        (b"P5\n4 4\n255\n" + bytes(16), "expected a PPM"),
        (b"P6\n4 4\n65535\n" + bytes(96), "expected a PPM"),
        (b"P6\n# a comment\n4 4\n255\n" + bytes(48), "expected a PPM"),
        (b"P6\n4 4\n255\n" + bytes(47), "cut off"),
        (b"P6\n0 4\n255\n" + bytes(48), "impossible size"),
        (b"P6\n9223372036854775807 2\n255\n" + bytes(48), "impossible size"),
    ],
)
def test_pictures_it_cannot_read(program: Run, sample: Path, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "picture.ppm").write_bytes(content)
    refused(program(sample, tmp_path / "picture.ppm"), message)


def refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("run_graph: ") and message in done.stderr


def test_it_stays_short_enough_to_read() -> None:
    assert len(SOURCE.read_text("utf-8").splitlines()) < 150
