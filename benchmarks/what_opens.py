"""README's table of what opens: its last column, what each line was checked against, from what was measured.

    python benchmarks/what_opens.py

rewrites the column from the rows of ``docs/measured/families.md``; ``tests/docs/test_what_opens.py`` sees that it
was done. A line without rows there keeps what it says, and may name no version that nothing measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README, PAGE = ROOT / "README.md", ROOT / "docs/measured/families.md"
HEADER = "| you have | edgedet takes | checked against |"

DETECTORS: dict[str, tuple[str, ...]] = {
    "RT-DETR v1 and v2": ("rtdetr", "rtdetrv2", "dfine", "deim", "deimv2"),
    "RF-DETR": ("rfdetr",),
    "NanoDet": ("nanodet", "nanodet-plus", "fastestdet"),
    "RTMDet": ("rtmdet tiny",),
    "YOLOX": ("yolox nano",),
    "Ultralytics YOLOv3u": (
        "yolov3-tiny", "yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n", "rtdetr-l",
    ),
    "Ultralytics segment": ("yolov8n-seg", "yolo11n-seg", "yolo26n-seg", "yolov8n-pose", "yolo11n-pose"),
    "Darknet": ("yolov2-tiny-voc at 96", "yolov4-tiny at 96"),
    "YOLOv5, YOLOv6": ("yolov5n-original", "yolov6n", "yolov7-tiny"),
    "YOLO-NAS": ("yolo-nas s", "damo-yolo tinynasL20_T", "pp-yoloe+ s"),
}  # fmt: skip
"""Rows of the page that belong to a line of the table, by how its first cell begins."""


def measured(page: str) -> dict[str, str]:
    """Framework and version by detector, of all rows that were measured, in tables that name one."""
    found: dict[str, str] = {}
    names_one = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]] if line.startswith("|") else []
        if len(cells) < 2:
            names_one = False
        elif cells[1] in ("framework", "program"):
            names_one = True
        elif names_one and not cells[1].startswith(("not measured", "---")):
            found[cells[0]] = cells[1].split(";")[0].removesuffix("*").strip()
    return found


def lines(readme: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line of the table."""
    text = readme.splitlines()
    start = text.index(HEADER) + 2
    for number in range(start, len(text)):
        if not text[number].startswith("|"):
            return
        yield number, [cell.strip() for cell in text[number].split("|")[1:-1]]


def written(readme: str, page: str) -> str:
    """``readme`` with the column as ``page`` has it.

    Raises:
        ValueError: a line of ``DETECTORS`` is not in the table.
    """
    versions, text, seen = measured(page), readme.splitlines(), set()
    for number, cells in lines(readme):
        begins = max((key for key in DETECTORS if cells[0].startswith(key)), key=len, default=None)
        if begins is None:
            continue
        seen.add(begins)
        found = [versions[name] for name in DETECTORS[begins] if name in versions]
        if found:
            text[number] = f"| {cells[0]} | {cells[1]} | {', '.join(dict.fromkeys(found))} |"
    if seen != set(DETECTORS):
        raise ValueError(f"README's table has no line of {sorted(set(DETECTORS) - seen)}")
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    README.write_text(
        written(README.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8")), encoding="utf-8"
    )
