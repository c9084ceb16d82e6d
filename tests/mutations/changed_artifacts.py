"""Artifacts that are mutated: graphs, cards, engines, signatures, and graphs that state no digest."""

from __future__ import annotations

import contextlib
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY
from edgedet.artifacts.engine_file import read_engine_header, read_plan, write_engine
from edgedet.artifacts.protobuf import fields, record, records, text
from edgedet.artifacts.seal import sealed
from edgedet.detections import Detections
from edgedet.errors import ArtifactError, EdgedetError
from edgedet.opening import read_card
from edgedet.selftest import SELFTEST_GRAPH
from tests.mutations.mutators import damage, disturb, restate

PLAN = b"ptrt" + bytes(20) + bytes([10, 3, 0, 0]) + random.Random(0).randbytes(500)
FRAME = np.repeat(np.repeat(np.random.default_rng(7).integers(0, 256, (8, 8, 3), np.uint8), 8, 0), 8, 1)


def answer(detections: Detections) -> tuple[bytes, bytes, bytes]:
    return detections.boxes.tobytes(), detections.scores.tobytes(), detections.labels.tobytes()


def require_possible(detections: Detections, shape: tuple[int, ...]) -> None:
    """What any detector may give for a frame."""
    boxes, scores = detections.boxes, detections.scores
    assert np.isfinite(boxes).all() and np.isfinite(scores).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all() and (boxes >= 0).all()
    assert (boxes <= np.array([shape[1], shape[0]] * 2)).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert all(0 <= label < len(detections.names) for label in detections.labels.tolist())


class Graphs:
    """A sealed graph: whatever is done to the file, an error, or the boxes that it gave."""

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        self._whole = SELFTEST_GRAPH.read_bytes()
        with Detector(self._whole, runtime=runtime) as detector:
            self._expected = answer(detector.detect(FRAME))

    def __call__(self, folder: Path, random: random.Random) -> str:
        changed = damage(self._whole, random)
        artifact: Any = changed
        if random.random() < 0.5:
            artifact = folder / "model.onnx"
            artifact.write_bytes(changed)
        try:
            with Detector(artifact, runtime=self._runtime) as detector:
                found = answer(detector.detect(FRAME))
        except EdgedetError:
            return "error"
        assert found == self._expected, "other boxes"
        return "right"


def graph_with_card(content: bytes, card: str) -> bytes:
    """A graph with another card; without a seal."""
    pieces = []
    for field, begin, start, end in records(content, 0, len(content)):
        entry = (
            dict(
                (number, text(content, *value))
                for number, value in fields(content, start, end)
                if not isinstance(value, int)
            )
            if field == 14
            else {}
        )
        if entry.get(1) not in (METADATA_KEY, "edgedet.sha256"):
            pieces.append(content[begin:end])
    entry_bytes = record(1, METADATA_KEY.encode()) + record(2, card.encode("utf-8", "replace"))
    return b"".join([*pieces, record(14, entry_bytes)])


class Cards:
    """The card of a graph, with values that are others. Sealed afterwards or not, it states what it states."""

    def __init__(self) -> None:
        self._whole = SELFTEST_GRAPH.read_bytes()
        self._card = json.loads(read_card(SELFTEST_GRAPH).to_json())

    def __call__(self, folder: Path, random: random.Random) -> str:
        if random.random() < 0.7:
            card = json.dumps(restate(self._card, random))
        else:
            card = disturb(json.dumps(self._card).encode(), random).decode("utf-8", "replace")
        content = graph_with_card(self._whole, card)
        path = folder / "model.onnx"
        path.write_bytes(content)
        try:
            with Detector(path, runtime="onnxruntime:cpu", selftest=random.random() < 0.02) as detector:
                require_possible(detector.detect(FRAME), FRAME.shape)
        except EdgedetError:
            return "error"
        return "stated"


class Engines:
    """An engine: what reaches a runtime is the plan and the card that were written, or nothing."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._card = replace(read_card(SELFTEST_GRAPH), engine={"tensorrt": "10.3.0", "compute_capability": "8.7"})
        self._files: dict[str, bytes] = {}

    def __call__(self, folder: Path, random: random.Random) -> str:
        path = folder / ("model.trt" if self._container == "file" else "model.plan")
        card = write_engine(path, self._card, PLAN, container=self._container)
        files = [path, *(each for each in (path.with_suffix(".json"),) if each.exists())]
        chosen = random.choice(files)
        chosen.write_bytes((damage if random.random() < 0.7 else disturb)(chosen.read_bytes(), random))
        outcome = "error"
        with contextlib.suppress(EdgedetError):
            found = read_card(path)
            plan = read_plan(read_engine_header(path))
            assert (found, plan) == (card, PLAN), "another engine"
            outcome = "right"
        with contextlib.suppress(EdgedetError), Detector(path):
            raise AssertionError("an engine runs without a GPU")
        return outcome


class Signatures:
    """A signed artifact of one or several files, one of which is changed: what is held is what was signed."""

    def __init__(self) -> None:
        import onnx

        from edgedet.artifacts.signature import PREFIX, serialise, sign, signature_path
        from edgedet.artifacts.signed_artifact import read_to_sign, read_verified
        from edgedet.artifacts.signing_keys import make_keys, read_private_key, read_public_keys
        from tests.rectangle_detector import save_rectangle_graph

        self._tools = PREFIX, serialise, sign, signature_path, read_to_sign, read_verified
        private, public = make_keys()
        import tempfile
        from datetime import datetime, timezone

        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            (folder / "k").write_bytes(private)
            (folder / "p").write_bytes(public)
            key, self._keys = read_private_key(folder / "k"), [read_public_keys(folder / "p")]
            save_rectangle_graph(folder / "inside.onnx")
            onnx.save(
                onnx.load(str(folder / "inside.onnx")),
                str(folder / "outside.onnx"),
                save_as_external_data=True,
                location="weights.bin",
                size_threshold=0,
            )
            write_engine(folder / "e.plan", read_card(SELFTEST_GRAPH), PLAN, container="plan")
            self._sets = []
            for name in ("inside.onnx", "outside.onnx", "e.plan"):
                path = folder / name
                now = datetime(2026, 1, 1, tzinfo=timezone.utc)
                _, statement = read_to_sign(path, graph=name.endswith(".onnx"), signed=now, expires=None)
                signature_path(path).write_bytes(serialise([sign(statement, key)]))
                files = {part.name: (folder / part.name).read_bytes() for part in statement.parts}
                files[signature_path(path).name] = signature_path(path).read_bytes()
                self._sets.append((name, files, read_verified(path, self._keys).held.content))

    def __call__(self, folder: Path, random: random.Random) -> str:
        read_verified = self._tools[-1]
        name, files, expected = random.choice(self._sets)
        # The file of signatures more often than the others.
        chosen = f"{name}.sig" if random.random() < 0.6 else random.choice(sorted(files))
        for each, content in files.items():
            if each == chosen:
                change = disturb if each.endswith((".sig", ".json")) else damage
                (folder / each).write_bytes(change(content, random))
            else:
                (folder / each).write_bytes(content)
        try:
            held = read_verified(folder / name, self._keys).held
        except ArtifactError:
            return "error"
        assert held.content == expected, "another artifact"
        return "right"


class Foreign:
    """A graph of another tool, which states no digest: no crash, and no answer that cannot be."""

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime
        import tempfile

        from tests.rectangle_detector import save_foreign_graph

        with tempfile.TemporaryDirectory() as made:
            save_foreign_graph(Path(made) / "foreign.onnx")
            self._whole = (Path(made) / "foreign.onnx").read_bytes()

    def __call__(self, folder: Path, random: random.Random) -> str:
        path = folder / "foreign.onnx"
        path.write_bytes(damage(self._whole, random))
        try:
            with Detector(path, runtime=self._runtime) as detector:
                require_possible(detector.detect(FRAME), FRAME.shape)
        except EdgedetError:
            return "error"
        return "stated"


class Resealed:
    """Damage that somebody sealed: the reader must stand it, though nothing can tell it from an artifact."""

    def __init__(self) -> None:
        self._whole = SELFTEST_GRAPH.read_bytes()

    def __call__(self, folder: Path, random: random.Random) -> str:
        from edgedet.artifacts.protobuf import DamagedError

        try:
            content = sealed(damage(self._whole[:-84], random))
        except DamagedError:
            return "error"
        try:
            with Detector(content, runtime="onnxruntime:cpu") as detector:
                require_possible(detector.detect(FRAME), FRAME.shape)
        except EdgedetError:
            return "error"
        return "stated"
