"""Coverage-guided fuzzing of what reads a file before anything else does: cards, engine headers, graphs.

    pip install atheris==3.0.0
    python benchmarks/fuzz.py card --minutes 60
    python benchmarks/fuzz.py engine --minutes 60 [--corpus build/fuzz]
    python benchmarks/fuzz.py graph --minutes 60

libFuzzer by way of Atheris changes bytes and keeps what reaches new lines of edgedet, beginning with real files. An
error of edgedet's is an answer, and so is a card that is the same after it was written and read again.
Anything else ends the run with 1 and the bytes in a file: another exception, ten seconds, two GiB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["edgedet"]):
    import edgedet.artifacts.card
    import edgedet.artifacts.engine_file
    import edgedet.artifacts.onnx_file
    from edgedet.errors import EdgedetError

ModelCard = edgedet.artifacts.card.ModelCard
PLAN = b"ptrt" + bytes(60)
"""Long enough for a plan; nothing here looks into it."""
SECONDS, MEGABYTES = 10, 2048
"""Maximum time and memory of one file."""


def main() -> None:
    """Fuzz until the time is over; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(TARGETS))
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="folder that keeps what reached new lines")
    arguments = parser.parse_args()
    read, seeds = TARGETS[arguments.what]
    corpus = arguments.corpus or Path(tempfile.mkdtemp(prefix="edgedet-fuzz-"))
    corpus = corpus / arguments.what
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds()):
        (corpus / f"seed-{number}").write_bytes(content)
    words = corpus.with_suffix(".dict")
    words.write_text("".join(f'"{word}"\n' for word in sorted(card_names())))
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={round(arguments.minutes * 60)}",
            f"-timeout={SECONDS}",
            f"-rss_limit_mb={MEGABYTES}",
            f"-seed={arguments.seed}",
            f"-dict={words}",
            f"-artifact_prefix={corpus.parent}/{arguments.what}-",
            "-max_len=65536",
            "-print_final_stats=1",
        ],
        read,
    )
    atheris.Fuzz()


def read_card(content: bytes) -> None:
    """The JSON of a card."""
    try:
        card = ModelCard.from_json(content.decode("utf-8", "replace"))
    except EdgedetError:
        return
    assert ModelCard.from_json(card.to_json()) == card, "a card is another after it was written and read"


def read_engine(content: bytes) -> None:
    """A container: its header, which library it is for, its card, its plan."""
    path = Path("fuzzed.trt")
    try:
        engine = edgedet.artifacts.engine_file.read_engine_header(path, content)
        edgedet.artifacts.engine_file.library_of(engine)
        ModelCard.from_json(json.dumps(engine.header))
        edgedet.artifacts.engine_file.read_plan(engine)
    except EdgedetError:
        return


def read_graph(content: bytes) -> None:
    """Metadata, inputs and outputs of a graph, and the card among them."""
    try:
        graph = edgedet.artifacts.onnx_file.read_onnx("fuzzed.onnx", content)
        for text in graph.metadata.values():
            ModelCard.from_json(text)
    except EdgedetError:
        return


def cards() -> list[bytes]:
    """Cards of the self-test graph, and those of earlier versions that the tests keep."""
    from edgedet.artifacts.onnx_file import read_onnx
    from edgedet.selftest import SELFTEST_GRAPH

    found = [text.encode() for text in read_onnx(SELFTEST_GRAPH).metadata.values() if text.startswith("{")]
    kept = sorted((ROOT / "tests" / "edgedet" / "artifacts" / "cards").rglob("*.json"))
    return found + [path.read_bytes() for path in kept]


def engines() -> list[bytes]:
    """Containers of those cards, whole and cut."""
    made = []
    for text in cards():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "engine.trt"
            try:
                edgedet.artifacts.engine_file.write_engine(path, ModelCard.from_json(text.decode()), PLAN)
            except EdgedetError:
                continue
            made += [path.read_bytes(), path.read_bytes()[:-40]]
        # Without a seal, so that a changed header is read on.
        made.append(len(text).to_bytes(4, "little") + text + PLAN)
    return made


def graphs() -> list[bytes]:
    """The self-test graph."""
    from edgedet.selftest import SELFTEST_GRAPH

    return [SELFTEST_GRAPH.read_bytes()]


def card_names() -> set[str]:
    """Names of a card's fields, and of what lies in them."""
    kinds = [
        kind for kind in vars(edgedet.artifacts.card).values() if isinstance(kind, type) and is_dataclass(kind)
    ]
    return {field.name for kind in kinds for field in fields(kind)}


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "card": (read_card, cards),
    "engine": (read_engine, engines),
    "graph": (read_graph, graphs),
}

if __name__ == "__main__":
    main()
