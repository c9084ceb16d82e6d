"""Commands with ``--ray`` print what they print without it, and leave with the same exit code."""

from __future__ import annotations

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgedet.cli import detect, eval, main
from edgedet.cluster.session import Cluster
from tests.edgedet.cluster.conftest import InThisProcess


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """The workers are in this process."""

    def opened(arguments: argparse.Namespace, stack: ExitStack) -> InThisProcess:
        assert arguments.ray == "local"
        options = {name: getattr(arguments, name) for name in ("runtime", "conf", "iou", "max_detections")}
        return stack.enter_context(InThisProcess(cluster, arguments.artifact, **options))

    for command in (detect, eval):
        monkeypatch.setattr(command, "cluster_detector", opened)


def both(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[tuple[int, str, str]]:
    """Exit code, output and error of a command on one machine, and on the cluster."""
    found = []
    for options in ([], ["--ray", "local"]):
        code = main([*words, *options])
        said = capsys.readouterr()
        found.append((code, said.out, said.err))
    return found


@pytest.mark.parametrize("damaged", [False, True])
def test_eval(folder: Path, capsys: pytest.CaptureFixture[str], damaged: bool) -> None:
    if damaged:
        cut = folder / "photos/4.png"
        cut.write_bytes(cut.read_bytes()[:60])
    words = ["eval", "model.onnx", "photos/annotation.txt"]
    one, other = both(words, capsys)
    assert one == other and one[0] == int(damaged)
    one, other = both([*words, "--json", "-", "--save", "worst", "--threshold", "0.9"], capsys)
    figures = [json.loads(text) for _, text, _ in (one, other)]
    assert figures[1].pop("runtime").endswith("2 workers of Ray 2") and figures[0].pop("runtime")
    assert figures[0] == figures[1]


@pytest.mark.parametrize(
    "options", [[], ["--limit", "3"], ["--conf", "0.9"], ["--save", "drawn", "--blur", "red"]], ids=" ".join
)
def test_detect(folder: Path, capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    (folder / "photos/3b.png").write_bytes(b"nothing")
    one, other = both(["detect", "model.onnx", "photos", *options], capsys)
    assert one == other and one[1].count("\n") >= 3
    assert one[0] == (0 if "--limit" in options else 1)


def test_detect_where_nothing_can_be_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "none").mkdir()
    (folder / "none/1.png").write_bytes(b"nothing")
    one, other = both(["detect", "model.onnx", "none"], capsys)
    assert one == other and one[0] == 2


@pytest.mark.parametrize("option", ["--then", "--proposals"])
def test_detect_looks_once_at_every_picture(folder: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    assert main(["detect", "model.onnx", "photos", "--ray", "local", option, "model.onnx"]) == 2
    said = capsys.readouterr()
    assert not said.out and "--ray looks once at every picture: leave --then and --proposals out" in said.err


def test_export_has_it_for_int8_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "model.onnx", "-o", "out.onnx", "--ray", "local"]) == 2
    assert "--ray is about INT8, but precision is fp32: add --int8 or drop --ray" in capsys.readouterr().err
    assert main(["export", "model.onnx", "-o", "out.onnx", "--int8", "--workers", "2"]) == 2
    assert "--workers is for --ray" in capsys.readouterr().err
