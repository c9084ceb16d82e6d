"""A figure with nothing behind it: absent with a reason, and no INT8 graph is accepted on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

from edgedet.calibration.judge import AgreementJudge, MapJudge, Run
from edgedet.calibration.measurement_cache import digest_of
from edgedet.calibration.pipeline import QuantiseOptions, quantise
from edgedet.datasets.dataset import Dataset, ImageRecord
from edgedet.detections import Detections
from edgedet.errors import CalibrationError
from edgedet.proof.agreement import agreement, found_again

BOX = np.array([[2, 2, 20, 20]], np.float32)


def found(score: float) -> Detections:
    return Detections(BOX, np.array([score], np.float32), np.zeros(1, np.int32), ("light", "dark"), (32, 32))


NOTHING = Detections.empty(("light", "dark"), (32, 32))


def test_what_there_is_not_cannot_be_found_again() -> None:
    for pair in ((NOTHING, NOTHING), (found(0.2), NOTHING), (found(0.2), found(0.9))):
        assert found_again([pair[0]], [pair[1]]) is None
    assert found_again([found(0.4)], [NOTHING]) == 0.0
    assert found_again([found(0.4)], [found(0.4)]) == 1.0
    assert found_again([], []) is None


def of_class(label: int, count: int, *, kept: int) -> tuple[list[Detections], list[Detections]]:
    """``count`` frames with a detection of a class, of which so many are found again."""
    names = tuple(f"class {number}" for number in range(20))
    one = Detections(BOX, np.array([0.6], np.float32), np.full(1, label, np.int32), names, (32, 32))
    nothing = Detections.empty(names, (32, 32))
    return [one] * count, [one if index < kept else nothing for index in range(count)]


def test_one_lost_box_of_a_rare_class_does_not_cost_the_class() -> None:
    """Ten classes shown once each: of eighty, a few dozen pictures show most no oftener."""
    pairs = [of_class(label, 1, kept=int(label > 0)) for label in range(10)]
    pairs.append(of_class(19, 40, kept=40))
    reference, candidate = ([one for pair in pairs for one in pair[side]] for side in (0, 1))
    # A list of ten counts as 10 / 8 classes beside the common one.
    assert found_again(reference, candidate) == pytest.approx((1 + 10 / 8 * 0.9) / (1 + 10 / 8))


def test_boxes_invented_of_classes_that_are_not_there_count() -> None:
    reference, candidate = of_class(3, 4, kept=4)
    names = candidate[0].names
    invented = Detections(BOX + 40, np.array([0.9], np.float32), np.full(1, 7, np.int32), names, (96, 96))
    assert found_again([*reference, NOTHING], [*candidate, invented]) == pytest.approx(0.8)


def test_what_the_reference_is_unsure_of_may_be_found_or_not_but_not_be_sure() -> None:
    """A detection that scores 0.29 and then 0.31 was not invented; one that rises from 0.2 to 0.9 was."""
    reference = [found(0.6)] * 9 + [found(0.2)]
    for score, worth in ((0.1, 1.0), (0.34, 1.0), (0.9, 0.9)):
        assert found_again(reference, [found(0.6)] * 9 + [found(score)]) == pytest.approx(worth)
    # Ahead of all others, where an invention would cost a tenth.
    assert found_again([found(0.32)] * 9 + [found(0.29)], [found(0.31)] * 9 + [found(0.33)]) == pytest.approx(1)
    weakest = [found(0.6)] * 9 + [found(0.1)]
    lost = [found(0.6)] * 8 + [NOTHING]
    assert found_again(weakest, [*lost, found(0.7)]) == pytest.approx(8 / 9 * 8 / 9)


def test_a_common_class_that_is_lost_costs_its_whole_share() -> None:
    pairs = [of_class(0, 40, kept=40), of_class(1, 8, kept=0)]
    reference, candidate = ([one for pair in pairs for one in pair[side]] for side in (0, 1))
    assert found_again(reference, candidate) == pytest.approx(0.5)


def test_two_that_find_nothing_do_not_agree() -> None:
    assert agreement([NOTHING], [NOTHING]) is None
    assert agreement([found(0.04)], [NOTHING]) is None
    assert agreement([found(0.4)], [NOTHING]) == 0.0
    assert agreement([], []) is None


def empty_rooms(count: int) -> list[np.ndarray]:
    """Prepared inputs with nothing in them; the tiny detector's best score there is 0.06."""
    return [np.full((1, 32, 32, 3), 20 + i, np.uint8) for i in range(count)]


@pytest.mark.parametrize("over_budget", ["refuse", "keep_best"])
def test_int8_is_refused_where_a_network_answers_neither_frames_nor_made_pictures(
    tiny: ModuleType, over_budget: str
) -> None:
    options = QuantiseOptions(over_budget=over_budget)  # type: ignore[arg-type]
    with pytest.raises(
        CalibrationError, match=r"finds nothing that scores 0\.3 or more in 8 calib.*32 pictures made.*--eval"
    ) as caught:
        quantise(tiny.tiny_detector(), tiny.card(), empty_rooms(8), options=options)
    assert "\n" not in str(caught.value) and "--max-drop 1" in str(caught.value)


def test_who_takes_int8_unjudged_is_told_and_gets_no_figure(tiny: ModuleType) -> None:
    done = quantise(tiny.tiny_detector(), tiny.card(), empty_rooms(8), options=QuantiseOptions(max_drop=1.0))
    assert (done.report["before"], done.report["after"]) == (None, None)
    assert set(done.report["absent"]) == {"before", "after"}
    assert "finds nothing that scores 0.3" in done.report["absent"]["after"]
    assert any("not judged" in warning for warning in done.warnings)


def surer(model: onnx.ModelProto, by: float) -> onnx.ModelProto:
    """The tiny detector with its class logits raised."""
    bias = next(constant for constant in model.graph.initializer if constant.name == "head.b")
    value = onnx.numpy_helper.to_array(bias).copy()
    value[4:] += by
    bias.CopyFrom(onnx.numpy_helper.from_array(value, "head.b"))
    return model


def test_frames_with_a_handful_of_detections_do_not_judge_and_the_card_says_what_does(tiny: ModuleType) -> None:
    options = QuantiseOptions(max_drop=0.9)
    many = quantise(surer(tiny.tiny_detector(), 4.0), tiny.card(), tiny.frames(8), options=options)
    assert many.report["before"] == 1.0 and many.report["absent"] == {} and many.report["blind"] is None
    assert not any("made for the purpose" in warning for warning in many.warnings)
    few = quantise(surer(tiny.tiny_detector(), 2.0), tiny.card(), tiny.frames(8), options=options)
    assert few.report["before"] == 1.0 and few.report["blind"]["answers"] >= 20
    assert any("made for the purpose" in warning for warning in few.warnings)
    unjudged = quantise(
        surer(tiny.tiny_detector(), 1.6), tiny.card(), tiny.frames(8), options=QuantiseOptions(max_drop=1.0)
    )
    assert any("alone: give more images" in warning for warning in unjudged.warnings)


class Constant:
    """A judge whose figure of the float graph is what it is told; INT8 finds nothing."""

    name, nothing = "mAP", "there is nothing"

    def __init__(self, reference: float | None) -> None:
        self.reference = reference
        self.digest = digest_of("constant", reference)
        self.calls = 0

    def __call__(self, run: Run) -> float | None:
        self.calls += 1
        return self.reference if self.calls == 1 else 0.0


@pytest.mark.parametrize("reference", [None, 0.0, 0.004, 0.01])
def test_a_budget_that_holds_all_there_is_to_lose_judges_nothing(tiny: ModuleType, reference: float | None) -> None:
    judge = Constant(reference)
    with pytest.raises(CalibrationError, match="a graph that finds nothing would pass"):
        quantise(tiny.tiny_detector(), tiny.card(), tiny.frames(8), judge=judge)
    assert judge.calls == 1, "refused before anything is fitted"


def test_losses_of_single_layers_are_absent_where_nothing_is_found(tiny: ModuleType) -> None:
    """Labelled images judge, but the frames on which layers are tried are empty."""

    class Falling(Constant):
        def __call__(self, run: Run) -> float | None:
            self.calls += 1
            return 0.8 if self.calls == 1 else 0.5

    card = tiny.card()
    card = replace(card, output=replace(card.output, score_threshold=0.9))
    options = QuantiseOptions(over_budget="keep_best")
    done = quantise(tiny.tiny_detector(), card, empty_rooms(8), judge=Falling(0.8), options=options)
    assert set(done.report["losses"].values()) == {None}
    assert "nothing is found" in done.report["absent"]["losses"]
    assert not any("nan" in reason or "None" in reason for reason in done.report["kept_float"].values())


def labelled(tmp_path: Path, names: tuple[str, ...]) -> Dataset:
    """One picture with one box of the last class."""
    import cv2

    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((32, 32, 3), 90, np.uint8))
    no, label = np.zeros(1, np.bool_), np.array([len(names) - 1], np.int32)
    record = ImageRecord(path, 32, 32, BOX.astype(np.float64), label, no, no, np.array([324.0]))
    return Dataset(names, (record,), "coco", str(tmp_path))


def test_map_of_classes_without_an_object_is_absent(tiny: ModuleType, tmp_path: Path) -> None:
    """Detector and dataset share a class, and its objects are all of another."""
    session = onnxruntime.InferenceSession(tiny.tiny_detector().SerializeToString())
    outputs = [output.name for output in session.get_outputs()]

    def run(frame: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(outputs, {"images": frame}), strict=True))

    assert MapJudge(tiny.card(), labelled(tmp_path, ("dark", "ufo")), outputs)(run) is None
    assert MapJudge(tiny.card(), labelled(tmp_path, ("ufo", "dark")), outputs)(run) is not None
    assert AgreementJudge(tiny.card(), empty_rooms(2), outputs, run)(run) is None
