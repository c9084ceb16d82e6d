"""Every tutorial from its first block to its last: Python and commands run, and print what the page says they do.

A page shows the amounts of a real job; ``smaller`` makes them those of a test. What cannot run anywhere (a camera,
an installation) is named in ``not_run`` with the reason, and its options are looked up by ``test_commands.py``.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import json
import runpy
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("edgedet.export.pipeline", reason="needs edgedet[export]")

from edgedet import Detector
from edgedet.cli import main
from edgedet.export import families
from edgedet.pictures.sources import read_image
from tests.docs.pages import ROOT, Block, blocks, commands
from tests.once import example_files
from tests.rectangle_detector import save_split_graph

TUTORIALS = ROOT / "docs" / "tutorials"
INSTALLING = "the wheel's own test installs it"
BRIEFLY = "--seconds 0.1 --min-frames 5 --warmup 2 --cold-starts 0 --batches none --streams none"


def nothing(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Nothing but the folder of the examples."""


def clone(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """A clone's own examples."""
    (folder / "examples").symlink_to(ROOT / "examples")


def split_graph(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """The network of the tutorial: its outputs apart. And boxes that its own program found."""
    save_split_graph(folder / "split.onnx")
    # The same network whole, as the family of Ultralytics reads it.
    labels = json.loads((folder / "photos" / "labels.json").read_text())
    rows: list[dict[str, Any]] = []
    with Detector("yolo.onnx") as detector:
        for image in labels["images"]:
            rows += detector.detect(read_image(folder / "photos" / image["file_name"])).to_coco(image["id"])
    content = {"images": labels["images"], "categories": labels["categories"], "results": rows}
    (folder / "boxes.json").write_text(json.dumps(content))
    patch.setitem(families.FOREIGN, "split", "")  # which takes out again what the page puts in


@dataclass(frozen=True)
class Tutorial:
    """How a page is run.

    ``prepare``: makes what the page takes for granted. ``smaller``: text of commands and Python to text in its
    place; each must occur. ``not_run``: commands to the reason. ``codes``: commands to the exit codes that are
    right for them, where it is not 0 alone.
    """

    prepare: Callable[[Path, pytest.MonkeyPatch], None] = nothing
    smaller: Mapping[str, str] = field(default_factory=dict)
    not_run: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


RUNS = {
    "webcam": Tutorial(
        smaller={'detector.stream("0")': 'detector.stream("photos")'},
        not_run={"pip install edgedet": INSTALLING, "edgedet detect model.onnx 0 --show": "a camera and a window"},
    ),
    "training-to-wearable": Tutorial(
        prepare=clone,
        smaller={
            "--count 2000": "--count 3 --workers 1",
            "--count 200 ": "--count 2 --workers 1 ",
            "--epochs 3": "--epochs 1 --warmup 1 --workers 1",
            "--batch 24": "--batch 3",
            "--frames build/val/scenes --json": f"--frames build/val/scenes {BRIEFLY} --json",
        },
        not_run={"pip install 'edgedet[export]'": INSTALLING, "pip install edgedet": INSTALLING},
    ),
    "int8-when-it-hurts": Tutorial(),
    "choosing-by-numbers": Tutorial(
        # What the folder of the examples holds was measured long enough for a verdict on a quiet machine. On a busy
        # one the comparison is undecided, and nothing may be inside the budget.
        smaller={"--json bench.json": f"{BRIEFLY} --json short.json"},
        codes={
            "edgedet compare bench.json": (0, 1),
            "edgedet report bench.json model.eval.json slow.eval.json --budget-ms 15 -o report.html": (0, 1),
        },
    ),
    "writing-a-family": Tutorial(prepare=split_graph),
    "reading-from-cpp": Tutorial(),
}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(example_files(tmp_path_factory), tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_tutorial_has_a_run() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.md")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_tutorial(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tutorial = RUNS[name]
    tutorial.prepare(folder, monkeypatch)
    run = Run(tutorial, monkeypatch)
    for block in blocks(TUTORIALS / f"{name}.md"):
        run.block(block)
    assert set(tutorial.smaller) == run.made_smaller, "text that is no longer on the page"
    assert set(tutorial.not_run) == run.left_out, "commands that are no longer on the page"


class Run:
    """One page, block after block, in the current folder."""

    def __init__(self, tutorial: Tutorial, patch: pytest.MonkeyPatch) -> None:
        self.tutorial = tutorial
        self.patch = patch
        self.names: dict[str, Any] = {"FOREIGN": families.FOREIGN}
        self.printed = ""
        self.text = io.StringIO()
        self.made_smaller: set[str] = set()
        self.left_out: set[str] = set()

    def block(self, block: Block) -> None:
        """Run it; or, of output, hold it against what the block before printed."""
        if block.language == "text":
            assert says(self.printed, block.text), f"{block.name}: expected\n{block.text}\nprinted\n{self.printed}"
            return
        with collected() as self.text:
            if block.language == "python":
                self.python(block)
            elif block.language == "cpp":
                Path(block.text.split()[1].rstrip(":")).write_text(block.text)
            else:
                assert block.language == "", block.name
                for line in commands(block):
                    self.command(line)
        self.printed = self.said()

    def python(self, block: Block) -> None:
        """A block that begins with the name of a module becomes that module."""
        code = compile("\n" * (block.line - 1) + self.shrunk(block.text), block.name, "exec")
        first = block.text.split("\n", 1)[0]
        if not first.startswith("# export/"):
            exec(code, self.names)
            return
        module = types.ModuleType("edgedet." + first[2:].removesuffix(".py").replace("/", "."))
        module.__package__ = module.__name__.rpartition(".")[0]
        exec(code, module.__dict__)
        self.patch.setitem(sys.modules, module.__name__, module)

    def command(self, line: str) -> None:
        """A command of edgedet or a script of the repository, in this process; others in one of their own."""
        if line in self.tutorial.not_run:
            self.left_out.add(line)
            return
        program, *arguments = shlex.split(self.shrunk(line))
        if program == "edgedet":
            code: Any = main(arguments)
        elif program == "python":
            self.patch.setattr(sys, "argv", arguments)
            code = 0
            try:
                runpy.run_path(arguments[0], run_name="__main__")
            except SystemExit as left:
                code = left.code or 0
        else:
            if program == "g++" and shutil.which(program) is None:
                pytest.skip("needs g++")
            done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
            print(done.stdout + done.stderr)
            code = done.returncode
        assert code in self.tutorial.codes.get(line, (0,)), f"{line} ended with {code}: {self.said()}"

    def said(self) -> str:
        """What the block that runs has printed so far."""
        return self.text.getvalue()

    def shrunk(self, text: str) -> str:
        """With the amounts of a test in place of those of a job."""
        for shown, short in self.tutorial.smaller.items():
            if shown in text:
                self.made_smaller.add(shown)
                text = text.replace(shown, short)
        return text


@contextlib.contextmanager
def collected() -> Iterator[io.StringIO]:
    """Everything that is printed meanwhile, on either stream."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        yield text


def says(printed: str, shown: str) -> bool:
    """Whether every line that is shown was printed; dots stand for anything."""
    checker = doctest.OutputChecker()
    lines = [line.strip() for line in printed.splitlines()]
    return all(
        any(checker.check_output(f"{line}\n", f"{found}\n", doctest.ELLIPSIS) for found in lines)
        for line in shown.splitlines()
    )


def test_output_that_was_not_printed_is_seen() -> None:
    assert says("a 1\nb 2.345 ms\n", "b ... ms\n")
    assert not says("a 1\n", "b ...\n")
    assert not says("", "a\n")


def test_the_card_that_cpp_reads_is_the_card(folder: Path) -> None:
    """Of graphs and engines, and damaged files are refused."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    (program,) = (each for each in blocks(TUTORIALS / "reading-from-cpp.md") if each.language == "cpp")
    Path("read_card.cpp").write_text(program.text)
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-o", "read_card", "read_card.cpp"], check=True
    )
    from edgedet.artifacts.card import ModelCard
    from edgedet.artifacts.engine_file import write_engine
    from edgedet.opening import read_card

    write_engine(Path("model.trt"), read_card("model.onnx"), b"ptrt" + bytes(92))
    for name in ("model.onnx", "tiny.onnx", "model.trt"):
        done = subprocess.run(["./read_card", name], capture_output=True, text=True, check=True)
        assert ModelCard.from_json(done.stdout) == read_card(name)
    Path("cut.onnx").write_bytes(Path("model.onnx").read_bytes()[:-1])
    Path("cut.trt").write_bytes(Path("model.trt").read_bytes()[:200])
    Path("text.txt").write_text("no graph at all")
    for name in ("cut.onnx", "cut.trt", "text.txt", "yolo.onnx", "nowhere.onnx"):
        done = subprocess.run(["./read_card", name], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "") and done.stderr.startswith("read_card: "), name
