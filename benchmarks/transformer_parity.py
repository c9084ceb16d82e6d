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
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from family_row import Row, compared, header, read_without_names
from measured_rows import line, put
from stand_ins import stand_in_for_training
from transformer_repositories import SUBJECTS, Subject, repository_inference, versions, written

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PHOTOGRAPHS = 16
AGREEMENT = 0.97


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


if __name__ == "__main__":
    sys.exit(main())
