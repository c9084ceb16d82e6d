"""What is mutated, and what may come of it: an error of edgedet's, or the right answer.

A subject makes a case from a seed and says what came of it: ``error``, ``right``, or ``stated``, where the file
itself says something else now and edgedet keeps to it (another box in an annotation, another threshold on a card
without a digest): then the answer must be one that can be, and be given in time. Anything else raises.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
from collections.abc import Callable, Iterator
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

Case = Callable[[Path, random.Random], str]
PLAN = b"ptrt" + bytes(20) + bytes([10, 3, 0, 0]) + random.Random(0).randbytes(500)
FRAME = np.repeat(np.repeat(np.random.default_rng(7).integers(0, 256, (8, 8, 3), np.uint8), 8, 0), 8, 1)
NUMBER_OF_FRAMES = 4


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


def pictures() -> dict[str, bytes]:
    """One of every format, with what makes decoders different: EXIF, 16 bits, palettes, progressive scans."""
    import cv2

    picture = np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)
    picture = cv2.resize(picture, (80, 48))
    found = {}
    for suffix, options in (
        (".jpg", []),
        (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4]),
        (".png", []),
        (".bmp", []),
        (".webp", []),
        (".tif", []),
        (".ppm", []),
        (".jp2", []),
    ):
        done, content = cv2.imencode(suffix, picture, options)
        assert done
        found[f"{len(found)}{suffix}"] = content.tobytes()
    for suffix in (".png", ".tif", ".pgm"):
        done, content = cv2.imencode(suffix, (picture[..., 0].astype(np.uint16) * 257))
        found[f"{len(found)}{suffix}"] = content.tobytes()
    with contextlib.suppress(ImportError):
        from PIL import Image

        stream = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(picture).save(stream, "JPEG", exif=exif)
        found[f"{len(found)}.jpg"] = stream.getvalue()
        for kind in ("GIF", "PNG"):
            stream = io.BytesIO()
            Image.fromarray(picture).quantize(16).save(stream, kind)
            found[f"{len(found)}.{kind.lower()}"] = stream.getvalue()
    return found


class Pictures:
    """A picture that is another: refused, or a frame."""

    def __init__(self) -> None:
        self._pictures = pictures()

    def __call__(self, folder: Path, random: random.Random) -> str:
        from edgedet.errors import SourceError
        from edgedet.pictures.image_file import read_image
        from edgedet.pictures.image_size import read_image_size

        name = random.choice(sorted(self._pictures))
        path = folder / name
        path.write_bytes(damage(self._pictures[name], random))
        with quiet_stderr():
            size = read_image_size(path)
            assert size is None or (size.width > 0 and size.height > 0)
            try:
                frame = read_image(path)
            except SourceError:
                return "error"
        assert frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3
        return "stated"


class Videos:
    """A video that is another: refused, its damaged frames named, or frames."""

    def __init__(self) -> None:
        import tempfile

        import cv2

        self._videos: dict[str, bytes] = {}
        with tempfile.TemporaryDirectory() as made:
            for suffix, code in ((".avi", "MJPG"), (".mp4", "mp4v"), (".mkv", "mp4v")):
                path = Path(made) / f"clip{suffix}"
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, (64, 48))
                for number in range(NUMBER_OF_FRAMES):
                    writer.write(np.roll(np.tile(FRAME, (1, 1, 1))[:48], number, 1))
                writer.release()
                self._videos[suffix] = path.read_bytes()

    def __call__(self, folder: Path, random: random.Random) -> str:
        from edgedet.pictures.sources import open_source

        suffix = random.choice(sorted(self._videos))
        path = folder / f"clip{suffix}"
        path.write_bytes(damage(self._videos[suffix], random))
        count = 0
        with quiet_stderr():
            try:
                with open_source(str(path), unreadable=lambda unreadable: None) as frames:
                    for frame in frames:
                        assert frame.image.dtype == np.uint8 and frame.image.ndim == 3
                        count += 1
                        if count == 100:
                            break
            except EdgedetError:
                return "error"
        return "stated"


def annotations() -> dict[str, dict[str, bytes]]:
    """A dataset of two pictures in every format: file name to content, the entrance first."""
    import cv2

    def picture() -> bytes:
        return bytes(cv2.imencode(".png", np.full((30, 40, 3), 90, np.uint8))[1].tobytes())

    two = {"a.png": picture(), "b.png": picture()}
    coco = {
        "images": [{"id": i, "file_name": f"{n}.png", "width": 40, "height": 30} for i, n in enumerate("ab")],
        "categories": [{"id": 1, "name": "cup"}, {"id": 7, "name": "phone"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": c, "bbox": [5, 6, 10, 12], "area": 120, "iscrowd": 0}
            for i, c in enumerate((1, 7))
        ],
    }
    voc = (
        "<annotation><filename>{n}.png</filename><size><width>40</width><height>30</height><depth>3</depth></size>"
        "<object><name>cup</name><difficult>0</difficult><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>15</xmax>"
        "<ymax>18</ymax></bndbox></object></annotation>"
    )
    labelme = {
        "version": "5.0.1",
        "imagePath": "a.png",
        "imageHeight": 30,
        "imageWidth": 40,
        "shapes": [{"label": "cup", "points": [[5, 6], [15, 18]], "shape_type": "rectangle"}],
    }
    return {
        "coco": {"labels.json": json.dumps(coco).encode(), **two},
        "yolo": {
            "data.yaml": b"path: .\ntrain: images/train\nval: images/train\nnc: 2\nnames: ['cup', 'phone']\n",
            "images/train/a.png": two["a.png"],
            "labels/train/a.txt": b"0 0.25 0.4 0.25 0.4\n1 0.5 0.5 0.1 0.1\n",
        },
        "voc": {
            "JPEGImages/a.png": two["a.png"],
            "Annotations/a.xml": voc.replace("{n}", "a").encode(),
            "ImageSets/Main/train.txt": b"a\n",
        },
        "labelme": {"a.json": json.dumps(labelme).encode(), "a.png": two["a.png"]},
        "annotation": {"annotation.txt": b"a.png,5,6,15,18,cup\nb.png,5,6,15,18,phone\n", **two},
        "csv": {
            "labels.csv": b"filename,width,height,class,xmin,ymin,xmax,ymax\na.png,40,30,cup,5,6,15,18\n",
            "a.png": two["a.png"],
        },
        "openimages": {
            "class-descriptions-boxable.csv": b"/m/01,Cup\n/m/02,Phone\n",
            "train-annotations-bbox.csv": b"ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,"
            b"IsTruncated,IsGroupOf,IsDepiction,IsInside\na,x,/m/01,1,0.1,0.4,0.2,0.6,0,0,0,0,0\n",
            "train/a.png": two["a.png"],
        },
    }


class Annotations:
    """Annotations that are others: refused, or boxes that lie on their pictures."""

    def __init__(self) -> None:
        self._sets = annotations()

    def __call__(self, folder: Path, random: random.Random) -> str:
        from edgedet.datasets.read import read_dataset

        name = random.choice(sorted(self._sets))
        files = self._sets[name]
        texts = [each for each in files if not each.endswith(".png")]
        chosen = random.choice(texts)
        for each, content in files.items():
            (folder / each).parent.mkdir(parents=True, exist_ok=True)
            (folder / each).write_bytes(disturb(content, random) if each == chosen else content)
        entrance = {"coco": "labels.json", "yolo": "data.yaml", "annotation": "annotation.txt", "csv": "labels.csv"}
        source = folder / entrance[name] if name in entrance else folder
        try:
            dataset = read_dataset(str(source))
        except EdgedetError:
            return "error"
        for image in dataset.images:
            assert np.isfinite(image.boxes).all() and (image.boxes >= 0).all()
            assert (image.boxes <= np.array([image.width, image.height] * 2) + 1e-6).all()
            assert all(0 <= label < len(dataset.names) for label in image.labels.tolist())
        return "stated"


class References:
    """Boxes of another program (``parity --reference``) that are others."""

    def __init__(self) -> None:
        sets = annotations()
        self._coco = sets["coco"]
        results = [{"image_id": i, "category_id": 1, "bbox": [5, 6, 10, 12], "score": 0.9} for i in range(2)]
        data = json.loads(self._coco["labels.json"])
        data["annotations"] = [row | {"id": i} for i, row in enumerate(results)]
        self._files = {
            "boxes.json": json.dumps(data).encode(),
            "boxes.jsonl": b"".join(
                json.dumps(
                    {
                        "source": f"{n}.png",
                        "index": 0,
                        "detections": [{"box": [5, 6, 15, 18], "score": 0.9, "name": "cup"}],
                    }
                ).encode()
                + b"\n"
                for n in "ab"
            ),
        }

    def __call__(self, folder: Path, random: random.Random) -> str:
        from edgedet.reference.pictures import open_reference

        name = random.choice(sorted(self._files))
        for each in ("a.png", "b.png"):
            (folder / each).write_bytes(self._coco[each])
        (folder / name).write_bytes(disturb(self._files[name], random))
        try:
            open_reference(str(folder / name), str(folder))
        except EdgedetError:
            return "error"
        return "stated"


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Decoders write to the process's stderr by themselves."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


SUBJECTS: dict[str, Callable[[], Case]] = {
    "graph": lambda: Graphs("onnxruntime:cpu"),
    "graph by openvino": lambda: Graphs("openvino"),
    "card": Cards,
    "engine": lambda: Engines("file"),
    "plan and card": lambda: Engines("plan"),
    "signature": Signatures,
    "graph of another tool": lambda: Foreign("onnxruntime:cpu"),
    "the same by openvino": lambda: Foreign("openvino"),
    "sealed damage": Resealed,
    "picture": Pictures,
    "video": Videos,
    "annotation": Annotations,
    "boxes made elsewhere": References,
}
"""By name; made when they are first needed."""

SHARES = {
    "artifact": {
        "graph": 4,
        "graph by openvino": 1,
        "card": 4,
        "engine": 3,
        "plan and card": 2,
        "signature": 4,
        "graph of another tool": 1,
        "the same by openvino": 1,
        "sealed damage": 1,
    },
    "input": {"picture": 4, "video": 2, "annotation": 4, "boxes made elsewhere": 1},
}
"""How many of each kind's cases are of which subject."""
