"""What a sweep consists of: settings, the job they share, and a key that changes when anything does."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from edgedet import __version__
from edgedet.artifacts.card import Precision
from edgedet.bench.latency import Rules

SWEEP_RULES = Rules(warmup_frames=5, warmup_seconds=0.5, frames=50, seconds=5.0, max_seconds=15.0)
"""Shorter than a benchmark of one artifact: a sweep has dozens. Tails need `edgedet bench` on what was chosen."""

Weights = Literal["trained", "untrained"]
Value = TypeVar("Value")


@dataclass(frozen=True)
class Setting:
    """One cell. None leaves a setting as the source has it."""

    source: str
    imgsz: tuple[int, int] | None = None
    """Height, width."""
    proposals: int | None = None
    precision: Precision = "fp32"
    conf: float | None = None
    weights: Weights = "trained"
    """``untrained``: latency only, accuracy would mean nothing."""

    @property
    def label(self) -> str:
        """A short name, also for files.

        >>> Setting("runs/best.pt", imgsz=(240, 320), proposals=50, precision="int8").label
        'best-320x240-p50-int8'
        """
        parts = [Path(self.source).stem]
        if self.imgsz is not None:
            parts.append(f"{self.imgsz[1]}x{self.imgsz[0]}")
        if self.proposals is not None:
            parts.append(f"p{self.proposals}")
        if self.conf is not None:
            parts.append(f"c{self.conf:g}")
        return "-".join([*parts, self.precision])


@dataclass(frozen=True)
class Job:
    """What all cells of a sweep share."""

    eval: str | None = None
    """Labelled images for accuracy; without them it is not measured."""
    calib: str | None = None
    guard: str | None = None
    """Labelled images for int8's accuracy guard at export; other ones than ``eval``."""
    frames: str | None = None
    """Frames for latency; None takes the evaluation images."""
    arch: str | None = None
    classes: tuple[str, ...] | None = None
    frame_size: tuple[int, int] | None = None
    """Width, height."""
    max_drop: float = 0.01
    threads: int | None = None
    rules: Rules = SWEEP_RULES
    cold_starts: int = 1


def grid(
    sources: Sequence[tuple[str, Weights]],
    *,
    imgsz: Sequence[tuple[int, int]] = (),
    proposals: Sequence[int] = (),
    precisions: Sequence[Precision] = ("fp32",),
    confs: Sequence[float] = (),
    has_proposals: Callable[[str], bool],
) -> list[Setting]:
    """Every combination, once; ``proposals`` only where a source has any.

    >>> [cell.label for cell in grid([("a.pt", "trained")], proposals=[4, 50], has_proposals=lambda source: False)]
    ['a-fp32']
    """
    cells = [
        Setting(source, size, count, precision, conf, weights)
        for source, weights in sources
        for size, count, precision, conf in itertools.product(
            _or_none(imgsz), _or_none(proposals if has_proposals(source) else ()), precisions, _or_none(confs)
        )
    ]
    return list(dict.fromkeys(cells))


def _or_none(values: Sequence[Value]) -> Sequence[Value | None]:
    return values or (None,)


def cell_key(setting: Setting, job: Job, source_digest: str) -> str:
    """The cell's file name: readable, and different as soon as the source, a setting or edgedet itself differs."""
    identity = {
        "setting": dataclasses.asdict(setting) | {"source": source_digest},
        "job": dataclasses.asdict(job),
        "edgedet": __version__,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{setting.label}-{digest[:10]}"


def setting_from_json(data: dict[str, Any]) -> Setting:
    """The setting that ``dataclasses.asdict`` and JSON made lists of."""
    return Setting(**data | {"imgsz": _tuple(data["imgsz"])})


def job_from_json(data: dict[str, Any]) -> Job:
    """The job that ``dataclasses.asdict`` and JSON made lists of."""
    changed = {name: _tuple(data[name]) for name in ("classes", "frame_size")}
    return Job(**data | changed | {"rules": Rules(**data["rules"])})


def _tuple(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
