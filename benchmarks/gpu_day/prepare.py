"""Making the folder of inputs, on a machine with the exporter: graphs, pictures, and the graphs' answers."""

from __future__ import annotations

import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet import Detector, __version__
from edgedet.artifacts.card import Precision
from edgedet.datasets import Dataset, read_dataset
from edgedet.datasets.convert import convert
from edgedet.errors import EdgedetError, OutputError
from edgedet.evaluate.coco import coco_metrics
from edgedet.evaluate.detection_pass import run_over
from edgedet.export.pipeline import export_model
from gpu_day.detectors import Pictures, Prepared, detectors, shared_folder
from gpu_day.inputs import NAME, SCENES, Graph, Inputs, write_inputs
from gpu_day.outcome import reason
from gpu_day.pictures import save_answers
from gpu_day.plan import PRECISIONS
from gpu_day.sequence import utc_now

Told = Callable[[str], None]


def prepare(
    folder: Path,
    *,
    library: str = "auto",
    only: Sequence[str] = (),
    scenes: int = SCENES,
    piece_mib: int,
    told: Told,
) -> Inputs:
    """Write everything into ``folder``, which must be new or hold an older preparation.

    A detector that cannot be prepared is left out, with the reason in the list.

    Args:
        folder: what is written.
        library: that the engines will be built with; ``auto`` is TensorRT.
        only: words, one of which a graph's name must have; empty for all.
        scenes: rendered ones that judge the sample detector, where real pictures are not here.
        piece_mib: largest piece.
        told: hears a line for each graph.

    Raises:
        OutputError: the folder holds something else, or cannot be written.
        EdgedetError: not one graph could be made.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / NAME).is_file():
        raise OutputError(f"{folder} holds something that is no preparation; name a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgedet-prepare-") as name:
        maker = _Maker(Path(name), "tensorrt" if library == "auto" else library, only, told)
        for detector in detectors(shared_folder(), scenes):
            maker.make(detector)
        if not maker.graphs:
            raise EdgedetError(f"no graph could be made: {maker.left_out or 'none of that name'}")
        _remove_pieces(folder)
        written = write_inputs(maker.inputs(folder), maker.in_order(), piece_mib * 2**20)
    for piece in sorted(folder.glob("piece-*")):
        size = sum(file.stat().st_size for file in piece.iterdir())
        told(f"{piece}: {size / 2**20:.1f} MiB, {len(list(piece.iterdir()))} files")
    told(f"{len(written.graphs)} graphs in {folder}; on the machine with the GPU: benchmarks/gpu_day.sh {folder}")
    return written


def _remove_pieces(folder: Path) -> None:
    (folder / NAME).unlink(missing_ok=True)
    for piece in folder.glob("piece-*"):
        shutil.rmtree(piece)


class _Maker:
    """Collects graphs and files. ``scratch``: where they lie until they are cut into pieces."""

    def __init__(self, scratch: Path, library: Any, only: Sequence[str], told: Told) -> None:
        self._scratch, self._library, self._only, self._told = scratch, library, only, told
        self._pictures: dict[str, dict[str, str]] = {}
        self._datasets: dict[str, Dataset] = {}
        self._checkpoints: dict[str, str] = {}
        self._files: dict[str, Path] = {}
        self.graphs: list[Graph] = []
        self.left_out: dict[str, str] = {}

    def make(self, detector: Prepared) -> None:
        """The graphs of one detector, fp32 first: what the others are held against."""
        wanted = [each for each in ("fp32", *PRECISIONS[:2]) if self._is_wanted(f"{detector.name}-{each}")]
        if not wanted:
            return
        folder = self._scratch / detector.name
        folder.mkdir()
        try:
            source = detector.source(folder)
            pictures = self._judges(detector)
        except Exception as error:  # a package that is not here; a library that refuses
            self.left_out |= {f"{detector.name}-{each}": reason(error) for each in wanted}
            return
        float_map: float | None = None
        for precision in wanted:
            name = f"{detector.name}-{precision}"
            try:
                graph = self._graph(detector, source, precision, pictures)
            except Exception as error:
                self.left_out[name] = reason(error)
                self._told(f"{name}: left out, {self.left_out[name]}")
                continue
            float_map = graph.map if precision == "fp32" else float_map
            self.graphs.append(replace(graph, float_map=float_map))
        if detector.rival and any(graph.detector == detector.name for graph in self.graphs):
            self._checkpoints[detector.name] = f"{detector.name}.pt"
            self._files[f"{detector.name}.pt"] = source

    def inputs(self, folder: Path) -> Inputs:
        """The list, without the files' places."""
        return Inputs(
            folder=folder,
            edgedet=__version__,
            created=utc_now(),
            library=self._library,
            graphs=tuple(self.graphs),
            pictures=self._pictures,
            checkpoints=self._checkpoints,
            left_out=self.left_out,
            files={},
        )

    def in_order(self) -> dict[str, Path]:
        """Files in the order that a run needs them in: what it needs first must be in the first piece."""
        names: list[str | None] = []
        for graph in sorted(self.graphs, key=lambda graph: PRECISIONS.index(graph.precision)):
            pictures = self._pictures.get(graph.pictures or "")
            names += [graph.file, graph.answers, pictures["file"] if pictures else None]
        return {name: self._files[name] for name in dict.fromkeys([*names, *self._files]) if name}

    def _is_wanted(self, name: str) -> bool:
        return not self._only or any(word in name for word in self._only)

    def _judges(self, detector: Prepared) -> Pictures | None:
        """The pictures that judge, packed once for all detectors of them."""
        if detector.pictures is None:
            return None
        pictures = detector.pictures(self._scratch)
        if pictures.name not in self._datasets:
            dataset = read_dataset(pictures.judge)
            dataset = replace(dataset, images=dataset.images[: pictures.count])
            unpacked = self._scratch / f"pictures-{pictures.name}"
            convert(dataset, unpacked, to="coco")
            archive = self._scratch / f"{pictures.name}.zip"
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
                for file in sorted(path for path in unpacked.rglob("*") if path.is_file()):
                    packed.write(file, file.relative_to(unpacked))
            labels = min(unpacked.rglob("*.json")).relative_to(unpacked)
            self._datasets[pictures.name] = read_dataset(unpacked / labels)
            self._pictures[pictures.name] = {"file": archive.name, "labels": labels.as_posix()}
            self._files[archive.name] = archive
        return pictures

    def _graph(self, detector: Prepared, source: Path, precision: Precision, pictures: Pictures | None) -> Graph:
        begin, name = time.monotonic(), f"{detector.name}-{precision}"
        options = replace(
            detector.options, precision=precision, nms="runtime", target=self._library, over_budget="keep_best"
        )
        if precision == "int8":
            options = replace(options, calib=pictures.calib if pictures else None, effort="quick")
        report = export_model(source, self._scratch / f"{name}.onnx", options)
        self._files[report.path.name] = report.path
        graph = Graph(name, detector.name, report.card.family, precision, report.path.name, detector.level)
        said = f"{name}: {report.bytes / 1e6:.1f} MB"
        if pictures is not None:
            graph = self._answered(graph, report.path, pictures.name)
            said += f", mAP {graph.map:.4f}"
        self._told(f"{said}, {time.monotonic() - begin:.0f} s")
        return graph

    def _answered(self, graph: Graph, path: Path, pictures: str) -> Graph:
        dataset = self._datasets[pictures]
        with Detector(path, runtime="onnxruntime:cpu") as detector:
            found = [detections for _, _, detections in run_over(detector, dataset)]
        answers = self._scratch / f"{graph.name}.npz"
        save_answers(answers, found)
        self._files[answers.name] = answers
        value: Any = coco_metrics(found, dataset).map
        return replace(graph, pictures=pictures, answers=answers.name, map=round(value, 5))
