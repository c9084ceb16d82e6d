"""Inputs that are mutated: pictures, videos, annotations, and boxes made elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgedet.errors import EdgedetError
from tests.mutations.changed_artifacts import FRAME
from tests.mutations.mutators import damage, disturb

NUMBER_OF_FRAMES = 4


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
