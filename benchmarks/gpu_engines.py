"""Engines: what detect() costs beside the bare network, what precision costs in mAP, and torchvision's speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gpu_bars import Bar, attempt, medians, reason, unmeasured, wall
from gpu_kernels import HEIGHT, WIDTH, FrameOnGpu

from edgedet import Detector
from edgedet.artifacts.card import Precision
from edgedet.errors import ArtifactError, SourceError, UsageError
from edgedet.pictures.image_file import read_image
from edgedet.proof.golden_scene import golden_frame
from edgedet.runtimes.base import Array
from edgedet.runtimes.tensorrt import TensorRTRuntime
from edgedet.runtimes.tensorrt_library import import_tensorrt

BURST = 10
"""Runs between two events: the host queues ahead, so that the GPU does not wait for it and only its work counts."""

CHECKPOINTS = (
    "ssdlite320_mobilenet_v3_large_bccd.pt",
    "fasterrcnn_mobilenet_v3_large_320_fpn_bccd.pt",
)
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
MAP_LIMITS: dict[Precision, float] = {"fp16": 0.002, "int8": 0.012}


def end_to_end_bars(name: str) -> list[Bar]:
    """Those of one engine."""
    return [
        Bar(f"end-to-end of {name}, 1080p frame on the {where} (against the network alone)", "times", 1.15)
        for where in ("host", "GPU")
    ]


class Network:
    """The network of an open engine and nothing else, no copies, no NMS: GPU time by CUDA events."""

    def __init__(self, runtime: TensorRTRuntime) -> None:
        assert runtime._stream is not None
        self._cuda, self._context, self._stream = runtime._cuda, runtime._context, runtime._stream
        self._begin, self._end = (self._cuda._call("cudaEventCreate") for _ in range(2))
        self._graph: Any = None
        # As detect() does it: kernel by kernel, small networks wait for the host, which would flatter the ratio.
        if runtime._graph is not None:
            self._cuda.begin_capture(self._stream)
            try:
                self._enqueue()
            finally:
                self._graph = self._cuda.end_capture(self._stream)

    def milliseconds(self) -> float:
        """Of one run, the mean of BURST in a row."""
        self._cuda._call("cudaEventRecord", self._begin, self._stream)
        for _ in range(BURST):
            if self._graph is not None:
                self._cuda.launch(self._graph, self._stream)
            else:
                self._enqueue()
        self._cuda._call("cudaEventRecord", self._end, self._stream)
        self._cuda._call("cudaEventSynchronize", self._end)
        return float(self._cuda._call("cudaEventElapsedTime", self._begin, self._end)) / BURST

    def close(self) -> None:
        """Release graph and events."""
        if self._graph is not None:
            self._cuda.destroy_graph(self._graph)
        for event in (self._begin, self._end):
            self._cuda._call("cudaEventDestroy", event)

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise ArtifactError("TensorRT failed while running the engine")


def end_to_end(path: Path, frame: Array, facts: list[dict[str, Any]], name: str | None = None) -> Iterator[Bar]:
    """detect(), wall time, beside the bare network, GPU time, in turns; ``facts`` gets the stages."""
    on_host, on_gpu = end_to_end_bars(name or path.name)
    with ExitStack() as stack:
        detector = stack.enter_context(Detector(path, runtime="tensorrt"))
        detector.warmup()
        runtime = detector._runtime
        assert isinstance(runtime, TensorRTRuntime)
        network = Network(runtime)
        stack.callback(network.close)
        cuda, stages = runtime._cuda, []

        def detect() -> None:
            detector.detect(frame)
            stages.append(detector.last_timing)

        total, compute = medians(wall(detect), network.milliseconds)
        middle = sorted(stages, key=lambda stage: stage.total)[len(stages) // 2]
        facts.append({"engine": name or path.name, "runtime": detector.description, "network_ms": compute}
                     | {f"{part}_ms": getattr(middle, part) for part in ("pre", "run", "post")})  # fmt: skip
        yield replace(on_host, measured=total, reference=compute)
        address = cuda.allocate(frame.nbytes)
        stack.callback(cuda.free, address)
        assert runtime._stream is not None
        resident = FrameOnGpu(cuda, address, frame, runtime._stream)
        total, compute = medians(wall(lambda: detector.detect(resident)), network.milliseconds)  # type: ignore[arg-type]
        yield replace(on_gpu, measured=total, reference=compute)


def given(path: Path, facts: list[dict[str, Any]]) -> Iterator[Bar]:
    """An engine the user built."""
    yield from attempt(end_to_end_bars(path.name), lambda: end_to_end(path, golden_frame(1, HEIGHT, WIDTH), facts))


class Trained:
    """A detector of the shared folder: trained on BCCD's train and val, judged on test, calibrated on train."""

    def __init__(self, checkpoint: str, shared: Path, work: Path) -> None:
        self._checkpoint = shared / "models" / checkpoint
        self._data = shared / "data" / "bccd"
        self._work = work
        self.name = "Faster R-CNN" if checkpoint.startswith("faster") else "SSDLite"

    def bars(self, precision: Precision) -> dict[str, list[Bar]]:
        """Those of its engine of one precision."""
        engine = f"{self.name} {precision}"
        found = {"end to end": end_to_end_bars(engine)}
        if precision in MAP_LIMITS:
            name = f"mAP of {engine} on BCCD test (against fp32, ONNX Runtime CPU)"
            found["accuracy"] = [Bar(name, "apart", MAP_LIMITS[precision], unit="")]
        if self.name == "Faster R-CNN":
            found["speed"] = [Bar(f"{engine}, frame on the host (against torchvision eager, fp32)", "faster", 3)]
        return found

    def measure(self, precision: Precision, facts: list[dict[str, Any]]) -> Iterator[Bar]:
        """Build the engine, then everything there is to know of it."""
        bars = self.bars(precision)
        try:
            engine = self._build(precision)
        except Exception as error:  # whatever a library says: the other engines' figures must not be lost
            yield from unmeasured((bar for some in bars.values() for bar in some), reason(error))
            return
        work: dict[str, Callable[[], Iterator[Bar]]] = {
            "end to end": lambda: end_to_end(engine, self._crowded_frame(), facts, f"{self.name} {precision}"),
            "accuracy": lambda: self._accuracy(engine, bars["accuracy"][0]),
            "speed": lambda: self._speed(engine, bars["speed"][0]),
        }
        for what, some in bars.items():
            yield from attempt(some, work[what])

    def _graph(self, precision: Precision) -> Path:
        from edgedet.export.options import ExportOptions
        from edgedet.export.pipeline import export_model

        if not self._checkpoint.exists() or not self._data.exists():
            raise UsageError(f"needs {self._checkpoint} and {self._data}; set EDGEDET_SHARED")
        self._work.mkdir(parents=True, exist_ok=True)
        options = ExportOptions(
            precision=precision, nms="runtime", target="tensorrt", frame_size=(640, 480), over_budget="keep_best"
        )
        if precision == "int8":
            options = replace(options, calib=f"{self._data}:train", eval=f"{self._data}:val")
        return export_model(
            self._checkpoint, self._work / f"{self._checkpoint.stem}-{precision}.onnx", options
        ).path

    def _build(self, precision: Precision) -> Path:
        from edgedet.export.pipeline import export_model

        # Before the export, which takes minutes.
        import_tensorrt()
        graph = self._fp32_graph if precision == "fp32" else self._graph(precision)
        return export_model(graph, graph.with_suffix(".trt")).path

    @cached_property
    def _fp32_graph(self) -> Path:
        return self._graph("fp32")

    @cached_property
    def _fp32_map(self) -> float:
        return self._map(self._fp32_graph, "onnxruntime:cpu")

    def _map(self, artifact: Path, runtime: str) -> float:
        from edgedet.datasets import read_dataset
        from edgedet.evaluate.coco import evaluate_coco

        with Detector(artifact, runtime=runtime) as detector:
            return evaluate_coco(detector, read_dataset(f"{self._data}:test")).map

    def _accuracy(self, engine: Path, bar: Bar) -> Iterator[Bar]:
        yield replace(bar, measured=self._map(engine, "tensorrt"), reference=self._fp32_map)

    def _speed(self, engine: Path, bar: Bar) -> Iterator[Bar]:
        """The same 640x480 picture, from the host's memory to detections there, in turns."""
        theirs, picture = self._torchvision(), self._picture()
        with Detector(engine, runtime="tensorrt") as detector:
            ours_ms, theirs_ms = medians(wall(lambda: detector.detect(picture)), wall(lambda: theirs(picture)))
        yield replace(bar, measured=ours_ms, reference=theirs_ms)

    def _torchvision(self) -> Callable[[Array], object]:
        import torch

        from edgedet.export.checkpoints.checkpoint import load_checkpoint
        from edgedet.export.families.architectures import build

        if not torch.cuda.is_available():
            raise UsageError(f"PyTorch {torch.__version__} cannot use this GPU")
        checkpoint = load_checkpoint(self._checkpoint)
        model: Any = build(checkpoint.arch, checkpoint.num_classes, checkpoint.state_dict).eval().cuda()

        def work(frame: Array) -> object:
            # The bytes go over and become RGB floats there: the quickest way to feed torchvision.
            with torch.inference_mode():
                image = torch.from_numpy(frame).cuda().flip(-1).permute(2, 0, 1).float().div(255)
                (found,) = model([image])
                # Waits for the GPU.
                return {key: value.cpu() for key, value in found.items()}

        return work

    def _picture(self) -> Array:
        path = min((self._data / "JPEGImages").glob("*.jpg"), default=None)
        if path is None:
            raise SourceError(f"no picture in {self._data / 'JPEGImages'}")
        return read_image(path)

    def _crowded_frame(self) -> Array:
        """1080p: NMS has as much to do as in earnest."""
        import cv2

        return cv2.resize(self._picture(), (WIDTH, HEIGHT))
