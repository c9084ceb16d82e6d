"""From result files to rows: sweeps' cells, benchmarks and evaluations, brought together by artifact."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgedet.bench.result import KIND as BENCH_KIND
from edgedet.bench.result import not_measured, read_result, reason_missing
from edgedet.errors import UsageError
from edgedet.machine.state import QUIET_SHARE
from edgedet.sweep.cell import KIND as CELL_KIND
from edgedet.sweep.cell import VERSION as CELL_VERSION

EVAL_KIND = "edgedet-eval"

NO_EVALUATION = "no evaluation of this artifact was among the files (edgedet eval --json)"
BENCHED = ("latency", "stages", "detections", "throughput", "streams", "energy", "cold", "memory")
"""What a benchmark of a cell's artifact replaces, as far as it was measured."""

NO_BENCHMARK = "no benchmark of this artifact was among the files (edgedet bench --json)"


@dataclass(frozen=True)
class Row:
    """One artifact. Figures that were not measured are ``{"not_measured": reason}``."""

    name: str
    architecture: str
    precision: str
    size: tuple[int, int] | None
    """Width, height of the network's input."""
    sha256: str
    bytes: int | None
    artifact: dict[str, Any]
    """The benchmark's entry, empty where there is none."""
    accuracy: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=dict)
    during: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    frames: dict[str, Any] = field(default_factory=dict)
    setting: dict[str, Any] = field(default_factory=dict)
    """A sweep's setting; empty otherwise."""
    measured: dict[str, Any] = field(default_factory=dict)
    """What the card says was measured at export."""
    notes: tuple[str, ...] = ()

    def latency(self, percentile: str) -> float | None:
        """Milliseconds, or None."""
        value = self.artifact.get("latency", {}).get(percentile)
        return None if value is None else float(value)

    @property
    def map(self) -> float | None:
        """COCO mAP, or None."""
        value = self.accuracy.get("map")
        return None if value is None else float(value)

    @property
    def watts(self) -> float | None:
        """Mean power of what the meter calls the whole, or None."""
        value = self.artifact.get("energy", {}).get("watts", {}).get("total")
        return None if value is None else float(value)

    @property
    def disturbed(self) -> bool:
        """Whether other processes were busy while latency was measured."""
        share = self.during.get("others_cpu_share")
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
            return _why_absent(self.accuracy, key or "map") or "the evaluation gave no figure (no labelled object?)"
        if not self.artifact:
            return NO_BENCHMARK
        if what == "watts":
            return _why_absent(self.artifact.get("energy"), "joules_per_frame") or "no rail covers the whole"
        return _why_absent(self.artifact.get("latency"), key or "p50") or "too few frames for this percentile"


def _why_absent(section: Any, key: str) -> str | None:
    """What a result says of a figure that is not there; those of earlier versions say it of whole sections only."""
    reasons = section.get("absent") if isinstance(section, dict) else None
    said = reasons.get(key) if isinstance(reasons, dict) else None
    return reason_missing(section) or said


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
    evaluations: list[dict[str, Any]] = []
    for path in _files(paths):
        data = _read(path)
        if data["kind"] == BENCH_KIND:
            rows += _bench_rows(read_result(path))
        elif data["kind"] == CELL_KIND and data["status"] == "failed":
            failures.append(Failure(data["label"], data["reason"]))
        elif data["kind"] == CELL_KIND:
            rows += _cell_rows(data, path)
        else:
            evaluations.append(data)
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
    kinds = (BENCH_KIND, CELL_KIND, EVAL_KIND)
    if not isinstance(data, dict) or data.get("kind") not in kinds:
        raise UsageError(f"{path} is no result of edgedet; expected what bench, eval (--json) or sweep wrote")
    if data["kind"] == CELL_KIND and data.get("version") != CELL_VERSION:
        raise UsageError(
            f"{path} has version {data.get('version')!r}, this edgedet reads {CELL_VERSION}; update it"
        )
    return data


def _bench_rows(result: dict[str, Any]) -> list[Row]:
    return [
        Row(
            name=artifact["name"],
            architecture=artifact["architecture"],
            precision=artifact["precision"],
            size=(artifact["input"][1], artifact["input"][0]),
            sha256=artifact["sha256"],
            bytes=artifact["bytes"],
            artifact=artifact,
            accuracy=not_measured(NO_EVALUATION),
            machine=result["machine"],
            during=result["during"],
            rules=result["rules"],
            frames=result["frames"],
        )
        for artifact in result["artifacts"]
    ]


def _cell_rows(cell: dict[str, Any], path: Path) -> list[Row]:
    return [
        replace(
            row,
            name=cell["label"],
            accuracy=_with_images(cell["accuracy"], path),
            setting=cell["setting"] | {"job": cell["job"]},
            measured=cell["export"]["card"]["measured"],
            notes=tuple(cell["export"]["notes"]),
        )
        for row in _bench_rows(cell["bench"])
    ]


def _with_images(accuracy: dict[str, Any], path: Path) -> dict[str, Any]:
    """Relative names of drawn images are beside the cell's folder."""
    worst = accuracy.get("worst", [])
    return (
        accuracy | {"worst": [entry | {"drawn": str(_beside(entry, path))} for entry in worst]}
        if worst
        else accuracy
    )


def _beside(entry: dict[str, Any], path: Path) -> Path:
    return path.parent.parent / entry["drawn"]


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
        if not row.setting and place is not None and cell is not None:
            parts = {name: row.artifact[name] for name in BENCHED}
            taken = {name: part for name, part in parts.items() if reason_missing(part) is None}
            merged[place] = replace(
                cell,
                artifact=cell.artifact | taken,
                machine=row.machine,
                during=row.during,
                rules=row.rules,
                frames=row.frames,
            )
            merged[index] = None
    return [row for row in merged if row is not None]


def _with_evaluations(rows: Sequence[Row], evaluations: Sequence[dict[str, Any]]) -> list[Row]:
    merged = list(rows)
    for evaluation in evaluations:
        matching = [index for index, row in enumerate(merged) if row.sha256 == evaluation.get("sha256")]
        for index in matching:
            merged[index] = replace(merged[index], accuracy=evaluation)
        if not matching:
            merged.append(
                Row(
                    name=Path(str(evaluation.get("artifact", "unnamed"))).name,
                    architecture=evaluation.get("architecture", "unknown"),
                    precision=evaluation.get("precision", "unknown"),
                    size=None,
                    sha256=str(evaluation.get("sha256", "")),
                    bytes=None,
                    artifact={},
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
