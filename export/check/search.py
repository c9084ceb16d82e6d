"""What a checkpoint leaves unsaid, judged by mAP: the search for assumed settings that are wrong.

The detector is evaluated as stated and assumed, then with every other value that an assumed setting commonly has,
on the same pictures. Where one is clearly better (:func:`edgedet.evaluate.paired.clearly_better`) the best is
adopted, and everything is tried again around it: two settings that are wrong together are found where either alone
already helps. That the labels of classes have changed places shows in what the detector calls the objects it finds.

A value that does as well as the assumed one proves nothing, either way: such a setting is undecided.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from edgedet.datasets.dataset import Dataset
from edgedet.evaluate.detection_pass import Progress, silent
from edgedet.evaluate.paired import CONFIDENCE, ahead, clearly_better, loses_a_class, mean_average_precision

from ..training.settings import NOTHING_STATED, TrainingSettings
from .alternative_settings import Alternative, Family, alternatives
from .settings_runs import Variants
from .trials import Measured, Trials

MAX_ROUNDS = 6
HOPELESS = 0.05
"""mAP below which another fault is likely, which none of the values mends."""

Standing = Literal["holds", "undecided", "wrong"]
CLASS_ORDER = "class order"
CLASS_NAMES = "class names"


@dataclass(frozen=True)
class Trial:
    """One value of a setting that was tried in place of the current one.

    Attributes:
        what: the setting, in words.
        value: the value, in words.
        map: mAP of the first ``images`` pictures; None where the value could not be run.
        instead_of: mAP of the same pictures with the settings found.
        images: number of pictures it was tried on.
        clearly_worse: whether it is worse by more than chance explains (paired bootstrap; Efron and Tibshirani
            1993).
        reason: why it could not be run.

    >>> Trial("colour order", "BGR", 0.31, 0.45, 64, clearly_worse=True).map
    0.31
    """

    what: str
    value: str
    map: float | None
    instead_of: float | None
    images: int
    clearly_worse: bool
    reason: str = ""


@dataclass(frozen=True)
class Finding:
    """A setting that is wrong, and the right value.

    Attributes:
        what: the setting, in words.
        value: the right value, in words.
        settings: the right value as settings.
        before: mAP without it; None for no figure.
        after: mAP with it; None for no figure.
        as_good: other values that do as well.
        why: further evidence, one clause.
        complete: False where only a part of the value is known, which no setting can state.

    >>> finding = Finding("colour order", "BGR", TrainingSettings(colour="BGR"), before=0.31, after=0.45)
    >>> print(finding.options())
    --detector 'colour="BGR"'
    """

    what: str
    value: str
    settings: TrainingSettings
    before: float | None
    after: float | None
    as_good: tuple[str, ...] = ()
    why: str = ""
    complete: bool = True

    def options(self) -> str:
        """The value as options of ``edgedet export``.

        Returns:
            Words of a shell's command line.
        """
        return " ".join(
            f"--detector '{name}={json.dumps(value)}'" for name, value in self.settings.stated().items()
        )


@dataclass(frozen=True)
class CheckResult:
    """Figures and findings of a check.

    Attributes:
        images: number of pictures.
        boxes: number of boxes of any class.
        map_assumed: mAP as stated and assumed; None where there is no box of a class of the dataset.
        map: mAP with everything that was found; None as above.
        findings: settings that are wrong.
        standing: every assumed setting to ``holds``, ``undecided`` or ``wrong``.
        trials: values that were tried around the settings found.
        found: settings found.
        confirmed: assumed settings whose other values are all clearly worse.
        names: class names, by label.
        mistaken: classes that are called others, which no order of the names explains, in words.

    >>> from edgedet.datasets import read_dataset
    >>> from edgedet.export import check_source
    >>> result = check_source("yolo.onnx", read_dataset("photos/labels.json")).result
    >>> result.passed, result.images, result.findings
    (True, 12, ())
    """

    images: int
    boxes: int
    map_assumed: float | None
    map: float | None
    findings: tuple[Finding, ...]
    standing: Mapping[str, Standing]
    trials: tuple[Trial, ...]
    found: TrainingSettings
    confirmed: TrainingSettings
    names: tuple[str, ...]
    mistaken: str = ""

    @property
    def passed(self) -> bool:
        """Whether no assumption is wrong and the detector detects."""
        return not self.findings and self.map is not None and self.map >= HOPELESS


def check(
    variants: Variants,
    dataset: Dataset,
    *,
    family: Family | None = None,
    unsaid: Collection[str] = (),
    named: bool = True,
    progress: Progress = silent,
) -> CheckResult:
    """Look for values that are clearly better than assumed ones.

    ``dataset``: of :func:`~edgedet.export.check.trials.chosen_images`, with classes the detector knows. ``family``
    and ``unsaid``: whose settings, by name, were assumed. ``named``: False where nobody named the classes.

    Raises:
        DatasetError: a picture that cannot be decoded.
    """

    def around(found: TrainingSettings) -> tuple[Alternative, ...]:
        return alternatives(family, found.over(variants.own), unsaid) if family is not None and unsaid else ()

    trials = Trials(variants, dataset, named=named, progress=progress)
    trials.plan([NOTHING_STATED, *(entry.settings for entry in around(NOTHING_STATED))])
    first = trials.measure(NOTHING_STATED, variants.names)
    assert isinstance(first, Measured), "a detector fits its own settings"
    current, assumed = first, first.figure
    findings: dict[str, Finding] = {}
    for _ in range(MAX_ROUNDS):
        tried = _try_all(trials, around(current.settings), current)
        step = _best_step(trials, tried, current)
        if step is None:
            break
        finding, current = step
        earlier = findings.pop(finding.what, None)
        if earlier is not None:
            settings = finding.settings.over(earlier.settings)
            finding = replace(finding, before=earlier.before, settings=settings)
        findings[finding.what] = finding
        trials.plan([entry.settings.over(current.settings) for entry in around(current.settings)])
    else:
        tried = _try_all(trials, around(current.settings), current)
    if not named and current.names != variants.names:
        findings = {CLASS_NAMES: _names_finding(trials, variants.names, current), **findings}
    own = variants.own.stated()
    # Something may have been adopted, and been given up again for what was there before.
    kept = [
        entry
        for entry in findings.values()
        if any(own.get(name) != value for name, value in entry.settings.stated().items())
    ]
    mistaken = _called(trials, trials.mistaken(current), current.names)
    return replace(_result(current, assumed, kept, tried, variants.own), mistaken=mistaken)


Tried = Sequence[tuple[Alternative, Measured | str]]


def _try_all(trials: Trials, entries: Sequence[Alternative], current: Measured) -> Tried:
    """Each value in place of the current one; given up once it cannot beat the best so far, since only the best is
    adopted, and the others are tried again around it."""
    tried, best = list[tuple[Alternative, Measured | str]](), current
    for entry in entries:
        result = trials.measure(entry.settings.over(current.settings), current.names, best)
        tried.append((entry, result))
        if _is_better(result, best):
            assert isinstance(result, Measured)
            best = result
    return tried


def _is_better(result: Measured | str, current: Measured) -> bool:
    """Clearly, on all pictures, and at no class's expense."""
    return (
        isinstance(result, Measured)
        and not result.stopped
        and clearly_better(current.matched, result.matched)
        and not loses_a_class(current.matched, result.matched)
    )


def _best_step(trials: Trials, tried: Tried, current: Measured) -> tuple[Finding, Measured] | None:
    """The clearly better value with the highest mAP, or the right order of the classes; None where all is well."""
    better = [
        (entry, result) for entry, result in tried if isinstance(result, Measured) and _is_better(result, current)
    ]
    best = max(better, key=lambda pair: pair[1].map, default=None)
    order = _right_order(trials, current)
    # A background in the wrong place also makes the labels change places, but it explains more.
    if order is not None and (best is None or best[1].map <= order[1].map):
        return order
    if best is None:
        return None
    chosen, after = best
    as_good = tuple(
        entry.value
        for entry, result in tried
        if entry.what == chosen.what
        and isinstance(result, Measured)
        and result is not after
        and not clearly_better(result.matched, after.matched.first(len(result.found)))
    )
    return Finding(chosen.what, chosen.value, chosen.settings, current.figure, after.figure, as_good), after


def _right_order(trials: Trials, current: Measured) -> tuple[Finding, Measured] | None:
    """The classes in another order, where what the detector calls the objects says so.

    A pair of names among eighty hardly moves the mean over all, so there is no least gain here.
    """
    order = trials.order(current.found, current.names) if trials.named else None
    if order is None:
        return None
    names = trials.names_by(order, current.names)
    after = trials.renamed(current, names)
    if ahead(current.matched, after.matched) < CONFIDENCE or loses_a_class(current.matched, after.matched):
        return None
    settings = TrainingSettings(classes=names)
    finding = Finding(
        CLASS_ORDER, ", ".join(names), settings, current.figure, after.figure, complete=order.complete
    )
    return replace(finding, why=_called(trials, order.evidence, current.names)), after


def _names_finding(trials: Trials, before: tuple[str, ...], current: Measured) -> Finding:
    """Names for labels that nobody named."""
    order = trials.order(current.found, before)
    return Finding(
        CLASS_NAMES,
        ", ".join(current.names),
        TrainingSettings(classes=current.names),
        None,
        current.figure,
        why="" if order is None else _called(trials, order.evidence, before),
        complete=order is not None and order.complete,
    )


def _called(trials: Trials, evidence: Sequence[tuple[int, int, int, int]], names: tuple[str, ...]) -> str:
    """The evidence in words."""
    classes = trials.dataset.names
    return ", ".join(
        f"{count} of {total} {classes[kind]} are called {names[label]}" for kind, label, count, total in evidence
    )


def _result(
    current: Measured,
    assumed: float | None,
    findings: Sequence[Finding],
    tried: Tried,
    own: TrainingSettings,
) -> CheckResult:
    trials = tuple(_trial(entry, result, current) for entry, result in tried)
    wrong = {finding.what for finding in findings}
    standing: dict[str, Standing] = {}
    for trial in trials:
        if trial.map is not None and standing.get(trial.what) != "undecided":
            standing[trial.what] = "holds" if trial.clearly_worse else "undecided"
    standing |= dict.fromkeys(wrong, "wrong")
    confirmed = {
        name: getattr(own, name)
        for entry, _ in tried
        if standing.get(entry.what) == "holds"
        for name in entry.settings.stated()
    }
    return CheckResult(
        images=len(current.found),
        boxes=sum(map(len, current.found)),
        map_assumed=assumed,
        map=current.figure,
        findings=tuple(findings),
        standing=standing,
        trials=trials,
        found=TrainingSettings(
            **{name: value for finding in findings if finding.complete for name, value in _stated(finding)}
        ),
        confirmed=TrainingSettings(**confirmed),
        names=current.names,
    )


def _stated(finding: Finding) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in vars(finding.settings).items() if value is not None)


def _trial(entry: Alternative, result: Measured | str, current: Measured) -> Trial:
    if isinstance(result, str):
        return Trial(entry.what, entry.value, None, None, 0, False, result)
    images = len(result.found)
    same = current.matched.first(images)
    return Trial(
        entry.what,
        entry.value,
        result.map,
        float(mean_average_precision(same)[0]),
        images,
        clearly_better(result.matched, same),
    )
