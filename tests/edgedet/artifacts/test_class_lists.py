"""Built-in class lists: as long as their name says, each name once, in the order detectors number them."""

from __future__ import annotations

import pytest

from edgedet.artifacts.class_lists import LISTS, class_list, lists_of, without_background


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_what_it_says(name: str) -> None:
    names = class_list(name)
    assert len(names) == LISTS[name] == len(set(names))
    assert all(entry == entry.strip() and entry for entry in names)
    assert without_background(names) == names


def test_coco_is_coco91_without_the_ids_that_no_box_has() -> None:
    torchvision = pytest.importorskip("torchvision")
    weights = torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
    ids = weights.meta["categories"][1:]
    assert [name for name in ids if name != "N/A"] == list(class_list("coco"))
    assert all(name in ("N/A", own) for name, own in zip(ids, class_list("coco91"), strict=True))


@pytest.mark.parametrize(
    ("name", "index", "entry"),
    [
        ("coco", 0, "person"),
        ("coco", 79, "toothbrush"),
        ("voc", 19, "tvmonitor"),
        ("openimages", 0, "Accordion"),
        ("openimages", 166, "Donut"),
        ("openimages", 381, "Person"),
        ("openimages", 600, "Zucchini"),
        ("objects365", 0, "Person"),
        ("objects365", 364, "Table Tennis"),
    ],
)
def test_places_that_others_publish(name: str, index: int, entry: str) -> None:
    assert class_list(name)[index] == entry


def test_a_length_names_its_lists() -> None:
    assert lists_of(80) == ("coco",)
    assert lists_of(7) == ()
