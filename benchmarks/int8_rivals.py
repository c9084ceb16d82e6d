"""INT8 by other tools: run by ``benchmarks/int8.py``, in an interpreter that has them.

python benchmarks/int8_rivals.py FLOAT.onnx FOLDER [PATTERN ...]
    FOLDER holds frames.npy; graphs are written beside it, and what became of each tool into tools.json.
    PATTERN: a regular expression of node names that the rows "as Ultralytics" leave in float.

Two tools are driven once more as Ultralytics 8.4.190 drives them (``ultralytics/utils/export/engine.py`` and
``onnx.py``), because that is how most people meet them.

*ModelOpt*, carried over: calibration method ``max``, calibration on the CPU, the rest in ModelOpt's default fp16,
the output convolutions of the head in float. Ultralytics names those by what YOLO calls them (``.*\\.2/Conv$`` and
``.*/dfl/``); these detectors have other names, so PATTERN names the same layers: the last convolution or matrix
product before boxes and scores. What follows them (decoding, and the first stage of a two-stage detector from its
proposals to its pooled regions) is left in float too. Cannot be carried over: none of these detectors has a DFL;
Ultralytics calibrates on up to 512 pictures, letterboxed and divided by 255 by its own loader, where all tools here
get the same 64 frames, prepared as the detector wants them. The same with entropy, ModelOpt's own default, is a row
of its own, and so is entropy with nothing left in float.

*ONNX Runtime*, carried over whole: only Conv, Gemm and MatMul are quantised, all else by its defaults (s8
activations, one scale for all channels of a weight, min-max), without its preparation of the graph.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def main() -> None:
    """Try every tool that is there."""
    source, folder, head = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    frames = list(np.load(folder / "frames.npy"))
    told: dict[str, dict[str, Any]] = {}
    model = onnx.load(source)
    name = model.graph.input[0].name
    for title, needs, tool in tools(head):
        if importlib.util.find_spec(needs) is None:
            told[title] = {"failed": f"{needs} is not installed"}
            continue
        # CPU time of all threads: the machine may have other work.
        begin = time.process_time()
        try:
            tool(source, folder / f"{title}.onnx", name, frames)
            told[title] = {"cpu_seconds": time.process_time() - begin, "version": version(needs)}
        except Exception as error:
            told[title] = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        (folder / "tools.json").write_text(json.dumps(told, indent=1))


def version(module: str) -> str:
    """The version of the package that a module comes from."""
    return str(getattr(importlib.import_module(module.partition(".")[0]), "__version__", "?"))


def frames_reader(name: str, frames: list[np.ndarray]) -> Any:
    """Frames as ONNX Runtime's quantisation asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            self._rest = iter(frames)

        def get_next(self) -> dict[str, np.ndarray] | None:
            frame = next(self._rest, None)
            return None if frame is None else {name: frame}

    return Frames()


def onnxruntime_static(source: Path, target: Path, name: str, frames: list[np.ndarray]) -> None:
    """ONNX Runtime's quantize_static, u8 activations, per-channel weights, min-max: its recommendation for x86."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared")
    try:
        quant_pre_process(str(source), str(prepared))
    except Exception as error:
        # Its symbolic shape inference does not know every operator; every shape in the graph is written down.
        print(f"without symbolic shape inference, which failed: {error}")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(target),
        frames_reader(name, frames),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def onnxruntime_weighted(source: Path, target: Path, name: str, frames: list[np.ndarray]) -> None:
    """ONNX Runtime's quantize_static as Ultralytics calls it."""
    from onnxruntime.quantization import quantize_static

    nodes = onnx.load(source).graph.node
    exclude = [node.name for node in nodes if node.op_type not in {"Conv", "Gemm", "MatMul"}]
    quantize_static(str(source), str(target), frames_reader(name, frames), nodes_to_exclude=exclude)


def modelopt(
    source: Path,
    target: Path,
    name: str,
    frames: list[np.ndarray],
    *,
    method: str,
    rest: str,
    exclude: Sequence[str] = (),
) -> None:
    """NVIDIA ModelOpt's ONNX quantisation, for TensorRT: what is not INT8 is in ``rest``."""
    from modelopt.onnx.quantization import quantize

    quantize(
        str(source),
        quantize_mode="int8",
        calibration_data={name: np.concatenate(frames)},
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype=rest,
        nodes_to_exclude=list(exclude),  # it appends to the list that it is given
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


def tools(head: Sequence[str]) -> list[tuple[str, str, Callable[..., None]]]:
    """Name of the row, the module that the tool needs, and the tool."""
    as_ultralytics = partial(modelopt, rest="fp16", exclude=head)
    return [
        ("ONNX Runtime quantize_static", "onnxruntime.quantization", onnxruntime_static),
        ("ONNX Runtime quantize_static, as Ultralytics", "onnxruntime.quantization", onnxruntime_weighted),
        ("NVIDIA ModelOpt max, as Ultralytics", "modelopt", partial(as_ultralytics, method="max")),
        ("NVIDIA ModelOpt entropy, else as Ultralytics", "modelopt", partial(as_ultralytics, method="entropy")),
        ("NVIDIA ModelOpt entropy", "modelopt", partial(modelopt, method="entropy", rest="fp32")),
        ("OpenVINO NNCF mixed", "nncf", nncf_mixed),
    ]


if __name__ == "__main__":
    main()
