"""From result files to rows: sweeps' cells, benchmarks and evaluations, brought together by artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgedet.bench.measured_parts import BenchResult, Energy, MeasuredArtifact
from edgedet.bench.result import KIND as BENCH_KIND
from edgedet.bench.result import read_result, result_from_json
from edgedet.errors import UsageError
from edgedet.evaluate.maps import KIND as MAPS_KIND
from edgedet.evaluate.result import KIND as EVAL_KIND
from edgedet.evaluate.result import EvaluationResult
from edgedet.machine.state import QUIET_SHARE
from edgedet.missing_figures import NotMeasured
from edgedet.sweep.cell import KIND as CELL_KIND
from edgedet.sweep.cell import VERSION as CELL_VERSION

NO_EVALUATION = "no evaluation of this artifact was among the files (edgedet eval --json)"
OF_TWO = "two artifacts were measured as one, and an evaluation is of one (docs/cascades.md)"
BENCHED = ("latency", "stages", "detections", "throughput", "streams", "energy", "cold", "memory")
"""What a benchmark of a cell's artifact replaces, as far as it was measured."""

NO_BENCHMARK = "no benchmark of this artifact was among the files (edgedet bench --json)"


@dataclass(frozen=True)
class Row:
    """One artifact, with what a benchmark, an evaluation and a sweep say of it."""

    name: str
    architecture: str
    precision: str
    size: tuple[int, int] | None
    """Width, height of the network's input."""
    sha256: str
    bytes: int | None
    artifact: MeasuredArtifact | None
    """The benchmark's entry, None where there is none."""
    accuracy: EvaluationResult
    run: BenchResult | None = None
    """The benchmark that the entry is from."""
    setting: dict[str, Any] = field(default_factory=dict)
    """A sweep's setting; empty otherwise."""
    measured: dict[str, Any] = field(default_factory=dict)
    """What the card says was measured at export."""
    notes: tuple[str, ...] = ()

    def latency(self, percentile: str) -> float | None:
        """Milliseconds, or None."""
        value = None if self.artifact is None else getattr(self.artifact.latency, percentile)
        return None if value is None else float(value)

    @property
    def map(self) -> float | None:
        """COCO mAP, or None."""
        return None if self.accuracy.map is None else float(self.accuracy.map)

    @property
    def energy(self) -> Energy | None:
        """The benchmark's figures of power, or None."""
        energy = None if self.artifact is None else self.artifact.energy
        return None if isinstance(energy, NotMeasured) else energy

    @property
    def watts(self) -> float | None:
        """Mean power of what the meter calls the whole, or None."""
        value = None if self.energy is None else self.energy.watts.get("total")
        return None if value is None else float(value)

    @property
    def looked_into(self) -> bool:
        """Whether a second artifact looked into the crops of this one: what both find is not what this one does."""
        return self.artifact is not None and self.artifact.then is not None

    @property
    def disturbed(self) -> bool:
        """Whether other processes were busy while latency was measured."""
        share = None if self.run is None else self.run.during.others_cpu_share
        return share is not None and share > QUIET_SHARE

    @property
    def left_in_float(self) -> bool:
        """Whether int8 was asked for and no layer became it (too slow, or too dear in accuracy)."""
        report = self.measured.get("int8")
        return isinstance(report, dict) and report.get("layers_int8") == 0

    def why_missing(self, what: Literal["accuracy", "latency", "watts"], key: str | None = None) -> str:
        """Why a figure of the accuracy (mAP unless ``key`` names another), of the latency (``key``: which) or the
        power is not there."""
        if what == "accuracy":
            said = self.accuracy.why_missing(key or "map")
            return said or "the evaluation gave no figure (no labelled object?)"
        if self.artifact is None:
            return NO_BENCHMARK
        if what == "watts":
            energy = self.artifact.energy
            said = energy.reason if isinstance(energy, NotMeasured) else energy.why_missing("joules_per_frame")
            return said or "no rail covers the whole"
        return self.artifact.latency.why_missing(key or "p50") or "too few frames for this percentile"


@dataclass(frozen=True)
class Failure:
    """A cell that did not work."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collection:
    """Everything the report shows."""

    rows: tuple[Row, ...]
    failures: tuple[Failure, ...]
    sources: tuple[str, ...]


def collect(paths: Sequence[str | Path]) -> Collection:
    """Read result files and sweep folders.

    Raises:
        UsageError: nothing to show, or a file that is not a result.
    """
    rows: list[Row] = []
    failures: list[Failure] = []
    evaluations: list[EvaluationResult] = []
    for path in _files(paths):
        data = _read(path)
        if data["kind"] == BENCH_KIND:
            rows += _bench_rows(read_result(path))
        elif data["kind"] == CELL_KIND and data["status"] == "failed":
            failures.append(Failure(data["label"], data["reason"]))
        elif data["kind"] == CELL_KIND:
            rows += _cell_rows(data, path)
        else:
            evaluations.append(EvaluationResult.from_json(data))
    rows = _with_evaluations(_with_benchmarks(rows), evaluations)
    if not rows and not failures:
        raise UsageError(
            "the files hold no result; expected a sweep's folder or what bench and eval wrote (--json)"
        )
    return Collection(
        tuple(_distinct(sorted(rows, key=_order))), tuple(failures), tuple(str(path) for path in paths)
    )


def _files(paths: Sequence[str | Path]) -> Iterator[Path]:
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            yield path
            continue
        folder = path / "cells" if (path / "cells").is_dir() else path
        found = sorted(item for item in folder.glob("*.json") if not item.name.startswith("."))
        if not found:
            raise UsageError(f"no result in {folder}; expected the folder of a sweep, or of .json results")
        yield from found


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}); expected a result of edgedet") from error
    if isinstance(data, dict) and data.get("kind") == MAPS_KIND:
        raise UsageError(
            f"{path} has the mean IoU of a segmenter, and a report shows the mAP of detectors: leave it out"
        )
    kinds = (BENCH_KIND, CELL_KIND, EVAL_KIND)
    if not isinstance(data, dict) or data.get("kind") not in kinds:
        raise UsageError(f"{path} is no result of edgedet; expected what bench, eval (--json) or sweep wrote")
    if data["kind"] == CELL_KIND and data.get("version") != CELL_VERSION:
        raise UsageError(
            f"{path} has version {data.get('version')!r}, this edgedet reads {CELL_VERSION}; update it"
        )
    return data


def _bench_rows(result: BenchResult) -> list[Row]:
    return [
        Row(
            name=artifact.name,
            architecture=artifact.architecture,
            precision=artifact.precision,
            size=(artifact.input[1], artifact.input[0]),
            sha256=artifact.sha256,
            bytes=artifact.bytes,
            artifact=artifact,
            accuracy=EvaluationResult(missing=NO_EVALUATION if artifact.then is None else OF_TWO),
            run=result,
        )
        for artifact in result.artifacts
    ]


def _cell_rows(cell: dict[str, Any], path: Path) -> list[Row]:
    # Relative names of drawn images are beside the cell's folder.
    beside = path.parent.parent
    accuracy = EvaluationResult.from_json(cell["accuracy"]).with_pictures(lambda drawn: str(beside / drawn))
    return [
        replace(
            row,
            name=cell["label"],
            accuracy=accuracy,
            setting=cell["setting"] | {"job": cell["job"]},
            measured=cell["export"]["card"]["measured"],
            notes=tuple(cell["export"]["notes"]),
        )
        for row in _bench_rows(result_from_json(cell["bench"], path))
    ]


def _with_benchmarks(rows: Sequence[Row]) -> list[Row]:
    """A benchmark of a cell's artifact replaces the short one that was made in the sweep.

    Cells are measured one after the other; a benchmark of all artifacts takes turns, and compares fairly on a
    machine that does other things too.
    """
    cells = {row.sha256: index for index, row in enumerate(rows) if row.setting}
    merged: list[Row | None] = list(rows)
    for index, row in enumerate(rows):
        place = cells.get(row.sha256)
        cell = merged[place] if place is not None else None
        if not row.setting and not row.looked_into and place is not None and cell is not None:
            parts = {name: getattr(row.artifact, name) for name in BENCHED}
            taken = {name: part for name, part in parts.items() if not isinstance(part, NotMeasured)}
            artifact = row.artifact if cell.artifact is None else replace(cell.artifact, **taken)
            merged[place] = replace(cell, artifact=artifact, run=row.run)
            merged[index] = None
    return [row for row in merged if row is not None]


def _with_evaluations(rows: Sequence[Row], evaluations: Sequence[EvaluationResult]) -> list[Row]:
    merged = list(rows)
    for evaluation in evaluations:
        matching = [
            index for index, row in enumerate(merged) if row.sha256 == evaluation.sha256 and not row.looked_into
        ]
        for index in matching:
            merged[index] = replace(merged[index], accuracy=evaluation)
        if not matching:
            merged.append(
                Row(
                    name=Path(evaluation.artifact or "unnamed").name,
                    architecture=evaluation.architecture or "unknown",
                    precision=evaluation.precision or "unknown",
                    size=None,
                    sha256=evaluation.sha256 or "",
                    bytes=None,
                    artifact=None,
                    accuracy=evaluation,
                )
            )
    return merged


def _order(row: Row) -> tuple[Any, ...]:
    """Like beside like: settings of one detector from small to large, precisions next to each other."""
    area = 0 if row.size is None else row.size[0] * row.size[1]
    proposals, conf = row.setting.get("proposals") or 0, row.setting.get("conf") or 0.0
    return (
        row.architecture,
        area,
        proposals,
        conf,
        ("fp32", "fp16", "int8", row.precision).index(row.precision),
        row.name,
    )


def _distinct(rows: Sequence[Row]) -> Iterator[Row]:
    """Names are what a reader holds on to: two rows must not share one."""
    seen: dict[str, int] = {}
    for row in rows:
        seen[row.name] = seen.get(row.name, 0) + 1
        yield row if seen[row.name] == 1 else replace(row, name=f"{row.name} ({seen[row.name]})")
