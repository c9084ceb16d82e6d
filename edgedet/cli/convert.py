"""Convert a dataset into another format, pictures included, or split it into train and validation by seed.

Classes are numbered over the whole dataset, whichever split is converted. Bad annotations are dropped and named
(--strict stops at the first). Pascal VOC's own files count pixels from 1 and are read so; all other VOC files are
read as written, and files written here give box edges as they are, with decimals where needed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from textwrap import fill

from edgedet import dataset_formats
from edgedet.cli.progress import Progress
from edgedet.cli.values import class_names, share, whole_number
from edgedet.errors import UsageError

EXAMPLES = f"""\
examples:
  edgedet convert instances_val2017.json voc/ --to voc
  edgedet convert VOC2007:all yolo/ --to yolo --link
  edgedet convert annotation.txt coco/ --to coco --split 0.8 --seed 0
  edgedet convert train-annotations-bbox.csv cats/ --to yolo --classes Cat --exclude group,depiction

{fill(f"datasets: {dataset_formats.looks()}", 110)}
"""

MARKS = ("occluded", "truncated", "group", "depiction", "inside")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet convert``."""
    parser.add_argument("source", metavar="SRC", help="dataset, PATH[:SPLIT]; PATH:all for every split")
    parser.add_argument("folder", metavar="DST", type=Path, help="folder to make")
    parser.add_argument("--to", choices=dataset_formats.writable(), required=True, help="format to write")
    parser.add_argument(
        "--images", metavar="DIR", type=Path, help="folder of the pictures, if not at a usual place"
    )
    parser.add_argument(
        "--classes", metavar="NAMES", type=class_names, help="classes to keep: a,b,c or a .txt file"
    )
    parser.add_argument(
        "--exclude",
        metavar="MARKS",
        type=_marks,
        default=(),
        help=f"marks of Open Images boxes to leave out: {', '.join(MARKS)}",
    )
    parser.add_argument(
        "--split", metavar="X", type=share, help="share of the pictures for train; the others become val"
    )
    parser.add_argument("--seed", metavar="N", type=whole_number, help="seed of the split (0)")
    parser.add_argument(
        "--outlines",
        action="store_true",
        help="outlines of objects, too: COCO's segmentation, YOLO's polygons, VOC's SegmentationObject",
    )
    parser.add_argument("--link", action="store_true", help="link to the pictures instead of copying them")
    parser.add_argument("--strict", action="store_true", help="stop at the first bad annotation")
    parser.add_argument("--problems", metavar="OUT", type=Path, help="write every dropped annotation to OUT")
    parser.add_argument("--json", action="store_true", help="what was written, as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Read, write, say what was lost."""
    if arguments.seed is not None and arguments.split is None:
        raise UsageError("--seed needs a split to draw: add --split")
    from edgedet.datasets import read_dataset
    from edgedet.datasets.convert import convert, split_dataset
    from edgedet.files import atomic_path

    with Progress() as progress:
        progress("reading the dataset")
        dataset = read_dataset(
            arguments.source,
            images=arguments.images,
            classes=arguments.classes,
            problems="stop" if arguments.strict else "drop",
            outlines=arguments.outlines,
            keypoints=True,
            **({"exclude": arguments.exclude} if arguments.exclude else {}),
        )
        if arguments.split is not None:
            dataset = split_dataset(dataset, arguments.split, seed=arguments.seed or 0)
        progress("writing")
        done = convert(dataset, arguments.folder, to=arguments.to, pictures="link" if arguments.link else "copy")
    if arguments.problems is not None:
        with atomic_path(arguments.problems) as temporary:
            temporary.write_text("".join(f"{problem}\n" for problem in dataset.problems), encoding="utf-8")
    if arguments.json:
        facts = {
            "folder": str(done.folder),
            "format": done.format,
            "images": done.images,
            "boxes": done.boxes,
            "classes": dataset.names,
            "lost": done.lost,
            "problems": [str(problem) for problem in dataset.problems],
            "notes": dataset.notes,
        }
        print(json.dumps(facts, indent=1))
    else:
        print(f"read   {dataset.describe()}")
        print(f"wrote  {done.describe()}")
    return 0


def _marks(text: str) -> tuple[str, ...]:
    marks = tuple(mark.strip() for mark in text.split(",") if mark.strip())
    unknown = [mark for mark in marks if mark not in MARKS]
    if unknown or not marks:
        raise argparse.ArgumentTypeError(f"{text!r}: expected marks out of {', '.join(MARKS)}")
    return marks
