"""One row and one module per format: nothing else has to know it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from edgedet import dataset_formats
from edgedet.cli import convert as convert_command
from edgedet.cli import main
from edgedet.dataset_formats import FORMATS, Listed
from edgedet.datasets import Dataset, open_images, read_dataset
from edgedet.datasets.format import Format, Sign, Writer
from edgedet.datasets.layout import Content, Layout, Request
from edgedet.datasets.rows import Row, build_record, picture_size
from edgedet.errors import DatasetError

Picture = Callable[..., Path]


def find(path: Path) -> Layout | None:
    """A do-nothing format: a file named ``boxes.nothing`` says that every picture is one cat."""
    if not (path / "boxes.nothing").is_file():
        return None

    def records(request: Request) -> Iterator[object]:
        for picture in sorted(path.glob("*.jpg")):
            size = picture_size(picture, "boxes.nothing", request.log)
            assert size is not None
            yield build_record(picture, size, [Row("boxes.nothing", 0, 0, 0, *size)], request.log, "train")

    def read(splits: tuple[str, ...], request: Request) -> Content:
        names = (request.options.get("called", "cat"),)
        return Content(names, tuple(records(request)))  # type: ignore[arg-type]

    return Layout(("train",), read)


def write(dataset: Dataset, root: Path, placed: dict[int, str]) -> None:
    (root / "boxes.nothing").write_text("")


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The format's module and its row, as a newcomer would add them."""
    module = ModuleType("nothing_format")
    module.FORMAT = Format(  # type: ignore[attr-defined]
        title="Nothing",
        signs=((Sign.TABLE, find),),
        writer=Writer(write, folder=lambda split: "."),
        options=frozenset({"called"}),
    )
    monkeypatch.setitem(sys.modules, "nothing_format", module)
    row = Listed("nothing", "nothing_format", "a boxes.nothing", writes=True)
    monkeypatch.setattr(dataset_formats, "FORMATS", (*FORMATS, row))


@pytest.mark.usefixtures("nothing")
def test_a_new_format_is_read_listed_and_written(
    picture: Picture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture("set/a.jpg")
    (tmp_path / "set/boxes.nothing").write_text("")
    dataset = read_dataset(tmp_path / "set")
    assert (dataset.format, dataset.names, dataset.box_count) == ("nothing", ("cat",), 1)
    assert read_dataset(tmp_path / "set", called="dog").names == ("dog",)
    (tmp_path / "notes.md").write_text("hello")
    with pytest.raises(DatasetError, match=r"expected COCO JSON.*, a boxes\.nothing, or a folder of pictures"):
        read_dataset(tmp_path / "notes.md")
    assert main(["convert", "--help"]) == 0
    assert "annotation,nothing}" in "".join(capsys.readouterr().out.split())
    assert main(["convert", f"{tmp_path}/set", f"{tmp_path}/out", "--to", "nothing"]) == 0
    assert "(nothing)" in capsys.readouterr().out
    assert read_dataset(tmp_path / "out").box_count == 1
    assert main(["convert", f"{tmp_path}/set", f"{tmp_path}/yolo", "--to", "yolo"]) == 0
    assert read_dataset(tmp_path / "yolo").names == ("cat",)


@pytest.mark.parametrize("listed", FORMATS, ids=lambda listed: listed.name)
def test_a_row_agrees_with_its_module(listed: Listed) -> None:
    found = listed.load()
    assert found.signs and listed.looks
    assert listed.writes == (found.writer is not None)


def test_help_offers_what_can_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "{coco,yolo,voc,openimages,annotation}" in shown
    assert all(listed.looks in " ".join(shown.split()) for listed in FORMATS)
    assert convert_command.MARKS == open_images.MARKS


def test_the_list_of_formats_loads_no_reader() -> None:
    script = (
        "import sys; from edgedet.dataset_formats import expected; expected()\n"
        "loaded = {'numpy', 'edgedet.datasets.coco', 'edgedet.datasets.read'} & set(sys.modules)\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_option_of_one_format_is_refused_for_another(
    picture: Picture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture("set/a.jpg")
    with pytest.raises(
        DatasetError, match="is read as folder, and 'exclude' is for Open Images only; leave it out"
    ):
        read_dataset(tmp_path / "set", exclude=("group",))
    path = tmp_path / "set/annotation.txt"
    path.write_text("a.jpg,1,2,10,20,ant\n")
    words = ["convert", str(path), str(tmp_path / "out"), "--to", "coco", "--exclude", "group"]
    assert main(words) == 2
    assert "is read as annotation, and 'exclude' is for Open Images only" in capsys.readouterr().err
    with pytest.raises(TypeError, match="unexpected keyword argument 'clases'"):
        read_dataset(path, clases=("ant",))


def test_the_surest_sign_wins(picture: Picture, tmp_path: Path) -> None:
    """A data.yaml before VOC's folders, these before a table, a table before files beside the pictures."""
    picture("images/a.jpg")
    xml = "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    (tmp_path / "images/a.xml").write_text(f"{xml}</bndbox></object></annotation>")
    (tmp_path / "images/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    beside = read_dataset(tmp_path)
    assert beside.format == "voc"
    assert beside.notes == ("YOLO labels lie there too and are not read",)
    (tmp_path / "annotation.txt").write_text("images/a.jpg,1,2,10,20,cat\n")
    assert read_dataset(tmp_path).format == "annotation"
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "images/a.xml").rename(tmp_path / "Annotations/a.xml")
    assert read_dataset(tmp_path).format == "voc"
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    assert read_dataset(f"{tmp_path}:train").format == "yolo"


def test_a_format_that_is_only_read_is_not_written(picture: Picture, tmp_path: Path) -> None:
    from edgedet.datasets.convert import convert

    picture("a.jpg")
    path = tmp_path / "annotation.txt"
    path.write_text("a.jpg,1,2,10,20,ant\n")
    for name in ("csv", "gone"):
        with pytest.raises(
            DatasetError, match=f"'{name}' is no format that is written; expected one of coco, yolo"
        ):
            convert(read_dataset(path), tmp_path / "out", to=name)
