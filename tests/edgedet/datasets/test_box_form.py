"""Boxes written otherwise than their format says: told by many of them, in whatever format they stand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedet.datasets import read_dataset
from edgedet.datasets.box_form import CORNERS, PIXEL_CORNERS, BoxForm, better_form, misfits
from edgedet.errors import DatasetError

WIDTH, HEIGHT = 640, 480
SIDES = "x, y, width, height"
CENTRES = "cx, cy, width, height"
Sets = dict[str, np.ndarray]
Write = Callable[[Path, Sets], str]


def boxes_of(pictures: int = 6, count: int = 15, seed: int = 0) -> Sets:
    """Corners in whole pixels, float64 [N, 4] of each picture, anywhere in it and up to its edges."""
    random = np.random.default_rng(seed)
    found = {}
    for index in range(pictures):
        centres = random.uniform(0, 1, (count, 2)) * (WIDTH, HEIGHT)
        sides = random.uniform(0.04, 0.35, (count, 2)) * (WIDTH, HEIGHT)
        corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).round()
        found[f"{index}.png"] = np.clip(corners, 0, (WIDTH, HEIGHT) * 2)
    return found


def written(sets: Sets, form: BoxForm, scale: float = 1.0) -> Sets:
    sizes = np.array([[WIDTH, HEIGHT]], np.float64)
    return {name: form.written(corners, sizes) * scale for name, corners in sets.items()}


def pictures(root: Path, names: Sets) -> Path:
    root.mkdir()
    for name in names:
        cv2.imwrite(str(root / name), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return root


def coco(root: Path, sets: Sets) -> str:
    images = [{"id": k, "file_name": name, "width": WIDTH, "height": HEIGHT} for k, name in enumerate(sets)]
    rows = [
        {"image_id": k, "category_id": 1, "bbox": box}
        for k, boxes in enumerate(sets.values())
        for box in boxes.tolist()
    ]
    content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}
    (pictures(root, sets) / "set.json").write_text(json.dumps(content))
    return str(root / "set.json")


def yolo(root: Path, sets: Sets) -> str:
    pictures(root, sets)
    for name, boxes in sets.items():
        lines = [" ".join(f"{value:.6f}" for value in box) for box in boxes]
        (root / name).with_suffix(".txt").write_text("".join(f"0 {line}\n" for line in lines))
    (root / "classes.txt").write_text("cat\n")
    return str(root)


def voc(root: Path, sets: Sets) -> str:
    pictures(root, sets)
    for name, boxes in sets.items():
        objects = "".join(
            "<object><name>cat</name><bndbox>"
            + "".join(f"<{k}>{v:g}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            + "</bndbox></object>"
            for box in boxes
        )
        (root / name).with_suffix(".xml").write_text(f"<annotation>{objects}</annotation>")
    return str(root)


def table(root: Path, sets: Sets) -> str:
    lines = [
        f"{name},{WIDTH},{HEIGHT},cat,{','.join(f'{v:g}' for v in box)}\n"
        for name, boxes in sets.items()
        for box in boxes
    ]
    text = "filename,width,height,class,xmin,ymin,xmax,ymax\n" + "".join(lines)
    (pictures(root, sets) / "labels.csv").write_text(text)
    return str(root)


def annotation(root: Path, sets: Sets) -> str:
    lines = [f"{name},{','.join(f'{v:g}' for v in box)},cat\n" for name, boxes in sets.items() for box in boxes]
    (pictures(root, sets) / "annotation.txt").write_text("".join(lines))
    return str(root)


def labelme(root: Path, sets: Sets) -> str:
    pictures(root, sets)
    for name, boxes in sets.items():
        shapes = [
            {"label": "cat", "shape_type": "rectangle", "points": [box[:2], box[2:]]} for box in boxes.tolist()
        ]
        content = {"imagePath": name, "shapes": shapes, "imageWidth": WIDTH, "imageHeight": HEIGHT}
        (root / name).with_suffix(".json").write_text(json.dumps(content))
    return str(root)


def open_images(root: Path, sets: Sets) -> str:
    lines = [
        f"{Path(name).stem},/m/1,{box[0]:g},{box[1]:g},{box[2]:g},{box[3]:g}\n"
        for name, boxes in sets.items()
        for box in boxes
    ]
    pictures(root, sets)
    (root / "train-annotations-bbox.csv").write_text("ImageID,LabelName,XMin,YMin,XMax,YMax\n" + "".join(lines))
    (root / "class-descriptions.csv").write_text("/m/1,cat\n")
    return str(root)


FORMS: dict[Write, BoxForm] = {
    coco: BoxForm(SIDES, "pixels"),
    yolo: BoxForm(CENTRES, "shares"),
    voc: PIXEL_CORNERS,
    table: PIXEL_CORNERS,
    annotation: PIXEL_CORNERS,
    labelme: PIXEL_CORNERS,
    open_images: BoxForm(CORNERS, "shares"),
}
PIXELS = [write for write, form in FORMS.items() if form.unit == "pixels"]


@pytest.mark.parametrize("write", FORMS)
def test_boxes_written_as_the_format_says_are_read_without_a_word(write: Write, tmp_path: Path) -> None:
    sets = boxes_of()
    dataset = read_dataset(write(tmp_path / "set", written(sets, FORMS[write])))
    assert (dataset.problems, dataset.box_count) == ((), 90)
    assert not [note for note in dataset.notes if "box" in note or "trusted" in note]
    np.testing.assert_allclose(dataset.images[0].boxes, sets["0.png"], atol=0.01)


@pytest.mark.parametrize("write", PIXELS)
def test_shares_are_refused_wherever_pixels_are_expected(write: Write, tmp_path: Path) -> None:
    sets = written(boxes_of(), BoxForm(FORMS[write].order, "shares"))
    with pytest.raises(DatasetError, match=f"are shares of the picture; expected {FORMS[write]}: multiply"):
        read_dataset(write(tmp_path / "set", sets))


@pytest.mark.parametrize("write", PIXELS)
def test_percentages_are_refused_wherever_pixels_are_expected(write: Write, tmp_path: Path) -> None:
    sets = written(boxes_of(), BoxForm(FORMS[write].order, "shares"), scale=100)
    with pytest.raises(DatasetError, match="are percentages of the picture: all 90 end at 100 or before"):
        read_dataset(write(tmp_path / "set", sets))


@pytest.mark.parametrize(
    ("write", "order"),
    [
        (coco, CORNERS),
        (coco, CENTRES),
        (coco, "y, x, height, width"),
        (yolo, CORNERS),
        (yolo, SIDES),
        (voc, SIDES),
        (voc, CENTRES),
        (table, SIDES),
        (table, "y1, x1, y2, x2"),
        (annotation, SIDES),
        (annotation, "y1, x1, y2, x2"),
        (open_images, SIDES),
    ],
)
def test_another_order_is_refused_and_named(write: Write, order: str, tmp_path: Path) -> None:
    form = FORMS[write]
    other = BoxForm(order, form.unit)
    words = (
        rf"are no {form}: read so, \d+ of 90 leave their picture or have no area, and as {other} 0; write them as"
    )
    with pytest.raises(DatasetError, match=words):
        read_dataset(write(tmp_path / "set", written(boxes_of(), other)))


def test_a_handful_of_boxes_is_enough_where_most_misfit(tmp_path: Path) -> None:
    sets = {"0.png": np.array([[300.0, 200, 420, 330], [400, 100, 500, 260], [330, 300, 600, 470], [5, 5, 90, 80]])}
    with pytest.raises(DatasetError, match=f"and as {CORNERS} in pixels 0"):
        read_dataset(coco(tmp_path / "set", sets))


def test_pixels_in_a_format_of_shares_are_refused(tmp_path: Path) -> None:
    sets = written(boxes_of(), BoxForm(CENTRES, "pixels"))
    with pytest.raises(DatasetError, match=f"and as {CENTRES} in pixels 0; write them as {CENTRES} in shares"):
        read_dataset(yolo(tmp_path / "set", sets))


def test_areas_tell_corners_of_boxes_that_stay_in_their_pictures(tmp_path: Path) -> None:
    small = {name: corners / 4 for name, corners in boxes_of().items()}
    path = Path(coco(tmp_path / "set", small))
    data = json.loads(path.read_text())
    for row in data["annotations"]:
        x1, y1, x2, y2 = row["bbox"]
        row["area"] = (x2 - x1) * (y2 - y1)
    path.write_text(json.dumps(data))
    with pytest.raises(DatasetError, match="are corners x1, y1, x2, y2, since their areas are those of corners"):
        read_dataset(path)


def test_one_wrong_split_is_not_hidden_by_a_large_right_one(tmp_path: Path) -> None:
    right, wrong = boxes_of(6), boxes_of(2, 10, seed=1)
    for split, sets, form in (("train", right, FORMS[coco]), ("val", wrong, PIXEL_CORNERS)):
        coco(tmp_path / split, written(sets, form))
        (tmp_path / split / "set.json").rename(tmp_path / split / "_annotations.coco.json")
    assert read_dataset(f"{tmp_path}:train").box_count == 90
    with pytest.raises(DatasetError, match=r"of 20 leave their picture or have no area, and as x1, y1, x2, y2"):
        read_dataset(f"{tmp_path}:all")


def test_a_few_bad_boxes_are_named_and_the_rest_read(tmp_path: Path) -> None:
    sets = boxes_of()
    for name in list(sets)[:5]:
        sets[name][0] = (600, 20, 900, 90)
        sets[name][1] = (40, 20, 10, 90)
    dataset = read_dataset(voc(tmp_path / "set", sets))
    assert (dataset.box_count, len(dataset.problems)) == (85, 10)


def test_boxes_drawn_beyond_their_pictures_on_purpose_are_clipped_and_kept(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    sets = {}
    for name in boxes_of():
        centres = random.uniform(0, 1, (15, 2)) * (WIDTH, HEIGHT)
        sides = random.uniform(0.1, 0.5, (15, 2)) * (WIDTH, HEIGHT)
        sets[name] = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).round()
    sizes = np.full((90, 2), (WIDTH, HEIGHT), np.float64)
    assert 0.2 < misfits(np.concatenate(list(sets.values())), sizes).mean() < 0.5
    for write in (coco, yolo, voc):
        dataset = read_dataset(write(tmp_path / write.__name__, written(sets, FORMS[write])))
        assert dataset.box_count == 90 and len(dataset.problems) > 20


def test_a_set_that_loses_most_of_its_boxes_is_refused_with_counts_and_places(tmp_path: Path) -> None:
    path = Path(coco(tmp_path / "set", written(boxes_of(), FORMS[coco])))
    data = json.loads(path.read_text())
    for row in data["annotations"][:60]:
        row["category_id"] = 7
    path.write_text(json.dumps(data))
    words = (
        r"60 of its 90 boxes cannot be used: 60 × unknown class; first set.json:annotations\[0\] \(category_id 7\)"
    )
    with pytest.raises(DatasetError, match=words):
        read_dataset(path)


def test_boxes_of_larger_pictures_are_refused(tmp_path: Path) -> None:
    sets = {name: corners * 3 for name, corners in boxes_of().items()}
    with pytest.raises(
        DatasetError, match=r"\d+ of its 90 boxes, .*of the picture as it is here \(first 0.xml:object 1"
    ):
        read_dataset(voc(tmp_path / "set", sets))


def test_pictures_alone_are_read_whatever_their_labels(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", boxes_of())
    dataset = read_dataset(source, needs="pictures")
    assert len(dataset) == 6
    assert dataset.notes[-1].startswith("labels not to be trusted: its boxes")


@pytest.mark.parametrize("side", [(416, 416), (320, 240)])
def test_boxes_of_resized_pictures_are_hinted_at(side: tuple[int, int], tmp_path: Path) -> None:
    scale = np.array([side[0] / WIDTH, side[1] / HEIGHT] * 2)
    sets = {name: corners * scale for name, corners in boxes_of(count=30).items()}
    (note,) = read_dataset(voc(tmp_path / "set", sets)).notes
    assert note.startswith(f"no box reaches beyond {side[0]} pixels to the right and {side[1]} down")


def test_objects_in_one_part_of_the_picture_are_no_hint(tmp_path: Path) -> None:
    sets = {name: corners * (0.5, 0.8, 0.5, 0.8) for name, corners in boxes_of(count=30).items()}
    sets["0.png"][0] = (90, 90, 400, 400)  # a square's corner, but of one box alone
    assert read_dataset(voc(tmp_path / "set", sets)).notes == ()


def test_single_boxes_in_shares_are_said(tmp_path: Path) -> None:
    sets = boxes_of()
    sets["0.png"][:2] = [[0.1, 0.2, 0.4, 0.5], [0.3, 0.1, 0.9, 0.8]]
    (note,) = read_dataset(voc(tmp_path / "set", sets)).notes
    assert note.startswith("2 of 90 boxes lie within the first pixel of their picture")


def test_a_form_and_its_reverse() -> None:
    corners, sizes = boxes_of()["0.png"], np.full((15, 2), (WIDTH, HEIGHT), np.float64)
    for order in (CORNERS, SIDES, CENTRES, "y1, x1, y2, x2", "y, x, height, width"):
        for unit in ("pixels", "shares"):
            form = BoxForm(order, unit)  # type: ignore[arg-type]
            np.testing.assert_allclose(form.corners(form.written(corners, sizes), sizes), corners, atol=1e-9)
    assert PIXEL_CORNERS.written(corners, sizes).tolist() == corners.tolist()
    assert better_form(corners, sizes, PIXEL_CORNERS) is None


def test_crowds_at_one_side_that_reach_beyond_the_picture_are_no_other_form() -> None:
    random = np.random.default_rng(0)
    some = 0
    for _ in range(200):
        width, height = random.integers(200, 2000, 2)
        sizes = np.tile(np.array([width, height], np.float64), (250, 1))
        centres = np.clip(random.normal(0.7, 0.15, (250, 2)), 0, 1) * sizes
        sides = np.exp(random.normal(np.log(random.uniform(0.05, 0.3)), 0.6, (250, 2))) * sizes
        corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
        some += misfits(corners, sizes).mean() > 0.1
        for form in set(FORMS.values()):
            assert better_form(form.written(corners, sizes), sizes, form) is None
    assert some > 100
