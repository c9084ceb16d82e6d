"""Engines built and run by the real TensorRT, against ONNX Runtime."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detector
from edgedet.errors import ArtifactError
from edgedet.export.options import EngineOptions, ExportOptions
from edgedet.export.pipeline import export_model
from edgedet.proof.golden_scene import golden_frame
from edgedet.proof.parity import ON_AN_ENGINE, ParityReport, Tolerance, match_detections, summarise
from edgedet.runtimes.cuda.device import Cuda
from edgedet.selftest import SELFTEST_GRAPH, TOLERANCE

QUICK = EngineOptions(optimization_level=1)
DETECTORS = ("ssdlite320_mobilenet_v3_large_bccd.pt", "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt")

CALIBRATION_PICTURES = 16


def agreement(
    reference: Detector, detector: Detector, tolerance: Tolerance, frames: Iterable[np.ndarray]
) -> ParityReport:
    return summarise(
        [match_detections(reference.detect(frame), detector.detect(frame), tolerance) for frame in frames]
    )


@pytest.mark.parametrize("way", ["plain", "version_compatible", "ampere_plus"])
def test_the_tiny_engine_gives_onnx_runtimes_detections(
    tensorrt: Any, cuda: Cuda, tmp_path: Path, way: str
) -> None:
    if way == "ampere_plus" and cuda.integrated:
        pytest.skip("TensorRT offers hardware compatibility on GPUs with memory of their own, not on a Jetson")
    options = replace(
        QUICK,
        version_compatible=way == "version_compatible",
        hardware_compatibility="ampere_plus" if way == "ampere_plus" else "none",
    )
    export_model(SELFTEST_GRAPH, tmp_path / "tiny.trt", engine=options)
    with Detector(SELFTEST_GRAPH) as reference, Detector(tmp_path / "tiny.trt", selftest=True) as detector:
        report = agreement(reference, detector, TOLERANCE, map(golden_frame, range(10)))
        assert "CUDA graph" in detector.description
    # The self-test's rule: TF32 moves what lies on an edge.
    assert report.agrees(0.98)


def test_a_quantised_graph_becomes_an_int8_engine(tensorrt: Any, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs onnx, to quantise the graph")
    from edgedet.calibration.pipeline import QuantiseOptions, quantise
    from edgedet.export.embedded_card import embed
    from edgedet.export.selftest_graph import selftest_graph
    from edgedet.proof.golden import record

    model, card = selftest_graph()
    frames = [golden_frame(seed, 64, 64)[None] for seed in range(8)]
    options = QuantiseOptions(target="tensorrt", max_drop=1.0, over_budget="keep_best")
    quantised = quantise(model, card, frames, options=options).model
    graph, engine = tmp_path / "tiny.onnx", tmp_path / "tiny.trt"
    card = replace(card, precision="int8")
    graph.write_bytes(embed(quantised, card).SerializeToString())
    with Detector(graph) as detector:
        card = replace(card, golden=record(detector))
    graph.write_bytes(embed(quantised, card).SerializeToString())
    built = export_model(graph, engine, engine=QUICK).card.engine
    assert built is not None and built["inspector"]["weighted"].get("int8"), built


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", DETECTORS)
def test_trained_detectors_keep_their_detections(
    tensorrt: Any, shared: Path, tmp_path: Path, name: str, precision: Any
) -> None:
    for module in ("torch", "torchvision", "onnx"):
        pytest.importorskip(module, reason=f"needs {module}, to export the checkpoint")
    import cv2

    options = ExportOptions(precision=precision, nms="runtime", target="tensorrt", over_budget="keep_best")
    if precision == "int8":
        few = tmp_path / "calibration"
        few.mkdir()
        for picture in sorted((shared / "data" / "bccd" / "JPEGImages").glob("*.jpg"))[:CALIBRATION_PICTURES]:
            shutil.copy(picture, few)
        options = replace(options, calib=str(few))
    graph = export_model(shared / "models" / name, tmp_path / "model.onnx", options).path
    engine = export_model(graph, tmp_path / "model.trt", engine=QUICK)
    assert engine.card.engine is not None
    inspector, memory = engine.card.engine["inspector"], engine.card.engine["memory"]
    assert precision == "fp32" or inspector["layers"].get("fp16")
    assert precision != "int8" or inspector["weighted"].get("int8")
    share = inspector["time"]["share"]
    assert sum(share.values()) == pytest.approx(1, abs=0.01) and share.get("unknown", 0) < 0.2
    # Of the order of what was predicted; the figures themselves belong into docs/measured. Of the machine's own
    # memory this process has taken some before, so only the GPU's is compared.
    if "gpu" in (memory["peak_mib"] or {}):
        assert 0 < memory["peak_mib"]["gpu"] < 2 * memory["predicted_mib"]["gpu"]
    pictures = [cv2.imread(str(path)) for path in sorted((shared / "data").rglob("*.jpg"))[:20]]
    with Detector(graph) as reference, Detector(tmp_path / "model.trt") as detector:
        tolerance, least = ON_AN_ENGINE[precision]
        report = agreement(reference, detector, tolerance, pictures)
    assert report.agrees(least)


def test_frames_on_the_gpu_give_what_the_same_frames_on_the_host_give(tensorrt: Any, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch with CUDA")
    export_model(SELFTEST_GRAPH, tmp_path / "tiny.trt", engine=QUICK)
    frames = [golden_frame(seed, 90, 160) for seed in range(6)]
    with Detector(tmp_path / "tiny.trt") as on_host, Detector(tmp_path / "tiny.trt") as on_gpu:
        expected = [on_host.detect(frame) for frame in frames]
        found = [on_gpu.detect(torch.from_numpy(frame).cuda()) for frame in frames]
    # A grey level of difference in resizing moves what lies on an edge.
    tolerance = Tolerance(min_score=0.65, min_iou=0.9, max_score_difference=0.05)
    report = summarise([match_detections(*pair, tolerance) for pair in zip(expected, found, strict=True)])
    assert report.agrees(0.8)


def test_frames_on_the_gpu_are_taken(tensorrt: Any, cuda: Cuda, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch with CUDA")
    from edgedet.opening import open_artifact

    export_model(SELFTEST_GRAPH, tmp_path / "tiny.trt", engine=QUICK)
    _, runtime = open_artifact(tmp_path / "tiny.trt")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    host = {name: value.copy() for name, value in runtime.run({"images": pixels}).items()}
    device = runtime.run({"images": torch.from_numpy(pixels).cuda()})  # type: ignore[dict-item]
    for name, value in host.items():
        np.testing.assert_array_equal(device[name], value)
    runtime.close()


def test_a_damaged_plan_never_reaches_tensorrt(tensorrt: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.trt"
    export_model(SELFTEST_GRAPH, path, engine=QUICK)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256"):
        Detector(path)
