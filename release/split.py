"""One tree, released as three: ``edgedet``, which a device needs, and two others, which it does not.

A clone is one distribution, and so is what pip builds from one. For a release, ``dist.py`` builds a source tree of
each, whose ``pyproject.toml`` is made of the clone's: with the rooms of one of ``PARTS``, or with those of none.
All wheels install into the one package ``edgedet`` and share no file. Why: docs/decisions/012.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple


class Part(NamedTuple):
    """A distribution beside ``edgedet`` itself.

    ``rooms``: what lies in it, ``edgedet.calibration`` and so on, and the folder of each in a clone. ``extras``: of
    edgedet, that bring it. ``needs``: the other parts that it imports. ``description`` and ``readme``: for PyPI.
    """

    name: str
    rooms: Mapping[str, str]
    extras: tuple[str, ...]
    needs: tuple[str, ...]
    description: str
    readme: str


EXPORTER = Part(
    "edgedet-export",
    {"calibration": "calibration", "export": "export", "onnx_graph": "edgedet/onnx_graph"},
    # Of checkpoints, and of engines, which are built on the device itself.
    ("export", "tensorrt", "tensorrt-rtx"),
    ("edgedet-report",),
    "The exporting part of edgedet: checkpoint to ONNX to TensorRT, INT8 and FP16.",
    """\
# edgedet-export

The part of [edgedet](https://pypi.org/project/edgedet/) that exports: checkpoints to graphs, graphs to engines,
INT8 and FP16. It is installed by `pip install 'edgedet[export]'`, or by `pip install 'edgedet[tensorrt]'` where
engines are built on the device, always in the version of edgedet itself, and is of no use alone.
""",
)
REPORT = Part(
    "edgedet-report",
    {room: f"edgedet/{room}" for room in ("datasets", "evaluate", "reference", "report", "sweep")},
    ("report",),
    (),
    "The measuring part of edgedet: datasets, accuracy, sweeps, reports.",
    """\
# edgedet-report

The part of [edgedet](https://pypi.org/project/edgedet/) that measures accuracy: it reads datasets, compares with
boxes made elsewhere, sweeps over settings and writes reports. It is installed by `pip install 'edgedet[report]'`,
and with everything that exports, always in the version of edgedet itself, and is of no use alone.
""",
)
PARTS = (EXPORTER, REPORT)


def version_of(project: str) -> str:
    """The version in the text of a ``pyproject.toml``."""
    return _only(r'^version = "([^"]+)"$', project)


def without_parts(project: str) -> str:
    """The clone's ``pyproject.toml`` without the rooms of all parts, and with extras that bring them."""
    version = version_of(project)
    for part in PARTS:
        for extra in part.extras:
            needed = f'"{part.name}=={version}"'
            project, count = re.subn(rf"^{extra} = \[", rf"\g<0>{needed}, ", project, flags=re.MULTILINE)
            if count != 1:
                raise ValueError(f"pyproject.toml has {count} extras {extra}, expected one line '{extra} = [...'")
        project = _lines_of(part.rooms).sub("", project)
    return project


def part_alone(part: Part, project: str) -> str:
    """A ``pyproject.toml`` of a part's rooms alone, made of the clone's."""
    version = version_of(project)
    needed = ", ".join(f'"{name}=={version}"' for name in ("edgedet", *part.needs))
    rooms = {"packages": "", "package-dir": "", "package-data": ""}
    table = project[project.index("[tool.setuptools]\n") :]
    for key, end in (("packages", "]\n"), ("package-dir", "\n\n"), ("package-data", "\n\n")):
        start = re.search(rf"^(?:{key} = \[|\[tool\.setuptools\.{key}\])\n", table, re.MULTILINE)
        if start is None:
            raise ValueError(f"pyproject.toml has no {key} of setuptools")
        lines = table[start.end() : table.index(end, start.end()) + len(end)]
        rooms[key] = "".join(_lines_of(part.rooms).findall(lines))
    build_system = project[: project.index("[project]\n")]
    licence, python, classifiers = (
        _only(pattern, project)
        for pattern in ('^license = (".*")$', '^requires-python = (".*")$', r"^classifiers = (\[.*?^\])$")
    )
    return f"""\
{build_system}[project]
name = "{part.name}"
version = "{version}"
description = "{part.description}"
readme = "README.md"
license = {licence}
license-files = ["LICENSE"]
requires-python = {python}
classifiers = {classifiers}
dependencies = [{needed}]

[tool.setuptools]
packages = [
{rooms["packages"]}]

[tool.setuptools.package-dir]
{rooms["package-dir"]}
[tool.setuptools.package-data]
{rooms["package-data"]}"""


def split(source: Path, target: Path) -> tuple[Path, ...]:
    """Make a source tree of each part, below ``target``, from the clone's in ``source``, which becomes edgedet's.

    Edgedet's keeps all files: its archive has the tests and the documentation, which are of all.

    Returns:
        the trees, edgedet's first.
    """
    project = (source / "pyproject.toml").read_text("utf-8")
    for part in PARTS:
        tree = target / part.name
        for folder in part.rooms.values():
            _copy(source / folder, tree / folder)
        _write(tree / "LICENSE", (source / "LICENSE").read_text("utf-8"))
        _write(tree / "README.md", part.readme)
        _write(tree / "pyproject.toml", part_alone(part, project))
    _write(source / "pyproject.toml", without_parts(project))
    return source, *(target / part.name for part in PARTS)


def _lines_of(rooms: Iterable[str]) -> re.Pattern[str]:
    """Lines of a ``pyproject.toml`` that begin with one of the rooms."""
    return re.compile(rf'^ *"edgedet\.(?:{"|".join(rooms)})\b.*\n', re.MULTILINE)


def _copy(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(text.encode())


def _only(pattern: str, text: str) -> str:
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL if "\\[" in pattern else re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"pyproject.toml has {len(found)} lines like {pattern}, expected one")
    return str(found[0])
