"""Annotations of a picture of 40 x 30 with one box of each class, as each format's files have them."""

from __future__ import annotations

import json
from pathlib import Path

BOX = [10.0, 6.0, 20.0, 24.0]
LINE = "{label} 0.375 0.5 0.25 0.6\n"
"""BOX in a picture of 40 x 30, as YOLO writes it."""


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def voc_xml(path: Path, *names: str, filename: str = "", size: tuple[int, int] = (40, 30)) -> Path:
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>10</xmin><ymin>6</ymin><xmax>20</xmax><ymax>24</ymax></bndbox>"
        "</object>"
        for name in names
    )
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return write(path, f"<annotation><filename>{filename}</filename>{sides}{objects}</annotation>")


def labelme_json(path: Path, *names: str, picture: str) -> Path:
    shapes = [{"label": n, "points": [[20, 24], [10, 6]], "shape_type": "rectangle"} for n in names]
    data = {"version": "5.2.1", "shapes": shapes, "imagePath": picture, "imageHeight": 30, "imageWidth": 40}
    return write(path, json.dumps(data | {"imageData": "AAAA"}))


def coco_json(path: Path, *categories: tuple[int, str], picture: str, used: int | None = None) -> Path:
    data = {
        "images": [{"id": 1, "file_name": picture, "width": 40, "height": 30}],
        "categories": [{"id": number, "name": name} for number, name in categories],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": number, "bbox": [10, 6, 10, 18]}
            for number, _ in categories
            if used is None or number == used
        ],
    }
    return write(path, json.dumps(data))


def csv_rows(path: Path, *names: str, picture: str, encoding: str = "utf-8") -> Path:
    rows = "".join(f"{picture},40,30,{name},10,6,20,24\r\n" for name in names)
    return write(path, f"filename,width,height,class,xmin,ymin,xmax,ymax\r\n{rows}", encoding)
