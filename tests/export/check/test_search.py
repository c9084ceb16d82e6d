"""Assumptions judged by mAP: what is wrong is found and named, and what is right raises no alarm."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgedet.cli import main
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.detections import Detections
from edgedet.errors import CheckpointError, DatasetError, OutputError
from edgedet.export.check.search import CheckResult, check
from edgedet.export.check.source import CheckReport, require_replaceable, write_settings
from edgedet.export.check.trials import STAGES, chosen_images
from edgedet.export.training.settings import NOTHING_STATED, TrainingSettings, read_toml

NAMES = ("red", "white", "plate")
OWN = TrainingSettings(
    colour="RGB",
    background="first",
    image_mean=(0.5, 0.5, 0.5),
    image_std=(0.5, 0.5, 0.5),
    box_weights=(10.0, 10.0, 5.0, 5.0),
    input_size=(320, 320),
    default_box_ratios=((2.0, 3.0),) * 6,
    default_box_scales=(0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0),
    default_box_steps=(),
    default_box_clip=True,
)
UNSAID = frozenset(OWN.stated())


def made_dataset(images: int = 24, names: tuple[str, ...] = NAMES) -> Dataset:
    """Pictures of three objects, one of each class; they are never decoded."""
    none = np.zeros(3, np.bool_)
    records = []
    for number in range(images):
        boxes = np.array([[0, 0, 40, 40], [50, 0, 90, 40], [0, 50, 40, 90]], np.float64) + number % 7
        labels = np.arange(3, dtype=np.int32)
        records.append(ImageRecord(Path(f"{number}.png"), 100, 100, boxes, labels, none, none, np.full(3, 1600.0)))
    return Dataset(names, tuple(records), "coco", "made")


class Made:
    """A detector whose boxes are off by some pixels for every setting that is not the ``true`` one."""

    def __init__(
        self, dataset: Dataset, true: TrainingSettings, *, off: float = 3.0, names: tuple[str, ...] = NAMES
    ) -> None:
        self.names, self.own = names, OWN
        self.dataset, self.true, self.off = dataset, true.over(OWN), off
        self.harmless: tuple[str, ...] = ()
        self.labels = np.arange(3, dtype=np.int32)
        self.seen: dict[TrainingSettings, int] = {}
        self.unfit: Callable[[TrainingSettings], bool] = lambda settings: False

    def detect(self, settings: TrainingSettings, images: Sequence[int]) -> list[Detections]:
        if self.unfit(settings):
            raise CheckpointError("does not fit")
        self.seen[settings] = self.seen.get(settings, 0) + len(images)
        now = settings.over(OWN)
        wrong = {name for name in UNSAID if getattr(now, name) != getattr(self.true, name)} - {*self.harmless}
        return [self.boxes(number, self.off * len(wrong)) for number in images]

    def boxes(self, number: int, off: float) -> Detections:
        record = self.dataset.images[number]
        scores = np.array([0.9, 0.8, 0.7], np.float32)
        return Detections(record.boxes + off, scores, self.labels, self.names, (100, 100))


def checked(made: Made, **how: Any) -> CheckResult:
    return check(made, made.dataset, family="ssd", unsaid=UNSAID, **how)


def test_a_right_detector_passes_and_its_assumptions_hold() -> None:
    made = Made(made_dataset(), NOTHING_STATED)
    result = checked(made)
    assert result.passed and not result.findings and result.map == 1.0
    assert set(result.standing.values()) == {"holds"}
    assert result.confirmed == OWN


def test_hopeless_values_are_given_up_early() -> None:
    made = Made(made_dataset(), NOTHING_STATED, off=30.0)
    checked(made)
    assert made.seen.pop(NOTHING_STATED) == 24
    assert set(made.seen.values()) == {STAGES[0]}


@pytest.mark.parametrize(
    ("true", "what"),
    [
        (TrainingSettings(colour="BGR"), "colour"),
        (TrainingSettings(background="last"), "background"),
        (TrainingSettings(box_weights=(1.0, 1.0, 1.0, 1.0)), "box weights"),
        (TrainingSettings(input_size=(512, 512)), "input size"),
        (TrainingSettings(default_box_scales=(0.2, 0.34, 0.48, 0.62, 0.76, 0.9, 1.0)), "default boxes"),
    ],
)
def test_what_is_wrong_is_named_with_the_right_value(true: TrainingSettings, what: str) -> None:
    result = checked(Made(made_dataset(), true))
    (finding,) = result.findings
    assert finding.what == what and not result.passed
    assert result.standing[what] == "wrong"
    assert finding.before is not None and finding.before < 0.9 and finding.after == result.map == 1.0
    ((name, value),) = true.stated().items()
    assert finding.settings.stated()[name] == value
    assert f"--detector '{name}={json.dumps(value)}'" in finding.options()


def test_two_that_are_wrong_together_are_found() -> None:
    true = TrainingSettings(colour="BGR", image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0))
    result = checked(Made(made_dataset(), true))
    assert {finding.what for finding in result.findings} == {"colour", "mean/std"}
    assert result.found == true and result.map == 1.0
    assert result.map_assumed == pytest.approx(result.findings[0].before)


def test_a_value_that_does_as_well_is_no_evidence() -> None:
    made = Made(made_dataset(), TrainingSettings(colour="BGR"))
    made.harmless = ("colour", "background")
    result = checked(made)
    assert result.passed
    assert result.standing["colour"] == result.standing["background"] == "undecided"
    assert result.confirmed.colour is None and result.confirmed.input_size == (320, 320)


def test_what_is_stated_is_not_doubted() -> None:
    made = Made(made_dataset(), TrainingSettings(colour="BGR"))
    result = check(made, made.dataset, family="ssd", unsaid=UNSAID - {"colour"})
    assert not result.findings and "colour" not in result.standing


def test_a_value_that_does_not_fit_the_tensors_is_passed_over() -> None:
    made = Made(made_dataset(), TrainingSettings(background="last"))
    made.unfit = lambda settings: settings.input_size is not None
    result = checked(made)
    assert [finding.what for finding in result.findings] == ["background"]
    assert "input size" not in result.standing
    assert {trial.reason for trial in result.trials if trial.what == "input size"} == {"does not fit"}


def test_labels_that_have_changed_places() -> None:
    made = Made(made_dataset(), NOTHING_STATED)
    made.labels = np.array([1, 2, 0], np.int32)
    result = checked(made)
    (finding,) = result.findings
    assert finding.what == "class order" and finding.complete and result.map == 1.0
    assert result.standing["class order"] == "wrong"
    assert finding.settings.classes == result.names == ("plate", "red", "white")
    assert "24 of 24 red are called white" in finding.why


def test_labels_that_have_changed_places_and_a_wrong_setting() -> None:
    made = Made(made_dataset(), TrainingSettings(colour="BGR"))
    made.labels = np.array([1, 0, 2], np.int32)
    result = checked(made)
    assert {finding.what for finding in result.findings} == {"colour", "class order"}
    assert result.map == 1.0


def test_a_setting_that_ruins_a_class_to_mend_others_is_not_the_one() -> None:
    """Two labels have changed places, of a class that is never found. With the background in another place the
    mean is higher by chance; that is no finding, and the labels are spoken of."""
    made = Made(made_dataset(), NOTHING_STATED)
    made.harmless = ("background",)
    found = made.detect

    def detect(settings: TrainingSettings, images: Sequence[int]) -> list[Detections]:
        last = settings.background == "last"
        labels, kept = ([1, 1, 2], [False, True, True]) if last else ([0, 2, 1], [True, False, True])
        made.labels = np.array(labels, np.int32)
        return [entry[np.array(kept)] for entry in found(settings, images)]

    made.detect = detect  # type: ignore[method-assign]
    result = checked(made)
    assert not result.findings and result.map == pytest.approx(1 / 3)
    assert result.mistaken == "24 of 24 plate are called white"


def test_labels_without_names_are_told_by_their_objects() -> None:
    made = Made(made_dataset(), TrainingSettings(colour="BGR"), names=("class_1", "class_2", "class_3"))
    made.labels = np.array([1, 2, 0], np.int32)
    result = checked(made, named=False)
    assert [finding.what for finding in result.findings] == ["class names", "colour"]
    assert result.names == ("plate", "red", "white") and result.map == 1.0


def test_nothing_found_is_no_figure_and_no_pass() -> None:
    made = Made(made_dataset(), NOTHING_STATED)
    made.boxes = lambda number, off: Detections.empty(NAMES, (100, 100))  # type: ignore[method-assign]
    result = checked(made)
    assert result.map is None and result.map_assumed is None and not result.passed
    assert not result.findings
    (line,) = report_of(result).lines_of_findings()
    assert line.startswith("no mAP: no box in 24 pictures")


def test_a_detector_that_nothing_mends_does_not_pass() -> None:
    made = Made(made_dataset(), NOTHING_STATED)
    made.boxes = lambda number, off: Detections([[0, 0, 99, 5]], [0.5], [0], NAMES, (100, 100))  # type: ignore[method-assign]
    result = checked(made)
    assert result.map == 0.0 and not result.passed
    (line,) = report_of(result).lines_of_findings()
    assert line.startswith("mAP 0.000 with the best of what was tried")


def test_the_pictures_are_spread_and_have_objects() -> None:
    dataset = made_dataset(100)
    images = list(dataset.images)
    images[::2] = [record.keep(np.zeros(3, np.bool_)) for record in images[::2]]
    chosen = chosen_images(replace(dataset, images=tuple(images)), 20)
    numbers = [int(record.path.stem) for record in chosen.images]
    assert len(set(numbers)) == 20 and all(number % 2 for number in numbers)
    for count in (*STAGES, 20):
        gaps = np.diff(sorted([*numbers[:count], numbers[0] + 100]))
        assert gaps.max() <= 2.5 * 100 / count, "spread over the whole"


def test_too_little_to_judge_by_is_refused() -> None:
    dataset = made_dataset(7)
    with pytest.raises(DatasetError, match="7 images with objects cannot tell"):
        chosen_images(dataset, 64)
    empty = tuple(record.keep(np.zeros(3, np.bool_)) for record in dataset.images)
    with pytest.raises(DatasetError, match="without a single box"):
        chosen_images(replace(dataset, images=empty), 64)


def report_of(result: CheckResult, **how: Any) -> CheckReport:
    return CheckReport(Path("m.pt"), "ssdlite", "made", 24, result, {"colour": "RGB"}, **how)


def test_what_was_found_is_written_and_read_again(tmp_path: Path) -> None:
    result = checked(Made(made_dataset(), TrainingSettings(colour="BGR")))
    path = tmp_path / "m.toml"
    path.write_text("[detector]\nbackground = 'first'\nnorm_eps = 0.001\n")
    write_settings(report_of(result), path, require_replaceable(path))
    assert read_toml(path) == TrainingSettings(colour="BGR", norm_eps=0.001).over(OWN)
    line = next(report_of(result).lines_of_findings())
    assert line.startswith("colour: BGR, not RGB: mAP 0.") and line.endswith("--detector 'colour=\"BGR\"'")


def test_a_file_with_other_tables_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.mine]\nx = 1\n[detector]\ncolour = 'RGB'\n")
    with pytest.raises(OutputError, match="other tables"):
        require_replaceable(path)


def test_an_order_that_the_checkpoint_itself_contradicts_has_to_be_saved() -> None:
    made = Made(made_dataset(), NOTHING_STATED)
    made.labels = np.array([1, 0, 2], np.int32)
    result = checked(made)
    (by_list,) = report_of(result, named_in_file=True).lines_of_findings()
    assert by_list.endswith('save the checkpoint again with classes = ["white", "red", "plate"]')
    assert report_of(result, named_in_file=True).settings_found() == NOTHING_STATED
    assert report_of(result).settings_found().classes == ("white", "red", "plate")
    (of_graph,) = report_of(result, fixed=True).lines_of_findings()
    assert of_graph.endswith("export again with --classes 'white,red,plate'")


KNOWN = (
    "--detector", "input_size=[320, 320]", "--detector", "box_weights=[10, 10, 5, 5]", "--detector",
    "image_mean=[0.5, 0.5, 0.5]", "--detector", "image_std=[0.5, 0.5, 0.5]", "--detector", "background=first",
)  # fmt: skip


def planted(shared: Path, folder: Path) -> Path:
    """The sample SSDLite as if it had been trained on BGR images."""
    checkpoint = torch.load(shared / "models/ssdlite320_mobilenet_v3_large_bccd.pt")
    first = "backbone.features.0.0.0.weight"
    checkpoint["state_dict"][first] = checkpoint["state_dict"][first].flip(1)
    torch.save(checkpoint, folder / "bgr.pt")
    return folder / "bgr.pt"


def test_a_real_detector_of_other_colours(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, toml = planted(shared, tmp_path), tmp_path / "found.toml"
    data = f"{shared}/data/bccd:test"
    words = ["check", str(model), "--eval", data, "--limit", "16", *KNOWN]
    assert main([*words, "--detector", "default_box_clip=true", "--write", str(toml)]) == 2
    assert "without default_box_ratios" in capsys.readouterr().err
    boxes = tmp_path / "boxes.toml"
    boxes.write_text(
        "default_box_ratios = [[2, 3], [2, 3], [2, 3], [2, 3], [2, 3], [2, 3]]\n"
        "default_box_scales = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]\n"
        "default_box_steps = []\ndefault_box_clip = true\n"
    )
    words += ["--detector", str(boxes)]
    assert main([*words, "--write", str(toml)]) == 1
    out = capsys.readouterr().out
    assert "colour: BGR, not RGB: mAP 0." in out and "state it: --detector 'colour=\"BGR\"'" in out
    found = read_toml(toml)
    assert found.colour == "BGR" and found.input_size == (320, 320)
    assert main(["check", str(model), "--eval", data, "--limit", "16", "--detector", str(toml), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] and report["map"] > 0.4 and not report["assumed"]
