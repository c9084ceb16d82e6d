"""What readers of results take from an evaluation's, as ``edgedet eval --json`` and sweeps write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgedet.evaluate.application_result import EARLIER, ApplicationResult, Figure
from edgedet.missing_figures import reason_missing

KIND = "edgedet-eval"
VERSION = 1


@dataclass(frozen=True)
class DrawnImage:
    """A picture with errors. ``drawn``: its file. ``caption``: for people, None where there is none."""

    drawn: str
    caption: str | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """An artifact's accuracy; figures that are None say why by :meth:`why_missing`.

    ``missing``: why nothing was evaluated. ``artifact``, ``sha256``, ``architecture``, ``precision``: what was
    judged, None in results that are part of a sweep's. ``application``: misses, false alarms and delays; None where
    nothing was evaluated.
    """

    map: float | None = None
    ap50: float | None = None
    reasons: Mapping[str, str] | None = None
    missing: str | None = None
    worst: tuple[DrawnImage, ...] = ()
    artifact: str | None = None
    sha256: str | None = None
    architecture: str | None = None
    precision: str | None = None
    application: ApplicationResult | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EvaluationResult:
        """Read an evaluation's object, or what stands in its place; figures that earlier versions lack are None."""
        reasons = data.get("absent")
        artifact, sha256 = data.get("artifact"), data.get("sha256")
        return cls(
            map=data.get("map"),
            ap50=data.get("ap50"),
            reasons=reasons if isinstance(reasons, dict) else None,
            missing=reason_missing(data),
            worst=tuple(_drawn(data.get("worst") or ())),
            artifact=None if artifact is None else str(artifact),
            sha256=None if sha256 is None else str(sha256),
            architecture=data.get("architecture"),
            precision=data.get("precision"),
            application=None if reason_missing(data) else ApplicationResult.from_json(data),
        )

    def figure(self, name: str) -> Figure:
        """One of the application's, by its name."""
        if self.application is not None:
            return self.application.figures[name]
        return Figure(None, reason=self.missing or EARLIER)

    def why_missing(self, figure: str) -> str | None:
        """Why a figure is None, by its name; None where the result does not say."""
        return self.missing or (self.reasons or {}).get(figure)

    def with_pictures(self, place: Callable[[str], str]) -> EvaluationResult:
        """With the pictures' names as ``place`` has them."""
        return replace(self, worst=tuple(replace(each, drawn=place(each.drawn)) for each in self.worst))


def _drawn(entries: Iterable[Mapping[str, Any]]) -> Iterator[DrawnImage]:
    for entry in entries:
        if "drawn" in entry:
            caption = entry.get("caption")
            yield DrawnImage(str(entry["drawn"]), None if caption is None else str(caption))
