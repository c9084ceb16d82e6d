"""Kill -9 at random points of installing, signing and saving: is what is there afterwards right, and does the next
run go through?

    python benchmarks/kill_points.py                  200 points, over all of them in turn
    python benchmarks/kill_points.py --points 1000 --seed 1

A child process does the work again and again, and is killed at a random moment; then its folder is looked at as a
device would that starts anew. The children are forks, so that hardly a moment is spent on starting Python. The
trial that an installation makes is left out (it writes nothing, and takes nearly all of its time).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import read_engine_header, read_plan, write_engine
from edgedet.artifacts.seal import require_seal
from edgedet.artifacts.signature_policy import requiring
from edgedet.artifacts.signed_artifact import read_verified
from edgedet.artifacts.signing_keys import make_keys, read_public_keys
from edgedet.cli import main as command
from edgedet.errors import ArtifactError
from edgedet.files import atomic_path
from edgedet.install import install as installing
from edgedet.install.trial import Trial
from edgedet.opening import read_card
from edgedet.pictures.frames import Frame
from edgedet.pictures.image_file import read_image
from edgedet.pictures.sinks import Folder
from edgedet.selftest import SELFTEST_GRAPH

ROUNDS = 4
"""A child is killed somewhere in its first so many runs."""
PLANS = [b"ptrt" + bytes([number]) * 400_000 for number in range(2)]
LARGE = 2_000_000
"""Bytes that a graph is made long, so that many moments lie inside its writing."""


def main() -> int:
    """Kill, look, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200, metavar="N", help="moments to kill at (200)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    if importlib.util.find_spec("cryptography") is None:
        print("needs edgedet[signing]", file=sys.stderr)
        return 2
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the tests' folder
    installing.try_artifact = lambda path, *, seconds: Trial(True, "not tried")  # type: ignore[assignment]
    chance = random.Random(arguments.seed)
    kinds = (Install, Sign, SaveEngine, SavePlan, SaveGraph, SavePictures)
    found: dict[str, Counter[str]] = {kind.__name__: Counter() for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="edgedet-kill-") as folder:
        works = [kind(Path(folder) / kind.__name__) for kind in kinds]
        for point in range(arguments.points):
            work = works[point % len(works)]
            _kill_during(work.forever, chance.uniform(0, ROUNDS * work.seconds))
            found[type(work).__name__][work.look()] += 1
            work.once()
            found[type(work).__name__]["the next run went through"] += work.look() == "new"
    for name, counts in found.items():
        print(f"{name:14}", ", ".join(f"{what} {count}" for what, count in sorted(counts.items())))
    faults = sum(counts["WRONG"] for counts in found.values())
    blocked = arguments.points - sum(counts["the next run went through"] for counts in found.values())
    print(f"{arguments.points} points: {faults} wrong, {blocked} blocked the next run")
    return 1 if faults or blocked else 0


def _kill_during(work: Callable[[], None], seconds: float) -> None:
    ready, tell = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        os.write(tell, b"x")
        try:
            work()
        finally:
            os._exit(1)
    os.close(tell)
    os.read(ready, 1)
    os.close(ready)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "the child ended by itself"


def edgedet(arguments: list[str]) -> None:
    """A command, without its words."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = command(arguments)
    assert code == 0, f"edgedet {' '.join(arguments)}: exit code {code}"


class Work:
    """Something that writes, again and again. ``seconds``: one run of it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.prepare()
        begun = time.monotonic()
        self.once()
        self.seconds = time.monotonic() - begun

    def prepare(self) -> None:
        """Once, before the first run."""

    def do(self, turn: int) -> None:
        """Write the old state (0) or the new one (1)."""

    def once(self) -> None:
        """A whole run, to the new state."""
        self.do(1)

    def forever(self) -> None:
        """Old and new in turn."""
        turn = 0
        while True:
            self.do(turn)
            turn = 1 - turn

    def look(self) -> str:
        """``old``, ``new``, ``refused`` or ``WRONG``."""
        raise NotImplementedError


def _graphs(folder: Path) -> tuple[Path, Path]:
    """Two sealed graphs of one detector that differ in their threshold, made long by a metadata entry."""
    from edgedet.artifacts.protobuf import record
    from edgedet.artifacts.seal import sealed
    from tests.mutations.changed_artifacts import graph_with_card

    made = []
    for turn, threshold in enumerate((0.6, 0.61)):
        card = read_card(SELFTEST_GRAPH)
        card = replace(card, output=replace(card.output, score_threshold=threshold))
        filling = record(14, record(1, b"filling") + record(2, bytes([65 + turn]) * LARGE))
        path = folder / f"{turn}.onnx"
        path.write_bytes(sealed(graph_with_card(SELFTEST_GRAPH.read_bytes(), card.to_json()) + filling))
        made.append(path)
    return made[0], made[1]


class Install(Work):
    """``edgedet install --keep-previous``, signed."""

    def prepare(self) -> None:
        self.sources = _graphs(self.folder)
        edgedet(["keygen", str(self.folder / "owner")])
        edgedet(["sign", *map(str, self.sources), "--key", str(self.folder / "owner.key")])
        self.keys = [read_public_keys(self.folder / "owner.pub")]
        self.contents = [path.read_bytes() for path in self.sources]
        self.current = self.folder / "current" / "model.onnx"
        self.current.parent.mkdir()

    def do(self, turn: int) -> None:
        with requiring(self.folder / "owner.pub"):
            installing.install(self.sources[turn], self.current, installing.InstallOptions(keep_previous=True))

    def look(self) -> str:
        try:
            previous = self.current.with_name("model.previous.onnx")
            if previous.exists():
                assert read_verified(previous, self.keys).held.content in self.contents
            return ("old", "new")[self.contents.index(read_verified(self.current, self.keys).held.content)]
        except (ArtifactError, AssertionError, ValueError) as error:
            print(f"Install: {error!r}")
            return "WRONG"


class Sign(Work):
    """``edgedet sign`` of an artifact that is signed already."""

    def prepare(self) -> None:
        self.path, _ = _graphs(self.folder)
        self.keys = []
        for turn in range(2):
            private, public = make_keys()
            (self.folder / f"{turn}.key").write_bytes(private)
            (self.folder / f"{turn}.pub").write_bytes(public)
            self.keys.append(read_public_keys(self.folder / f"{turn}.pub"))

    def do(self, turn: int) -> None:
        edgedet(["sign", str(self.path), "--key", str(self.folder / f"{turn}.key")])

    def look(self) -> str:
        for turn in (0, 1):
            try:
                read_verified(self.path, [self.keys[turn]])
            except ArtifactError:
                continue
            return ("old", "new")[turn]
        return "WRONG"


class SaveEngine(Work):
    """An engine with its card in front."""

    container = "file"

    def prepare(self) -> None:
        card = read_card(SELFTEST_GRAPH)
        self.path = self.folder / ("model.trt" if self.container == "file" else "model.plan")
        self.cards = [replace(card, architecture=f"number {turn}") for turn in range(2)]

    def do(self, turn: int) -> None:
        write_engine(self.path, self.cards[turn], PLANS[turn], container=self.container)  # type: ignore[arg-type]

    def look(self) -> str:
        try:
            card: ModelCard = read_card(self.path)
            plan = read_plan(read_engine_header(self.path))
        except ArtifactError:
            # The plan and the card beside it are two files: where they are not of one engine, it is told.
            return "refused" if self.container == "plan" else "WRONG"
        turn = PLANS.index(plan)
        return ("old", "new")[turn] if card.architecture == f"number {turn}" else "WRONG"


class SavePlan(SaveEngine):
    """A bare plan and its card beside it."""

    container = "plan"


class SaveGraph(Work):
    """A graph, as export writes it."""

    def prepare(self) -> None:
        self.contents = [path.read_bytes() for path in _graphs(self.folder)]
        self.path = self.folder / "model.onnx"

    def do(self, turn: int) -> None:
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(self.contents[turn])

    def look(self) -> str:
        try:
            require_seal(self.path)
        except ArtifactError:
            return "WRONG"
        return ("old", "new")[self.contents.index(self.path.read_bytes())]


class SavePictures(Work):
    """``--save`` of pictures."""

    def prepare(self) -> None:
        chance = np.random.default_rng(0)
        self.pictures = [chance.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(2)]
        (self.folder / "in").mkdir()
        self.source = self.folder / "in" / "a.png"
        self.source.write_bytes(b"a picture of this name")

    def do(self, turn: int) -> None:
        with Folder(self.folder / "out", None) as sink:
            sink.add(Frame(self.pictures[turn], str(self.source), 0), self.pictures[turn])

    def look(self) -> str:
        try:
            found = read_image(self.folder / "out" / "a.png")
        except Exception:
            return "WRONG"
        same = [np.array_equal(found, picture) for picture in self.pictures]
        return ("old", "new")[same.index(True)] if any(same) else "WRONG"


if __name__ == "__main__":
    sys.exit(main())
