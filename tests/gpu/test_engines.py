"""Engines built and run by the real TensorRT, against ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet import Detector
from edgedet.errors import ArtifactError
from edgedet.export.engine import convert_graph
from edgedet.export.options import ExportOptions
from edgedet.export.tensorrt import EngineOptions
from edgedet.golden import golden_frame
from edgedet.parity import Tolerance, match_detections, summarise
from edgedet.runtimes.cuda.device import Cuda
from edgedet.selftest import TINY

QUICK = EngineOptions(optimization_level=1)
DETECTORS = ("ssdlite320_mobilenet_v3_large_bccd.pt", "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt")


def test_the_tiny_engine_gives_onnx_runtimes_detections(tensorrt: Any, tmp_path: Path) -> None:
    convert_graph(TINY, tmp_path / "tiny.trt", options=QUICK)
    with Detector(TINY) as reference, Detector(tmp_path / "tiny.trt", selftest=True) as detector:
        assert "CUDA graph" in detector.description
        for seed in range(10):
            frame = golden_frame(seed)
            parity = match_detections(
                reference.detect(frame),
                detector.detect(frame),
                Tolerance(min_score=0.62, max_score_difference=0.01),
            )
            assert not parity.missing and not parity.invented


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", DETECTORS)
def test_trained_detectors_keep_their_detections(
    tensorrt: Any, shared: Path, tmp_path: Path, name: str, precision: Any
) -> None:
    from edgedet.export.pipeline import export_model

    options = ExportOptions(precision=precision, nms="runtime", target="tensorrt")
    graph = export_model(shared / "models" / name, tmp_path / "model.onnx", options).path
    engine = convert_graph(graph, tmp_path / "model.trt", options=QUICK)
    assert engine.card.engine is not None
    inspector, memory = engine.card.engine["inspector"], engine.card.engine["memory"]
    assert precision == "fp32" or inspector["layers"].get("fp16")
    share = inspector["time"]["share"]
    assert sum(share.values()) == pytest.approx(1, abs=0.01) and share.get("unknown", 0) < 0.2
    # Of the order of what was predicted; the figures themselves belong into docs/measured.
    taken, predicted = (sum(memory[name].values()) for name in ("peak_mib", "predicted_mib"))
    assert predicted / 4 < taken < 2 * predicted
    pictures = sorted((shared / "data").rglob("*.jpg"))[:20]
    import cv2

    with Detector(graph) as reference, Detector(tmp_path / "model.trt") as detector:
        tolerance = Tolerance(min_score=0.3, min_iou=0.9, max_score_difference=0.05)
        report = summarise(
            [
                match_detections(reference.detect(frame), detector.detect(frame), tolerance)
                for frame in (cv2.imread(str(path)) for path in pictures)
            ]
        )
    assert min(report.found, report.confirmed) >= 0.97


def test_frames_on_the_gpu_are_taken(tensorrt: Any, cuda: Cuda, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch with CUDA")
    from edgedet.artifact import open_artifact

    convert_graph(TINY, tmp_path / "tiny.trt", options=QUICK)
    _, runtime = open_artifact(tmp_path / "tiny.trt")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), np.uint8)
    host = {name: value.copy() for name, value in runtime.run({"images": pixels}).items()}
    device = runtime.run({"images": torch.from_numpy(pixels).cuda()})  # type: ignore[dict-item]
    for name, value in host.items():
        np.testing.assert_array_equal(device[name], value)
    runtime.close()


def test_a_damaged_plan_never_reaches_tensorrt(tensorrt: Any, tmp_path: Path) -> None:
    path = tmp_path / "tiny.trt"
    convert_graph(TINY, path, options=QUICK)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match="sha256"):
        Detector(path)
