"""Files of boxes made elsewhere: what can be read, and what is refused with a word of why."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedet.errors import ReferenceBoxesError
from edgedet.reference.file_reader import read_boxes_file
from tests.edgedet.reference.pictures_made import coco, save

GOOD = coco(["p0.png", "p1.png", "p2.png", "p3.png", "p4.png", "p5.png"])
LINE = {
    "source": "p0.png",
    "index": 0,
    "frame_size": [64, 64],
    "detections": [{"box": [8, 10, 30, 40], "score": 0.5, "label": 0, "name": "blue"}],
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    content = copy.deepcopy(GOOD)
    change(content)
    return content


def test_coco_results_with_images_and_categories(tmp_path: Path) -> None:
    for key in ("results", "annotations", "predictions"):
        content = changed(lambda c, key=key: c.update({key: c.pop("results")}))  # type: ignore[misc]
        file = read_boxes_file(save(tmp_path / "boxes.json", content))
        assert file.pictures is not None and file.categories == {7: "blue", 8: "green", 9: "red"}
        assert file.pictures[0].size == (64, 64) and file.of[0] == 100
        assert file.boxes[0].tolist() == [8, 10, 30, 40] and file.scores[0] == 0.875 and file.threshold is None
    stated = save(tmp_path / "boxes.json", coco(["p.png"] * 6, score_threshold=0.25))
    assert read_boxes_file(stated).threshold == 0.25


def test_a_score_that_float32_summed_to_a_little_more_than_one(tmp_path: Path) -> None:
    path = save(tmp_path / "boxes.json", changed(lambda c: c["results"][0].update(score=1.0000001)))
    assert read_boxes_file(path).scores.max() == 1.0


def test_a_bare_results_list(tmp_path: Path) -> None:
    file = read_boxes_file(save(tmp_path / "boxes.json", GOOD["results"]))
    assert file.pictures is None and file.categories is None and len(file.scores) == 6


def test_lines_of_edgedet_detect(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    broken = {"source": "bad.png", "index": 1, "error": "cannot decode"}
    empty = {**LINE, "source": "p1.png", "detections": []}
    path.write_text("\n".join(json.dumps(line) for line in (LINE, broken, empty)) + "\n")
    file = read_boxes_file(path)
    assert file.pictures is not None and [picture.file_name for picture in file.pictures] == ["p0.png", "p1.png"]
    assert file.unreadable == 1 and file.boxes.tolist() == [[8, 10, 30, 40]] and file.classes == ("blue",)
    path.write_text(json.dumps(LINE))
    assert len(read_boxes_file(path).scores) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty; expected"),
        ("{", r"not valid JSON \(Expecting"),
        ('{"a": 1}\n{"b": 2}', "edgedet detect did not print"),
        (json.dumps(LINE) + "\n{", "line 2:"),
        ("3", "holds a int"),
        ({"images": []}, "no list of boxes"),
        ({**GOOD, "annotations": []}, "both annotations and results; keep the one"),
        ({**GOOD, "results": {}}, "results is a dict, expected a list"),
        ({**GOOD, "results": []}, "not one box, so nothing would be compared"),
        ([], "not one box"),
        ([3], r"row\[0\] is a int"),
        (changed(lambda c: c["results"][2].pop("score")), r"results\[2\] has no score: annotations made by people"),
        (changed(lambda c: [row.update(score=1.0) for row in c["results"]]), "every score is 1"),
        (changed(lambda c: c["results"][0].update(score=87.5)), "score is 87.5, expected 0 to 1"),
        (changed(lambda c: c["results"][0].update(score="0.5")), "score is '0.5', expected a number"),
        (changed(lambda c: c["results"][0].update(score=True)), "score is True"),
        (changed(lambda c: c["results"][0].update(score=float("nan"))), "score is nan"),
        (changed(lambda c: c["results"][0]["bbox"].__setitem__(0, float("nan"))), "which is not finite"),
        (changed(lambda c: c["results"][0]["bbox"].__setitem__(2, float("inf"))), "which is not finite"),
        (changed(lambda c: c["results"][0]["bbox"].pop()), "expected four numbers"),
        (changed(lambda c: c["results"][0]["bbox"].__setitem__(0, "1")), "expected four numbers"),
        (changed(lambda c: c["results"][0].pop("bbox")), "bbox is None"),
        (changed(lambda c: c["results"][0].update(bbox=[9, 9, -3, 4])), "has a negative side"),
        (changed(lambda c: c["results"][0].pop("image_id")), "image_id is None"),
        (changed(lambda c: c["results"][0].update(image_id=5)), "of the image 5, which is not among its 6 images"),
        (changed(lambda c: c["results"][0].update(category_id=1)), "of the category 1, which has no name"),
        (changed(lambda c: c["images"][1].update(id=100)), r"images\[1\]: the id 100 is used twice"),
        (changed(lambda c: c["images"][1].pop("file_name")), r"images\[1\] is .* expected an object with id"),
        (changed(lambda c: c["images"][1].update(width=-1)), "width and height are -1 and 64"),
        (changed(lambda c: c["images"][1].pop("width")), "width and height are None and 64"),
        (changed(lambda c: c["categories"][1].update(id=7)), "has the id 7 twice"),
        (changed(lambda c: c["categories"][1].update(name="blue")), "has the name 'blue' twice"),
        (changed(lambda c: c["categories"][1].pop("name")), "the classes of the numbers are unknown"),
        ({**GOOD, "score_threshold": 0.9}, "score_threshold is 0.9, but a box scores 0.875"),
        ({**GOOD, "score_threshold": "low"}, "score_threshold is 'low', expected a number"),
        ([{**LINE, "detections": [{"box": [30, 10, 8, 40], "score": 0.5, "name": "a"}]}], "ends before it begins"),
        ([{**LINE, "detections": [{"box": [3, 10, 8, 40], "score": 0.5, "label": 0}]}], "with box, score and name"),
        ([{**LINE, "frame_size": 64}], "frame_size is 64"),
    ],
)
def test_what_cannot_be_meant_is_refused(content: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ReferenceBoxesError, match=words) as caught:
        read_boxes_file(path)
    assert "boxes.json" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ReferenceBoxesError, match="cannot read"):
        read_boxes_file(tmp_path / "nothing.json")
    (tmp_path / "boxes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReferenceBoxesError, match="not UTF-8"):
        read_boxes_file(tmp_path / "boxes.json")
