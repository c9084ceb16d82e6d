"""Which pictures are frames of which clip, at which times."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.datasets import ClipFrame, Dataset, read_dataset
from edgedet.datasets.clips import clips_of, states_clips, states_rates
from edgedet.datasets.convert import convert
from edgedet.datasets.rows import unlabelled_record
from edgedet.errors import DatasetError
from tests.edgedet.datasets.conftest import Picture


def dataset_of(*paths: str, clips: dict[str, ClipFrame] | None = None) -> Dataset:
    records = [replace(unlabelled_record(Path(path), (40, 30)), clip=(clips or {}).get(path)) for path in paths]
    return Dataset(("cat",), tuple(records), "coco", "made")


def test_each_folder_is_a_clip_and_names_are_in_the_order_of_their_numbers() -> None:
    dataset = dataset_of("set/b/10.jpg", "set/a/frame2.jpg", "set/b/9.jpg", "set/a/frame10.jpg", "set/b/011.jpg")
    one, two = clips_of(dataset, 5.0)
    assert (one.name, one.images, one.times, one.seconds) == ("b", (2, 0, 4), (0.0, 0.2, 0.4), pytest.approx(0.6))
    assert (two.name, two.images, two.times, two.seconds) == ("a", (1, 3), (0.0, 0.2), 0.4)


def test_pictures_of_one_folder_are_one_clip() -> None:
    (clip,) = clips_of(dataset_of("set/1.jpg", "set/2.jpg"), 2.0)
    assert (clip.name, clip.images, clip.seconds) == ("set", (0, 1), 1.0)


def test_frame_numbers_tell_the_time_and_frames_may_be_missing() -> None:
    places = {
        "3.jpg": ClipFrame("door", 9, 30.0),
        "1.jpg": ClipFrame("door", 3, 30.0),
        "2.jpg": ClipFrame("door", 15, 30.0),
        "x.jpg": ClipFrame("yard", 1, 30.0),
    }
    dataset = dataset_of("3.jpg", "1.jpg", "2.jpg", "x.jpg", clips=places)
    assert states_clips(dataset) and states_rates(dataset)
    door, yard = clips_of(dataset, None)
    # Six numbers from frame to frame, so each frame stands for a fifth of a second.
    assert (door.images, door.times, door.seconds) == ((1, 0, 2), (0.0, 0.2, 0.4), pytest.approx(0.6))
    assert (yard.images, yard.times, yard.seconds) == ((3,), (0.0,), 0.2)
    gap = replace(
        dataset, images=(*dataset.images[:2], replace(dataset.images[2], clip=ClipFrame("door", 33, 30.0)))
    )
    (clip,) = clips_of(gap, None)
    assert clip.times == (0.0, 0.2, 1.0)
    # What lies between was not looked at.
    assert clip.seconds == pytest.approx(0.6)
    numbers = [0, 30, 60, 61, 91]
    keys = {f"{number}.jpg": ClipFrame("door", number, 30.0) for number in numbers}
    # Labelled each second, with a frame more.
    assert clips_of(dataset_of(*keys, clips=keys), None)[0].seconds == pytest.approx(5.0)


def test_a_rate_is_asked_for_and_never_contradicts_the_file() -> None:
    stated = dataset_of("1.jpg", clips={"1.jpg": ClipFrame("door", 0, 30.0)})
    unstated = dataset_of("1.jpg", clips={"1.jpg": ClipFrame("door", 0)})
    assert states_clips(unstated) and not states_rates(unstated)
    assert not states_clips(dataset_of("1.jpg"))
    assert clips_of(stated, 30.0)[0].seconds == pytest.approx(1 / 30)
    for dataset, fps, words in (
        (stated, 10.0, "--fps is 10, and made says that clip door has 30 frames per second"),
        (unstated, None, "no 'fps' in its videos; add --fps N"),
        (dataset_of("a/1.jpg"), None, "does not say how many frames make a second; add --fps N"),
        (dataset_of("a/1.jpg"), 0.0, "--fps is 0.0, expected"),
        (dataset_of("a/1.jpg"), float("nan"), "--fps is nan, expected"),
    ):
        with pytest.raises(DatasetError, match=words):
            clips_of(dataset, fps)


def test_frames_that_cannot_be_told_apart_or_belong_to_no_clip_are_refused() -> None:
    twice = {name: ClipFrame("door", 7, 30.0) for name in ("1.jpg", "2.jpg")}
    with pytest.raises(DatasetError, match="two pictures of clip door have the frame_id 7"):
        clips_of(dataset_of("1.jpg", "2.jpg", clips=twice), None)
    some = dataset_of("1.jpg", "2.jpg", clips={"1.jpg": ClipFrame("door", 7, 30.0)})
    assert not states_rates(some)
    with pytest.raises(
        DatasetError, match=r"1 of 2 pictures of made have no video_id with a frame_id, first 2\.jpg"
    ):
        clips_of(some, 30.0)


def coco(folder: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]], **more: Any) -> Path:
    path = folder / "instances_val.json"
    for number, entry in enumerate(images):
        entry |= {"id": number, "width": 40, "height": 30}
    for number, entry in enumerate(annotations):
        entry |= {"id": number, "category_id": 1, "bbox": [1, 1, 9, 9]}
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}], **more}
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(("number", "mark"), [("frame_id", "instance_id"), ("frame_index", "track_id")])
def test_coco_files_of_videos_say_clip_frame_and_object(
    picture: Picture, tmp_path: Path, number: str, mark: str
) -> None:
    for name in ("a.jpg", "b.jpg"):
        picture(name)
    images = [{"file_name": "a.jpg", "video_id": 4, number: 2}, {"file_name": "b.jpg", "video_id": 4, number: 0}]
    boxes = [{"image_id": 0, mark: 31}, {"image_id": 0}, {"image_id": 1, mark: 31}]
    path = coco(tmp_path, images, boxes, videos=[{"id": 4, "name": "door", "fps": 10}])
    dataset = read_dataset(path)
    assert [record.clip for record in dataset.images] == [
        ClipFrame("val/door", 2, 10.0),
        ClipFrame("val/door", 0, 10.0),
    ]
    assert [record.instances for record in dataset.images] == [(31, None), (31,)]
    kept = dataset.images[0].keep(np.array([False, True]))
    assert kept.instances == (None,) and kept.clip == dataset.images[0].clip
    # As it is when nothing is left of it but a copy in the same format.
    convert(dataset, tmp_path / "copy", to="coco")
    again = read_dataset(tmp_path / "copy")
    assert [record.instances for record in again.images] == [(31, None), (31,)]
    assert [(record.clip.number, record.clip.rate) for record in again.images if record.clip] == [
        (2, 10.0),
        (0, 10.0),
    ]
    assert "2 places in a video" in convert(dataset, tmp_path / "voc", to="voc").describe()


def test_videos_of_one_name_are_told_apart_and_broken_ones_are_none(picture: Picture, tmp_path: Path) -> None:
    for name in "abcd":
        picture(f"{name}.jpg")
    images: list[dict[str, Any]] = [
        {"file_name": "a.jpg", "video_id": 1, "frame_id": 0},
        {"file_name": "b.jpg", "video_id": 2, "frame_id": 0},
        {"file_name": "c.jpg", "video_id": 9, "frame_id": 5},
        {"file_name": "d.jpg", "video_id": 1, "frame_id": "x"},
    ]
    videos = [{"id": 1, "name": "door", "fps": "soon"}, {"id": 2, "name": "door"}, {"name": "none"}, 7]
    dataset = read_dataset(coco(tmp_path, images, [], videos=videos))
    assert [record.clip for record in dataset.images] == [
        ClipFrame("val/door (1)", 0),
        ClipFrame("val/door (2)", 0),
        ClipFrame("val/video 9", 5),
        None,
    ]
