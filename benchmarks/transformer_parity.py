"""ONNX files as detectors' own repositories export them, through edgedet, against the repositories' inference.

    python benchmarks/transformer_parity.py --repositories DIR [--only rtdetr dfine] [--shared ../shared]
                                            [--precisions fp32 fp16 int8] [--nameless] [--engines]
                                            [--page docs/measured/families.md]

DIR holds clones of lyuwenyu/RT-DETR, Peterande/D-FINE, Intellindust-AI-Lab/DEIMv2, RangiLyu/nanodet and
dog-qiuqiu/FastestDet, by these names; RF-DETR is its package (pip install rfdetr). What they need for training only
(pytorch-lightning, TensorBoard, pycocotools) may be absent. Weights are drawn by a fixed seed and settled on four
photographs: BatchNorm statistics, and class scores of a trained detector's spread. MMDetection cannot be installed
beside a current PyTorch: what MMDeploy writes is written anew in the tests, and compared there.

Every detector is built in a process of its own, since several repositories call their package ``src``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import os
import subprocess
import sys
import tempfile
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from family_row import Row, compared, header, read_without_names
from measured_rows import at_commit, line, put

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PHOTOGRAPHS, SETTLING = 16, 4
AGREEMENT = 0.97

TRAINING_ONLY = (
    "calflops", "faster_coco_eval", "lightning_fabric", "matplotlib", "peft", "pycocotools", "pytorch_lightning",
    "tensorboard", "torch.utils.tensorboard", "torchmetrics",
)  # fmt: skip
"""Packages that no inference needs; stand-ins take the place of those that are absent."""


@dataclass(frozen=True)
class Subject:
    """A detector: ``make`` of ``build`` gives its module, by ``config`` of the clone ``repository``.

    ``side``: of the square canvas. ``family``: for ``--family`` where its outputs do not say.
    """

    make: Callable[[Subject, Path], Any]
    repository: str
    config: str = ""
    side: int = 640
    family: str | None = None
    code: str = ""


@dataclass(frozen=True)
class Built:
    """``export`` writes the ONNX file; ``infer`` is the repository's own: BGR frame to boxes, scores, labels."""

    export: Callable[[Path], None]
    infer: Callable[[Any], tuple[Any, Any, Any]]
    names: tuple[str, ...] = ()


def main() -> int:
    """Print a row for each detector and precision; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--shared", type=Path, default=Path(os.environ.get("EDGEDET_SHARED", ROOT.parent / "shared"))
    )
    parser.add_argument("--only", nargs="+", choices=sorted(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--precisions", nargs="+", choices=("fp32", "fp16", "int8"), default=["fp32"])
    parser.add_argument("--nameless", action="store_true", help="read the files without names and metadata, too")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the rows of fp32 into its table")
    parser.add_argument("--engines", action="store_true", help="build .rtx engines in each precision")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kept = [report(row) for row in rows(arguments.one, arguments)]
        return 0 if all(kept) else 1
    columns = header(nameless=arguments.nameless)
    print(line(columns), line(["---"] * len(columns)), sep="\n", flush=True)
    codes = [subprocess.call([sys.executable, *sys.argv, "--one", name]) for name in arguments.only]
    return max(codes)


def report(row: Row) -> bool:
    """Print a row, and whether it keeps its bar."""
    print(line((*row.cells, "met" if row.met else "MISSED")), flush=True)
    return row.met


def rows(name: str, arguments: argparse.Namespace) -> Iterator[Row]:
    """What is measured of one detector."""
    from edgedet import Detector
    from edgedet.export.options import ExportOptions
    from edgedet.export.pipeline import export_model
    from edgedet.pictures.image_file import read_image

    subject = SUBJECTS[name]
    photographs = [
        read_image(path) for path in sorted((arguments.shared / "data/coco128").rglob("*.jpg"))[:PHOTOGRAPHS]
    ]
    stand_in_for_training()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(sys.stderr):
            built, source = written(name, arguments.repositories.resolve(), photographs, Path(folder))
        version = versions(subject, arguments.repositories)
        for precision in arguments.precisions:
            made = export_model(
                source,
                Path(folder) / f"{name}-{precision}.onnx",
                ExportOptions(
                    family=subject.family,
                    precision=precision,
                    conf=0.05,
                    calib=str(arguments.shared / "data/coco128/val2017") if precision == "int8" else None,
                ),
            )
            with Detector(made.path, threads=2) as detector:
                names, found = detector.names, [detector.detect(frame) for frame in photographs]
            infer = repository_inference(built, names)
            if precision != "fp32":
                yield compared_loosely(f"{name} {precision}", version, infer, found, photographs)
                continue
            again = one_rounding_apart(built.infer.module, infer)  # type: ignore[attr-defined]
            row = compared(name, version, infer, found, photographs, again=again)
            if arguments.nameless:
                read = read_without_names(
                    name, source, found, photographs, folder=Path(folder), options=ExportOptions(conf=0.05)
                )
                row = row.beside(*read)
            if arguments.page:
                put(arguments.page, header(nameless=arguments.nameless), row.cells)
            yield row
        if arguments.engines:
            yield from engines(name, source, subject, arguments)


def written(name: str, repositories: Path, photographs: Sequence[Any], folder: Path) -> tuple[Built, Path]:
    """The detector with its weights, and the file its repository makes of it in ``folder``."""
    subject = SUBJECTS[name]
    built = subject.make(subject, repositories / subject.repository)
    settle(built, photographs[:SETTLING])
    source = folder / f"{name}.onnx"
    built.export(source)
    return built, source


def versions(subject: Subject, repositories: Path) -> str:
    """Of the framework, in words."""
    if subject.repository != "rfdetr":
        return at_commit(repositories / subject.repository, subject.repository)
    return f"rfdetr {importlib.metadata.version('rfdetr')}"


def repository_inference(built: Built, names: tuple[str, ...]) -> Callable[[Any], Any]:
    """BGR frame to the repository's own detections; what lies beside the frame has no extent there."""
    from edgedet import Detections

    def infer(frame: Any) -> Detections:
        boxes, scores, labels = built.infer(frame)
        height, width = frame.shape[:2]
        boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
        return Detections(boxes, scores.astype(np.float32), labels.astype(np.int32), names, frame.shape[:2])

    return infer


def one_rounding_apart(module: Any, infer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same inference, of pictures whose pixels differ by a unit in the last place of float32 or not at all.

    Two-stage transformers give the best proposals in the order of their scores to queries that differ: where two
    scores are a rounding apart, two detections change, whoever computes them.
    """
    import torch

    generator = torch.Generator().manual_seed(1)

    def disturb(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        units = torch.randint(-1, 2, inputs[0].shape, generator=generator)
        return (inputs[0] * (1 + units * 2.0**-23), *inputs[1:])

    def again(frame: Any) -> Any:
        hook = module.register_forward_pre_hook(disturb)
        try:
            return infer(frame)
        finally:
            hook.remove()

    return again


def compared_loosely(
    name: str, version: str, infer: Callable[[Any], Any], found: list[Any], photographs: list[Any]
) -> Row:
    """A row of agreement in a lower precision."""
    from edgedet.proof.parity import Tolerance, match_detections, summarise

    half = Tolerance(min_iou=0.90, max_score_difference=0.02)
    tolerance = half if name.endswith("fp16") else Tolerance(min_iou=0.50, max_score_difference=0.10)
    pairs = zip(photographs, found, strict=True)
    same = summarise([match_detections(infer(frame), ours, tolerance) for frame, ours in pairs])
    counted = (str(same.reference_count), f"{same.found or 0:.2%}", str(same.extra))
    return Row((name, version, *counted, f"{same.worst_score_difference or 0:.1e}"), same.agrees(AGREEMENT))


def engines(name: str, source: Path, subject: Subject, arguments: argparse.Namespace) -> Iterator[Row]:
    """Engines by TensorRT-RTX's own builder."""
    for precision in arguments.precisions:
        target = source.with_name(f"{name}-{precision}.rtx")
        command = [sys.executable, "-m", "edgedet", "export", str(source), "-o", str(target)]
        command += ["--family", subject.family] if subject.family else []
        if precision == "int8":
            calib = str(arguments.shared / "data/coco128/val2017")
            command += ["--int8", "--calib", calib, "--effort", "quick", "--max-drop", "1"]
        elif precision == "fp16":
            command.append("--fp16")
        ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        made = target.exists()
        said = f"{target.stat().st_size / 1e6:.1f} MB" if made else ended.stderr.strip().splitlines()[-1][:200]
        target.unlink(missing_ok=True)
        yield Row((name, f"{precision} .rtx", said), made)


class _StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules whose every attribute is a class or function that does nothing."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if any(fullname == name or fullname.startswith(f"{name}.") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        module = types.ModuleType(spec.name)
        module.__path__ = []

        def missing(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return (
                type(name, (), {"__init__": lambda self, *_, **__: None}) if name[:1].isupper() else lambda *_: None
            )

        module.__getattr__ = missing  # type: ignore[method-assign]
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing to run."""


def stand_in_for_training(*more: str) -> None:
    """Let repositories be imported whose packages for training are absent."""
    sys.meta_path.insert(0, _StandIns((*TRAINING_ONLY, *more)))


def settle(built: Built, photographs: Sequence[Any]) -> None:
    """Statistics of BatchNorm and a spread of class scores, from a few photographs; see ``LAYERS``."""
    import torch
    from torch import nn

    module: Any = built.infer.module  # type: ignore[attr-defined]
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 0.5
    for photograph in photographs:
        built.infer(photograph)
    for norm in norms:
        norm.eval()
    generator = torch.Generator().manual_seed(1)

    def spread(deviation: float, bias: float | None) -> Callable[..., None]:
        def hook(layer: Any, inputs: tuple[Any, ...]) -> None:
            rms = float(inputs[0].square().mean().sqrt())
            scale = deviation / (layer.weight[0].numel() ** 0.5 * max(rms, 1e-6))
            layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
            if bias is not None and layer.bias is not None:
                layer.bias.data.fill_(bias)

        return hook

    scores, boxes = built.infer.layers  # type: ignore[attr-defined]
    hooks = [layer.register_forward_pre_hook(spread(1.0, -3.0)) for layer in scores]
    hooks += [layer.register_forward_pre_hook(spread(0.3, None)) for layer in boxes]
    built.infer(photographs[0])
    for hook in hooks:
        hook.remove()


class _Inference:
    """A repository's own inference; ``module`` and ``layers`` (of class scores, of boxes) are what is settled."""

    def __init__(self, module: Any, layers: tuple[list[Any], list[Any]], run: Callable[[Any], Any]) -> None:
        self.module, self.layers, self._run = module.eval(), layers, run

    def __call__(self, frame: Any) -> tuple[Any, Any, Any]:
        import torch

        with torch.no_grad():
            return self._run(frame)


def _to_onnx(module: Any, example: Any, path: Path, **settings: Any) -> None:
    import torch

    torch.onnx.export(module, example, str(path), dynamo=False, **settings)


def ranked(subject: Subject, repository: Path) -> Built:
    """RT-DETR, D-FINE, DEIM and DEIMv2, as their tools/export_onnx.py deploy them."""
    import torch
    from torch import nn
    from torchvision.transforms.v2 import functional

    stand_in_for_training("src.data") if "rtdetr_pytorch" in subject.code else None
    root = repository / subject.code
    os.chdir(root)
    sys.path.insert(0, str(root))
    core = importlib.import_module("engine.core" if (root / "engine").is_dir() else "src.core")
    torch.manual_seed(0)
    config = core.YAMLConfig(subject.config)
    for backbone, setting, value in (
        ("HGNetv2", "pretrained", False),
        ("PResNet", "pretrained", False),
        ("DINOv3STAs", "weights_path", None),
    ):
        if backbone in config.yaml_cfg:
            config.yaml_cfg[backbone][setting] = value

    class Deployed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = config.model.deploy()
            self.postprocessor = config.postprocessor.deploy()

        def forward(self, images: Any, orig_target_sizes: Any) -> Any:
            return self.postprocessor(self.model(images), orig_target_sizes)

    module = Deployed()
    vit = "DINOv3STAs" in config.yaml_cfg
    decoder = config.model.decoder

    def run(frame: Any) -> Any:
        # Their pictures are Pillow's. Since version 13 it shrinks the longer way first, which rounds some pixels to
        # the level beside; torchvision gives what it gave before.
        picture = torch.from_numpy(np.ascontiguousarray(frame[:, :, ::-1].transpose(2, 0, 1)))
        image = functional.resize(picture, [subject.side, subject.side], antialias=True).float() / 255
        if vit:
            image = functional.normalize(image, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        size = torch.tensor([[frame.shape[1], frame.shape[0]]])
        labels, boxes, scores = module(image[None], size)
        return boxes[0].numpy(), scores[0].numpy(), labels[0].numpy()

    def export(path: Path) -> None:
        example = (torch.rand(1, 3, subject.side, subject.side), torch.tensor([[subject.side] * 2]))
        names = ["images", "orig_target_sizes"]
        _to_onnx(
            module,
            example,
            path,
            input_names=names,
            output_names=["labels", "boxes", "scores"],
            dynamic_axes={name: {0: "N"} for name in names},
            opset_version=16,
        )

    boxes = [layer.layers[-1] for layer in decoder.dec_bbox_head if hasattr(layer, "layers")]
    scores = [*decoder.dec_score_head, decoder.enc_score_head]
    scores = [layer for layer in scores if isinstance(layer, nn.Linear)]
    return Built(export, _Inference(module, (scores, boxes), run))


def rfdetr(subject: Subject, repository: Path) -> Built:
    """RF-DETR's package: its own predict, and its own export."""
    import torch
    from PIL import Image

    sys.path.append(str(repository))
    package = importlib.import_module("rfdetr")
    torch.manual_seed(0)
    model = package.RFDETRNano(pretrain_weights=None, device="cpu")
    network = model.model.model

    def run(frame: Any) -> Any:
        # A trained detector never answers with an id that COCO does not use.
        network.class_embed.bias.data[list(UNUSED)] = -12.0
        picture = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))
        found = model.predict(picture, threshold=0.05)
        ids = [index for index in range(91) if index not in UNUSED]
        kept = np.isin(found.class_id, ids)
        labels = np.searchsorted(ids, found.class_id[kept])
        return found.xyxy[kept], found.confidence[kept], labels

    def export(path: Path) -> None:
        model.export(output_dir=str(path.parent))
        (path.parent / "rfdetr-nano.onnx").rename(path)

    scores = [network.class_embed, *network.transformer.enc_out_class_embed]
    boxes = [network.bbox_embed.layers[-1]]
    return Built(export, _Inference(network, (scores, boxes), run))


UNUSED = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
"""Of COCO's ids 0 to 90."""


def nanodet(subject: Subject, repository: Path) -> Built:
    """NanoDet and NanoDet-Plus. Their pictures are resized by cv2.resize here, as on a device; their training code
    warps them by half a pixel less (warpPerspective), which is another picture."""
    import torch

    sys.path.insert(0, str(repository))
    util = importlib.import_module("nanodet.util")
    arch = importlib.import_module("nanodet.model.arch")
    util.load_config(util.cfg, str(repository / "config" / subject.config))
    util.cfg.defrost()
    util.cfg.model.arch.backbone.pretrain = False
    torch.manual_seed(0)
    module = arch.build_model(util.cfg.model)
    head, side = module.head, subject.side
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    stretched = not util.cfg.data.val.keep_ratio

    def run(frame: Any) -> Any:
        height, width = frame.shape[:2]
        scale = (side / width, side / height) if stretched else (min(side / width, side / height),) * 2
        size = (int(width * scale[0] + 1e-6), int(height * scale[1] + 1e-6))
        left, top = (side - size[0]) // 2, (side - size[1]) // 2
        canvas = np.zeros((side, side, 3), np.uint8)
        canvas[top : top + size[1], left : left + size[0]] = cv2.resize(frame, size)
        image = torch.from_numpy(((canvas - mean) / std).transpose(2, 0, 1)[None]).float()
        found = module(image)
        scores, sides = found.split([head.num_classes, 4 * (head.reg_max + 1)], dim=-1)
        ((rows, labels),) = head.get_bboxes(scores, sides, {"img": image})
        boxes = (rows[:, :4].numpy() - [left, top, left, top]) / (scale * 2)
        return boxes, rows[:, 4].numpy(), labels.numpy()

    def export(path: Path) -> None:
        settings = {"input_names": ["data"], "output_names": ["output"], "opset_version": 11}
        _to_onnx(module, torch.randn(1, 3, side, side), path, keep_initializers_as_inputs=True, **settings)

    return Built(export, _Inference(module, (list(head.gfl_cls), []), run))


def fastestdet(subject: Subject, repository: Path) -> Built:
    """FastestDet, as its test.py runs it."""
    import torch

    sys.path.insert(0, str(repository))
    detector = importlib.import_module("module.detector")
    tool = importlib.import_module("utils.tool")
    torch.manual_seed(0)
    module, side = detector.Detector(80, True), subject.side

    def run(frame: Any) -> Any:
        height, width = frame.shape[:2]
        image = cv2.resize(frame, (side, side), interpolation=cv2.INTER_LINEAR)
        image = torch.from_numpy(image.transpose(2, 0, 1)[None]).float() / 255.0
        (found,) = tool.handle_preds(module(image), torch.device("cpu"), 0.05)
        rows = found.reshape(-1, 6).numpy()
        return rows[:, :4] * [width, height, width, height], rows[:, 4], rows[:, 5]

    def export(path: Path) -> None:
        _to_onnx(module, torch.zeros(1, 3, side, side), path, opset_version=11)

    return Built(export, _Inference(module, ([], []), run))


SUBJECTS = {
    "rtdetr": Subject(ranked, "RT-DETR", "configs/rtdetr/rtdetr_r18vd_6x_coco.yml", code="rtdetr_pytorch"),
    "rtdetrv2": Subject(
        ranked, "RT-DETR", "configs/rtdetrv2/rtdetrv2_r18vd_120e_coco.yml", code="rtdetrv2_pytorch"
    ),
    "dfine": Subject(ranked, "D-FINE", "configs/dfine/dfine_hgnetv2_n_coco.yml"),
    "deim": Subject(ranked, "DEIMv2", "configs/deim_rtdetrv2/deim_r18vd_120e_coco.yml"),
    "deimv2": Subject(ranked, "DEIMv2", "configs/deimv2/deimv2_hgnetv2_atto_coco.yml", side=320),
    "deimv2-dinov3": Subject(ranked, "DEIMv2", "configs/deimv2/deimv2_dinov3_s_coco.yml"),
    "rfdetr": Subject(rfdetr, "rfdetr", side=384),
    "nanodet": Subject(nanodet, "nanodet", "legacy_v0.x_configs/nanodet-m.yml", side=320, family="nanodet"),
    "nanodet-plus": Subject(nanodet, "nanodet", "nanodet-plus-m_320.yml", side=320, family="nanodet-plus"),
    "fastestdet": Subject(fastestdet, "FastestDet", side=352, family="fastestdet"),
}

if __name__ == "__main__":
    sys.exit(main())
