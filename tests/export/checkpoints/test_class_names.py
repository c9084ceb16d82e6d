"""Names of classes mean their order: one name at another place is refused, whatever the others are called."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from edgedet.errors import CheckpointError
from edgedet.export.checkpoints.class_names import moved_class, renamed_note, require_same_order, stated_names
from edgedet.export.checkpoints.trained import load_trained
from edgedet.export.families.torchvision_architectures import build
from edgedet.export.hugging_face import graph
from edgedet.export.training.settings import TrainingSettings

SSDLITE = "ssdlite320_mobilenet_v3_large"
OWN = ("RBC", "WBC", "Platelets")
HERE = Path("model.pt")


@pytest.mark.parametrize(
    "given",
    [
        ("WBC", "RBC", "Platelets"),
        ("WBC", "RBC", "Platelet"),
        ("wbc", "red cells", "platelets"),
        ("platelet", "leucocyte", "erythrocyte"),
        ("WBC", "RBC"),
        ("background", "W-B_C", "erythrocyte", "thrombocyte"),
        ("a", "b", "c", "R B C"),
    ],
)
def test_a_name_of_the_file_at_another_place_is_refused(given: tuple[str, ...]) -> None:
    assert moved_class(given, OWN) is not None


@pytest.mark.parametrize(
    ("given", "own"),
    [
        (OWN, OWN),
        (("rbc", "wbc", "Platelet"), OWN),
        (("erythrocyte", "leucocyte", "thrombocyte"), OWN),
        (("bg", *OWN), OWN),
        (("glass", "glasses"), ("glass", "spectacles")),
        (("bus", "bu"), ("bus", "van")),
        (("class_1", "N/A", "N/A", "cat"), ("x", "N/A", "N/A", "cat")),
        ((), OWN),
        (OWN, ()),
    ],
)
def test_names_at_their_own_places_pass(given: tuple[str, ...], own: tuple[str, ...]) -> None:
    assert moved_class(given, own) is None


def test_names_that_are_there_twice_do_not_hide_the_others() -> None:
    assert moved_class(("dog", "N/A", "N/A", "cat"), ("cat", "N/A", "N/A", "dog")) is not None


def test_what_is_renamed_is_said() -> None:
    assert renamed_note(("red", "WBC", "Platelet"), ("bg", *OWN)) == (
        "classes renamed: RBC to red, Platelets to Platelet",
    )
    assert renamed_note(OWN, OWN) == ()
    many = [str(number) for number in range(8)]
    assert renamed_note([f"x{name}" for name in many], many)[0].endswith("4 to x4 and 3 more")


@pytest.mark.parametrize(
    "described",
    [
        {"class_to_idx": {"Platelets": 3, "RBC": 1, "WBC": 2}},
        {"id2label": {"1": "WBC", "0": "RBC", "2": "Platelets"}},
        {"categories": [{"id": 2, "name": "WBC"}, {"id": 1, "name": "RBC"}, {"id": 7, "name": "Platelets"}]},
        {"classes": list(OWN), "class_to_idx": {"rbc": 0, "wbc": 1, "platelets": 2}},
    ],
)
def test_names_are_read_however_they_are_numbered(described: dict[str, Any]) -> None:
    assert stated_names(described, HERE) == OWN


def test_two_lists_in_one_file_that_contradict_are_refused() -> None:
    described = {"classes": list(OWN), "class_to_idx": {"WBC": 1, "Platelets": 2, "RBC": 3}}
    with pytest.raises(
        CheckpointError, match="its classes and its class_to_idx have the classes in different orders"
    ):
        stated_names(described, HERE)


STATE = build(SSDLITE, 4).state_dict()


@pytest.mark.parametrize(
    "said",
    [
        {"classes": list(OWN)},
        {"class_to_idx": {name: number for number, name in enumerate(OWN, 1)}},
        {"detector": {"classes": list(OWN)}},
        {"hyper_parameters": {"class_names": list(OWN)}},
        {"args": {"names": dict(enumerate(OWN))}},
    ],
    ids=lambda said: next(iter(said)),
)
def test_wherever_a_checkpoint_names_its_classes_another_order_is_refused(
    said: dict[str, Any], tmp_path: Path
) -> None:
    torch.save({"arch": SSDLITE, "state_dict": STATE} | said, tmp_path / "m.pt")
    trained = load_trained(tmp_path / "m.pt")
    assert trained.checkpoint.names == OWN
    assert "class names" not in [assumption.what for assumption in trained.assumed]
    with pytest.raises(CheckpointError, match="number 0 is 'RBC' in the file and 'WBC' in what was given"):
        load_trained(tmp_path / "m.pt", classes=("WBC", "RBC", "Platelet"))
    with pytest.raises(CheckpointError, match="in another order"):
        load_trained(tmp_path / "m.pt", given=TrainingSettings(classes=("WBC", "RBC", "thrombocyte")))
    renamed = load_trained(tmp_path / "m.pt", classes=("RBC", "WBC", "Platelet"))
    assert renamed.checkpoint.names == ("RBC", "WBC", "Platelet")
    assert "classes renamed: Platelets to Platelet" in renamed.notes


def test_a_folder_of_transformers_is_held_to_its_order_too(tmp_path: Path) -> None:
    folder: Any = SimpleNamespace(path=tmp_path)
    settings = SimpleNamespace(id2label=dict(enumerate(("no-object", *OWN))), num_labels=4)
    assert graph._names(folder, settings, ("RBC", "leucocyte", "Platelet"))[0] == ("RBC", "leucocyte", "Platelet")
    with pytest.raises(CheckpointError, match="number 0 is 'RBC' in the file and 'WBC' in what was given"):
        graph._names(folder, settings, ("WBC", "erythrocyte", "Platelet"))


def test_another_number_of_names_is_said_before_their_order() -> None:
    """`--classes voc` for COCO's eighty: that number 2 is another one is not what is wrong."""
    own = ("person", "bicycle", "car", "bird")
    with pytest.raises(CheckpointError, match="has 4 classes, but 3 names were given"):
        require_same_order(("aeroplane", "bicycle", "bird"), own, HERE)
    with pytest.raises(CheckpointError, match="in another order"):
        require_same_order(("bicycle", "person", "car", "bird"), own, HERE)
    require_same_order(own, own, HERE)
