"""INT8 by other tools with their defaults: run by ``benchmarks/int8.py``, in an interpreter that has them.

python benchmarks/int8_rivals.py FLOAT.onnx FOLDER      FOLDER holds frames.npy; graphs are written beside it
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path

import numpy as np
import onnx

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def main() -> None:
    """Try every tool that is there."""
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    frames = list(np.load(folder / "frames.npy"))
    told: list[str] = []
    model = onnx.load(source)
    name = model.graph.input[0].name
    for title, needs, tool in TOOLS:
        if importlib.util.find_spec(needs) is None:
            told.append(f"  {title}: {needs} is not installed\n")
            continue
        begin = time.monotonic()
        try:
            tool(source, folder / f"{title}.onnx", name, frames)
            told.append(f"  {title}: {time.monotonic() - begin:.0f} s\n")
        except Exception as error:
            told.append(f"  {title}: failed: {type(error).__name__}: {str(error)[:300]}\n")
        (folder / "tools.txt").write_text("".join(told))


def onnxruntime_static(source: Path, target: Path, name: str, frames: list[np.ndarray]) -> None:
    """ONNX Runtime's quantize_static, u8 activations, per-channel weights, min-max: its recommendation for x86."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest = iter(frames)

        def get_next(self) -> dict[str, np.ndarray] | None:
            frame = next(self._rest, None)
            return None if frame is None else {name: frame}

    prepared = target.with_suffix(".prepared")
    quant_pre_process(str(source), str(prepared))
    quantize_static(
        str(prepared),
        str(target),
        Frames(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def modelopt(source: Path, target: Path, name: str, frames: list[np.ndarray]) -> None:
    """NVIDIA ModelOpt's ONNX quantisation, entropy calibration, for TensorRT."""
    from modelopt.onnx.quantization import quantize

    quantize(
        str(source),
        quantize_mode="int8",
        calibration_data={name: np.concatenate(frames)},
        calibration_method="entropy",
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(target),
    )


def nncf_mixed(source: Path, target: Path, name: str, frames: list[np.ndarray]) -> None:
    """OpenVINO NNCF's post-training quantisation, mixed preset."""
    import nncf

    model = onnx.load(source)
    model = onnx.version_converter.convert_version(model, max(model.opset_import[0].version, 13))
    data = nncf.Dataset(frames, lambda frame: {name: frame})
    done = nncf.quantize(model, data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(frames))
    onnx.save(done, target)


TOOLS = (
    ("ONNX Runtime quantize_static", "onnxruntime.quantization", onnxruntime_static),
    ("NVIDIA ModelOpt entropy", "modelopt", modelopt),
    ("OpenVINO NNCF mixed", "nncf", nncf_mixed),
)

if __name__ == "__main__":
    main()
