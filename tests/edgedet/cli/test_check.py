"""``edgedet check`` where nothing can be tried, or nothing judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgedet.cli import main

if TYPE_CHECKING:
    from edgedet.export.options import ExportReport


def annotations(
    shared: Path, folder: Path, *, images: int, names: tuple[str, ...] = (), boxes: bool = True
) -> Path:
    """The first pictures of the sample's test set as annotation.txt, its classes under other ``names``."""
    from edgedet.datasets import read_dataset

    dataset = read_dataset(f"{shared}/data/bccd:test")
    names = names or dataset.names
    path = folder / "annotation.txt"
    lines = []
    for record in dataset.images[:images]:
        shutil.copy(record.path, folder)
        for box, label in zip(record.boxes, record.labels, strict=True):
            corners = ",".join(str(int(value)) for value in box)
            lines.append(f"{folder / record.path.name},{corners},{names[label]}" if boxes else "")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_graph_is_evaluated_and_its_card_names_what_was_assumed(
    shared: Path, sample_export: ExportReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = tmp_path / "found.toml"
    words = ["check", str(sample_export.path), "--eval", f"{shared}/data/bccd:test", "--limit", "8"]
    assert main([*words, "--write", str(toml)]) == 0
    said = capsys.readouterr()
    assert "assumed when it was made: input size: 320x320; default boxes" in said.out
    assert "judged by 8 of the 72 images" in said.out and "mAP 0." in said.out
    assert "not written" in said.err and not toml.exists()
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["assumed"]["colour"] == "RGB" and report["standing"] == {} and report["findings"] == []


def test_classes_that_the_detector_lacks_are_named(
    shared: Path, sample_export: ExportReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = annotations(shared, tmp_path, images=10, names=("RBC", "WBC", "parasite"))
    from edgedet.datasets import read_dataset

    own = read_dataset(f"{shared}/data/bccd:test").names
    lacking = {name for name in ("RBC", "WBC", "parasite") if name not in own}
    assert main(["check", str(sample_export.path), "--eval", str(data)]) in (0, 1)
    assert f"that the detector lacks, and no figure includes: {lacking.pop()}" in capsys.readouterr().out


def test_names_that_nobody_shares_are_refused(
    shared: Path, sample_export: ExportReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = annotations(shared, tmp_path, images=10, names=("cat", "dog", "ufo"))
    assert main(["check", str(sample_export.path), "--eval", str(data)]) == 2
    assert "share no class" in capsys.readouterr().err


def test_a_folder_without_objects_is_refused(
    shared: Path, sample_export: ExportReport, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(sample_export.path), "--eval", str(shared / "data/bccd/JPEGImages")]) == 2
    assert "has no annotations" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["none.pt", "none.trt", "none.onnx"])
def test_a_source_that_is_not_there(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / name), "--eval", str(tmp_path)]) == 2
    assert name in capsys.readouterr().err
