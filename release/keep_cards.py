"""Keep what this version writes, for later ones to open: python release/keep_cards.py NAME [CHECKPOINT …]

Run once for every release, before its tag. Makes ``tests/edgedet/artifacts/cards/NAME`` with

    yolo.onnx     a graph of a detector that is small enough to commit
    yolo.trt      the same card in front of bytes that stand for a plan
    found.json    what this version found with the graph in ``frame.png``
    STEM.json     the card that each CHECKPOINT gets, without its graph

All of it by the command line alone, except the engine, so that an older checkout can be asked, too (``--edgedet``).
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from rectangle_detector import save_foreign_graph

CARDS = ROOT / "tests" / "edgedet" / "artifacts" / "cards"
SAMPLE = ROOT / "examples" / "sample" / "camera_phone_ssdlite320.pt"
PLAN = b"ptrt" + bytes(92)


def main() -> int:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the folder: the version")
    parser.add_argument("checkpoints", type=Path, nargs="*", help="detectors whose cards are kept")
    parser.add_argument("--edgedet", default=f"{sys.executable} -m edgedet", help="the command to ask")
    arguments = parser.parse_args()
    folder = CARDS / arguments.name
    folder.mkdir(parents=True)
    program = shlex.split(arguments.edgedet)
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "foreign.onnx"
        save_foreign_graph(source)
        run([*program, "export", str(source), "-o", str(folder / "yolo.onnx")])
        (line,) = run([*program, "detect", str(folder / "yolo.onnx"), str(CARDS / "frame.png")]).splitlines()
        found = {"yolo.onnx": json.loads(line)["detections"]}
        (folder / "found.json").write_text(json.dumps(found, indent=1) + "\n")
        write_engine(folder / "yolo.trt", card_of(program, folder / "yolo.onnx"))
        for checkpoint in (SAMPLE, *arguments.checkpoints):
            graph = Path(place) / "model.onnx"
            run([*program, "export", str(checkpoint), "-o", str(graph)])
            text = json.dumps(card_of(program, graph), indent=1)
            (folder / f"{checkpoint.stem}.json").write_text(text + "\n")
    print(f"kept in {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    return 0


def card_of(program: Sequence[str], artifact: Path) -> dict[str, object]:
    """The card, as ``edgedet inspect`` shows it."""
    card: dict[str, object] = json.loads(run([*program, "inspect", str(artifact), "--json"]))["card"]
    return card


def write_engine(path: Path, card: dict[str, object]) -> None:
    """The container that docs/artifact-format.md describes, written by this version."""
    from edgedet.artifacts.card import ModelCard
    from edgedet.artifacts.engine_file import write_engine as write

    write(path, ModelCard.from_json(json.dumps(card)), PLAN)


def run(command: Sequence[str]) -> str:
    """What a command prints."""
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
