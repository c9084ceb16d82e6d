"""``edgedet eval`` on clips and on folders of negatives, and what ``edgedet report`` makes of it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgedet.cli import main
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph

pytest.importorskip("pycocotools", reason="needs pycocotools")

BOX = (10, 10, 40, 40)
EMPTY = np.zeros((64, 64, 3), np.uint8)
SHOWN = frame_with_rectangle(64, 64, BOX)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A detector of rectangles; a clip in which one comes late into view, one of what only looks like it; rooms."""
    monkeypatch.chdir(tmp_path)
    save_rectangle_graph(tmp_path / "model.onnx")
    clips = {
        # Something is there from frame 2 on, and to be seen from frame 4 on.
        "clips/visit": ([EMPTY] * 4 + [SHOWN] * 4, [False] * 2 + [True] * 6),
        "clips/alike": ([EMPTY, SHOWN, SHOWN, EMPTY], [False] * 4),
        "rooms/hall": ([EMPTY, EMPTY], [False] * 2),
        "rooms/shop": ([EMPTY, SHOWN, SHOWN], [False] * 3),
    }
    images, annotations = [], []
    for name, (frames, there) in clips.items():
        (tmp_path / name).mkdir(parents=True)
        for place, (frame, shows) in enumerate(zip(frames, there, strict=True)):
            cv2.imwrite(str(tmp_path / name / f"{place}.png"), frame)
            if not name.startswith("clips"):
                continue
            images.append(
                {"id": len(images), "file_name": f"{Path(name).name}/{place}.png", "width": 64, "height": 64}
            )
            if shows:
                box = [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]]
                annotations.append(
                    {"id": len(annotations), "image_id": len(images) - 1, "category_id": 1, "bbox": box}
                )
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "green"}]}
    (tmp_path / "clips" / "labels.json").write_text(json.dumps(truth))
    return tmp_path


def judged(*words: str, code: int = 0) -> None:
    assert main(["eval", "model.onnx", "clips/labels.json", "--threshold", "0.5", *words]) == code


def test_figures_by_hour_alerts_and_folders(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged("--fps", "10", "--alert", "2/2", "--evidence", "class", "--negatives", "rooms", "--json", "out.json")
    text = capsys.readouterr().out
    assert "by hour of video, each frame by itself (2 clips, 12 frames, 1.2 s):" in text
    assert "  false alarms  3000.00 an hour (95 % interval" in text
    assert "0.0% of 1 visits" in text and "p50 0.20 s" in text
    assert "by hour of video, 2/2 frames of the class (2 clips, 12 frames, 1.2 s):" in text
    assert "p50 0.30 s" in text
    assert re.search(r"^shop +3 +2 +66\.7%", text, re.MULTILINE) and re.search(
        r"^hall +2 +0 +0\.0%", text, re.MULTILINE
    )
    data = json.loads(Path("out.json").read_text())
    assert data["clips"]["delay"]["p90"] == pytest.approx(0.2)
    assert data["alerts"]["delay"]["p90"] == pytest.approx(0.3)
    assert data["alerts"]["false_alarms_per_hour"]["count"] == 1
    assert [(group["name"], group["count"]) for group in data["negatives"]] == [("hall", 0), ("shop", 2)]
    judged("--fps", "10", "--alert", "3/3", "--class", "green", "--json", "-")
    alerts = json.loads(capsys.readouterr().out)["alerts"]
    # Two frames of what looks like one are too few.
    assert alerts["false_alarms_per_hour"]["count"] == 0 and alerts["delay"]["p50"] == pytest.approx(0.4)


def test_hard_negatives_are_copied_and_the_worst_drawn(house: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(
        "--negatives", "rooms", "--hard-negatives", "hard", "--save", "worst", "--worst", "1", "--json", "out.json"
    )
    assert "2 hard negatives (COCO, without boxes) in hard" in capsys.readouterr().err
    content = json.loads(Path("hard/instances_train.json").read_text())
    assert [entry["file_name"] for entry in content["images"]] == ["1.png", "2.png"]
    assert content["annotations"] == [] and len(content["categories"]) == 3
    assert Path("hard/train/1.png").read_bytes() == Path("rooms/shop/1.png").read_bytes()
    (drawn,) = json.loads(Path("out.json").read_text())["worst_negatives"]
    assert Path(drawn["drawn"]).name == "negative_01_1.jpg" and Path(drawn["drawn"]).is_file()
    assert "shop" in drawn["caption"]
    # Nothing that raises an alarm is nothing to write, and no fault.
    judged("--negatives", "rooms/hall", "--hard-negatives", "none")
    assert "no hard negatives are in none" in capsys.readouterr().err and not Path("none").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--class", "green"], "--class is about alerts: add --alert N/M; the classes to judge are --classes"),
        (["--hold", "2"], "--hold is about alerts: add --alert N/M"),
        (
            ["--alert", "3/5"],
            "an alert is about clips, and the pictures are not said to be frames of clips (--fps N)",
        ),
        (["--alert", "5/3", "--fps", "10"], "'5/3' is not N/M"),
        (["--alert", "1/1", "--fps", "10", "--class", "red"], "no alert of 'red' can be judged"),
        (["--fps", "0"], "'0' is not a number above 0"),
        (["--negatives-fps", "5"], "--negatives-fps is about --negatives, and none are named"),
        (["--hard-negatives", "hard"], "--hard-negatives are some of --negatives, and none are named"),
        (["--negatives", "rooms", "--hard-negatives", "clips"], "clips exists already; name a new folder"),
    ],
)
def test_what_does_not_go_together_costs_one_line(
    house: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(*words, code=2)
    complaint = capsys.readouterr().err
    assert message in complaint, complaint


def test_the_report_has_the_figures_as_columns_and_as_budgets(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged("--fps", "10", "--negatives", "rooms", "--json", "out.json")
    assert main(["report", "out.json", "-o", "report.html"]) == 0
    (line,) = csv.DictReader(Path("report.csv").read_text().splitlines())
    numbers: dict[str, Any] = {
        "misses": 2 / 6,
        "false_alarms": 4 / 11,
        "missed_objects_per_image": 2 / 12,
        "false_boxes_per_image": 4 / 17,
        "false_alarms_per_hour": 3000.0,
        "misses_per_hour": 0.0,
        "delay_p50_s": 0.2,
        "delay_p90_s": 0.2,
    }
    assert {key: float(line[key]) for key in numbers} == pytest.approx(numbers)
    assert line["alarms_by"] == "each frame by itself"
    page = Path("report.html").read_text()
    assert "false alarms/h" in page and "delay p90 s" in page
