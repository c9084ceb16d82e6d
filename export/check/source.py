"""Judge whatever an export takes by labelled pictures, and say how what was found is stated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.artifacts.card import ASSUMED_KEY, METADATA_KEY
from edgedet.datasets.dataset import Dataset
from edgedet.detector import Detector
from edgedet.errors import OutputError, UsageError
from edgedet.evaluate.class_match import shared_classes
from edgedet.evaluate.detection_pass import Progress, require_labels, silent
from edgedet.evaluate.json_values import without_nan
from edgedet.files import atomic_path
from edgedet.opening import artifact_kind

from ..checkpoint_source import trained_as_told
from ..checkpoints.checkpoint import is_ultralytics
from ..checkpoints.file import read_content
from ..checkpoints.trained import TrainedDetector
from ..embedded_card import embed, opened
from ..finished_graph import checked
from ..foreign import read_graph
from ..options import ExportOptions
from ..segmentation.trained import load_segmenter
from ..sources import build_graph
from ..training.settings import NOTHING_STATED, SECTION, TrainingSettings, read_toml
from .search import CLASS_NAMES, CLASS_ORDER, HOPELESS, CheckResult, Finding, check
from .settings_runs import FixedVariant, Frames, variants_of
from .trials import USUAL_IMAGES, chosen_images

KIND = "edgedet-check"
AS_STATED = ExportOptions()
OTHER_TABLE = re.compile(r"^\s*\[+\s*(?!detector\s*\])[A-Za-z_\"'].*\]\s*(#.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class CheckReport:
    """What a check found, and how to state it.

    Attributes:
        source: the file that was judged.
        architecture: name of the network.
        dataset: what it was judged on, as it was named.
        pictures: number of pictures of the dataset.
        result: figures and findings.
        assumed: setting that the source leaves unsaid to the assumed value, in words.
        notes: what else the user should know.
        named_in_file: whether the checkpoint itself names its classes.
        whole: whether the checkpoint holds a whole module.
        fixed: whether the source is a graph or an engine, in which nothing can be tried.

    >>> from edgedet.datasets import read_dataset
    >>> report = check_source("yolo.onnx", read_dataset("photos/labels.json"))
    >>> report.assumed
    {'boxes': 'centres and sizes, which a trial run does not show'}
    >>> list(report.lines_of_findings())
    []
    """

    source: Path
    architecture: str
    dataset: str
    pictures: int
    result: CheckResult
    assumed: dict[str, str]
    notes: tuple[str, ...] = ()
    named_in_file: bool = False
    whole: bool = False
    fixed: bool = False

    def stateable(self, finding: Finding) -> bool:
        """Whether ``--detector``, or a TOML file, can state a finding.

        Args:
            finding: one of ``result.findings``.

        Returns:
            True if it can.
        """
        if finding.what in (CLASS_ORDER, CLASS_NAMES):
            return finding.complete and not self.named_in_file and not self.fixed
        return not self.whole

    def remedy(self, finding: Finding) -> str:
        """What to do about a finding.

        Args:
            finding: one of ``result.findings``.

        Returns:
            One clause with the exact options.
        """
        names = finding.settings.classes or ()
        if not finding.complete:
            return "too few objects of the other classes for all names; judge by more pictures"
        if self.stateable(finding):
            return f"state it: {finding.options()}"
        if self.fixed:
            return f"export again with --classes '{','.join(names)}'"
        if finding.what in (CLASS_ORDER, CLASS_NAMES):
            return f"save the checkpoint again with classes = {json.dumps(list(names))}"
        return f"a whole module takes no settings: save its state_dict, and state {finding.options()}"

    def lines_of_findings(self) -> Iterator[str]:
        """Everything that is wrong, for people.

        Yields:
            One line per fault.
        """
        for finding in self.result.findings:
            was = self.assumed.get(finding.what)
            line = f"{finding.what}: {finding.value}" + (f", not {was}" if was is not None else "")
            line += f": mAP {figure(finding.before)} -> {figure(finding.after)}"
            line += f" ({finding.why})" if finding.why else ""
            line += f"; as good: {', '.join(finding.as_good)}" if finding.as_good else ""
            yield f"{line}; {self.remedy(finding)}"
        if self.result.map is None:
            what = f"{self.result.boxes:,} boxes, none of a class of the dataset" if self.result.boxes else "no box"
            yield f"no mAP: {what} in {self.result.images} pictures; {HINT}"
        elif self.result.map < HOPELESS:
            yield f"mAP {figure(self.result.map)} with the best of what was tried is no detector's; {HINT}"

    def settings_found(self) -> TrainingSettings:
        """The findings that can be stated.

        Returns:
            Their settings, together.
        """
        found: dict[str, Any] = {}
        for finding in self.result.findings:
            if self.stateable(finding):
                found |= {name: value for name, value in vars(finding.settings).items() if value is not None}
        return TrainingSettings(**found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, as ``edgedet check --json`` writes them.

        Returns:
            Everything by its name; None where there is no figure.
        """
        result = self.result
        plain: dict[str, Any] = without_nan(
            {
                "kind": KIND,
                "source": str(self.source),
                "architecture": self.architecture,
                "dataset": self.dataset,
                "images": result.images,
                "passed": result.passed,
                "map_assumed": result.map_assumed,
                "map": result.map,
                "assumed": self.assumed,
                "standing": dict(result.standing),
                "findings": [
                    vars(finding) | {"settings": finding.settings.stated(), "remedy": self.remedy(finding)}
                    for finding in result.findings
                ],
                "lines": list(self.lines_of_findings()),
                "settings_found": self.settings_found().stated(),
                "settings_confirmed": result.confirmed.stated(),
                "trials": [vars(trial) for trial in result.trials],
                "mistaken": result.mistaken,
                "notes": list(self.notes),
            }
        )
        return plain


HINT = (
    "look at the class names, at --arch, and at whether the pictures and labels are of the kind it was trained on "
    "(edgedet eval --save DIR draws the worst)"
)


def check_source(
    source: str | Path,
    dataset: Dataset,
    options: ExportOptions = AS_STATED,
    *,
    limit: int = USUAL_IMAGES,
    progress: Progress = silent,
) -> CheckReport:
    """Judge a source of an export by mAP, and every setting that a checkpoint leaves unsaid by its other values.

    Args:
        source: checkpoint, ONNX file or engine.
        dataset: labelled pictures.
        options: what is stated of the source, as for an export.
        limit: limit of pictures to judge by.
        progress: called with (stage, done, of).

    Returns:
        The findings, and how to state them.

    Raises:
        CheckpointError, ArtifactError: a source that cannot be read.
        DatasetError: no labels, too few pictures with objects, or one that cannot be decoded.
        UsageError: detector and dataset share no class.

    >>> from edgedet.datasets import read_dataset
    >>> report = check_source("yolo.onnx", read_dataset("photos/labels.json"))
    >>> round(report.result.map, 3), report.fixed
    (1.0, True)
    """
    source = Path(source)
    require_labels(dataset)
    if artifact_kind(source) == "checkpoint":
        content = read_content(source, trust=options.trust)
        if not is_ultralytics(content):
            if load_segmenter(source, content=content, arch=options.arch) is not None:
                raise UsageError(
                    f"edgedet check judges detectors by mAP, and {source} holds a segmenter: export it with "
                    "--detector, and compare by edgedet eval"
                )
            trained = trained_as_told(source, content, options)
            return _check_trained(trained, dataset, limit, progress, named_by_option=options.classes is not None)
    with _as_it_runs(source, options) as (detector, assumed):
        judged, notes = _judged(dataset, detector.card.names, named=True)
        chosen = chosen_images(judged, limit)
        result = check(FixedVariant(detector, Frames(chosen.images)), chosen, progress=progress)
        said = f"assumed when it was made: {'; '.join(assumed)}" if assumed else "nothing in it is named as assumed"
        return CheckReport(
            source,
            detector.card.architecture,
            dataset.source,
            len(dataset),
            result,
            dict(text.partition(": ")[::2] for text in assumed),
            (f"{source.name} takes no other settings any more, so it is only evaluated; {said}", *notes),
            fixed=True,
        )


def _check_trained(
    trained: TrainedDetector, dataset: Dataset, limit: int, progress: Progress, *, named_by_option: bool
) -> CheckReport:
    checkpoint = trained.checkpoint
    named = checkpoint.named_by == "stated"
    judged, notes = _judged(dataset, checkpoint.names, named=named)
    chosen = chosen_images(judged, limit)
    unsaid = {name for entry in trained.assumed for name in entry.stated_by.split(", ")}
    with variants_of(trained, chosen.images) as variants:
        result = check(
            variants,
            chosen,
            family=trained.family,
            unsaid=unsaid - {"classes"},
            named=named,
            progress=progress,
        )
    return CheckReport(
        checkpoint.path,
        checkpoint.arch,
        dataset.source,
        len(dataset),
        result,
        {entry.what: entry.value for entry in trained.assumed},
        (*trained.notes, *notes),
        named_in_file=named and not named_by_option and trained.stated.classes is None,
        whole=checkpoint.module is not None,
    )


def _judged(dataset: Dataset, names: tuple[str, ...], *, named: bool) -> tuple[Dataset, tuple[str, ...]]:
    """The dataset with the classes that can be judged, and what is to be said of the others."""
    if not named:
        return dataset, ("the detector's classes have no names; the objects under its boxes name them",)
    judged = dataset.select_classes(shared_classes(dataset.names, names))
    missing = [name for name in dataset.names if name not in judged.names]
    if not missing:
        return judged, ()
    return judged, (
        f"the dataset has classes that the detector lacks, and no figure includes: {', '.join(missing)}",
    )


@contextmanager
def _as_it_runs(source: Path, options: ExportOptions) -> Iterator[tuple[Detector, list[str]]]:
    """A graph or engine, and what its card says was assumed; another tool's file as it would be exported."""
    kind = artifact_kind(source)
    ours = kind == "graph" and any(entry.key == METADATA_KEY for entry in read_graph(source).metadata_props)
    if kind in ("engine", "ncnn") or ours:
        with Detector(source) as detector:
            if detector.card.input.proposals is not None:
                raise UsageError(
                    f"{source} takes proposals from outside, on which its mAP depends: edgedet check judges "
                    "checkpoints and graphs that make their own"
                )
            yield detector, list(detector.card.provenance.get(ASSUMED_KEY, ()))
        return
    built = build_graph(source, options, frame_size=options.frame_size)
    with opened(embed(checked(built.model, nms=options.nms), built.card)) as detector:
        yield detector, [entry.text() for entry in built.assumed]


def require_replaceable(path: Path) -> TrainingSettings:
    """What a TOML file that is about to be written says already.

    Raises:
        OutputError: it holds more than a detector's settings.
        UsageError, CheckpointError: it cannot be read, or is no such file.
    """
    if not path.exists():
        return NOTHING_STATED
    settings = read_toml(path)
    if OTHER_TABLE.search(path.read_text(encoding="utf-8-sig")):
        raise OutputError(f"{path} has other tables than [{SECTION}], which would be lost; write to another file")
    return settings


def write_settings(report: CheckReport, path: Path, before: TrainingSettings) -> TrainingSettings:
    """Write what was found, and the assumptions that hold, as a table ``[detector]``; ``before``: what is kept.

    Nothing is written where nothing was found or confirmed. Returns what was written.

    Raises:
        OutputError: the place is not writable.
    """
    settings = report.settings_found().over(before).over(report.result.confirmed)
    stated = settings.stated()
    if not stated:
        return settings
    judged = f"mAP {figure(report.result.map)} on {report.result.images} images of {report.dataset}"
    lines = [f"# Judged by edgedet check: {' '.join(judged.split())}.", f"[{SECTION}]"]
    # Whatever json writes of text, numbers, truth and lists is TOML too.
    lines += [f"{name} = {json.dumps(value)}" for name, value in stated.items()]
    undecided = [
        f"# {what}: undecided, {report.assumed.get(what)}"
        for what, it in report.result.standing.items()
        if it == "undecided"
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join([*lines, *undecided]) + "\n", encoding="utf-8")
    return settings


def figure(value: float | None) -> str:
    """A figure for people.

    >>> figure(0.45678), figure(None)
    ('0.457', 'none')
    """
    return "none" if value is None else f"{value:.3f}"
