"""One tree, released as three: ``edgedet``, which a device needs, ``edgedet-export`` and ``edgedet-report``.

A clone is one distribution, and so is what pip builds from one. For a release, ``dist.py`` builds three source
trees, whose ``pyproject.toml`` are the clone's with the rooms of one half in it, and everything else in edgedet's
own. All wheels install into the one package ``edgedet`` and share no file. Why: docs/decisions/012.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """A distribution beside edgedet's own.

    Attributes:
        name: of it.
        rooms: what lies in it, ``edgedet.calibration`` and so on, and the folder of each in a clone.
        extras: of edgedet, that bring it.
        needs: other parts that its rooms import.
        description: one line.
        readme: its README.
    """

    name: str
    rooms: dict[str, str]
    extras: tuple[str, ...]
    needs: tuple[str, ...]
    description: str
    readme: str


REPORT = Part(
    "edgedet-report",
    {room: f"edgedet/{room}" for room in ("cluster", "datasets", "evaluate", "reference", "report", "sweep")},
    # What is measured on a cluster are pictures of datasets.
    ("report", "ray"),
    (),
    "The measuring part of edgedet: datasets, accuracy, sweeps and reports.",
    """\
# edgedet-report

The part of [edgedet](https://pypi.org/project/edgedet/) that reads datasets, measures accuracy and writes
reports. It is installed by `pip install 'edgedet[report]'`, and comes with `edgedet[export]` and `edgedet[ray]`,
always in the version of edgedet itself. It is of no use alone.
""",
)
EXPORT = Part(
    "edgedet-export",
    {"calibration": "calibration", "export": "export", "onnx_graph": "edgedet/onnx_graph"},
    # Of checkpoints, and of engines, which are built on the device itself.
    ("export", "tensorrt", "tensorrt-rtx"),
    (REPORT.name,),
    "The exporting half of edgedet: checkpoint to ONNX to TensorRT, INT8 and FP16.",
    """\
# edgedet-export

The half of [edgedet](https://pypi.org/project/edgedet/) that exports: checkpoints to graphs, graphs to engines,
INT8 and FP16. It is installed by `pip install 'edgedet[export]'`, or by `pip install 'edgedet[tensorrt]'` where
engines are built on the device, always in the version of edgedet itself, and is of no use alone.
""",
)
PARTS = (EXPORT, REPORT)


def version_of(project: str) -> str:
    """The version in the text of a ``pyproject.toml``."""
    return _only(r'^version = "([^"]+)"$', project)


def without_parts(project: str) -> str:
    """The clone's ``pyproject.toml`` without the rooms of other distributions, and with extras that bring these."""
    for part in PARTS:
        needed = f'"{part.name}=={version_of(project)}"'
        for extra in part.extras:
            project, count = re.subn(rf"^{extra} = \[", rf"\g<0>{needed}, ", project, flags=re.MULTILINE)
            if count != 1:
                raise ValueError(f"pyproject.toml has {count} extras {extra}, expected one line '{extra} = [...'")
        project = _room_line(part).sub("", project)
    return project


def part_alone(part: Part, project: str) -> str:
    """A ``pyproject.toml`` of the rooms of ``part`` alone, made of the clone's."""
    version = version_of(project)
    rooms = {"packages": "", "package-dir": "", "package-data": ""}
    table = project[project.index("[tool.setuptools]\n") :]
    for key, end in (("packages", "]\n"), ("package-dir", "\n\n"), ("package-data", "\n\n")):
        start = re.search(rf"^(?:{key} = \[|\[tool\.setuptools\.{key}\])\n", table, re.MULTILINE)
        if start is None:
            raise ValueError(f"pyproject.toml has no {key} of setuptools")
        rooms[key] = "".join(
            _room_line(part).findall(table[start.end() : table.index(end, start.end()) + len(end)])
        )
    build_system = project[: project.index("[project]\n")]
    licence, python, classifiers = (
        _only(pattern, project)
        for pattern in ('^license = (".*")$', '^requires-python = (".*")$', r"^classifiers = (\[.*?^\])$")
    )
    dependencies = ", ".join(f'"{name}=={version}"' for name in ("edgedet", *part.needs))
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
dependencies = [{dependencies}]

[tool.setuptools]
packages = [
{rooms["packages"]}]

[tool.setuptools.package-dir]
{rooms["package-dir"]}
[tool.setuptools.package-data]
{rooms["package-data"]}"""


def split(source: Path, targets: Path) -> None:
    """Make the source tree of every part, in a folder of ``targets`` by its name, from the clone's in ``source``,
    which becomes edgedet's own.

    Edgedet's keeps all files: its archive has the tests and the documentation, which are of all.
    """
    project = (source / "pyproject.toml").read_text("utf-8")
    for part in PARTS:
        target = targets / part.name
        for folder in part.rooms.values():
            _copy(source / folder, target / folder)
        _write(target / "LICENSE", (source / "LICENSE").read_text("utf-8"))
        _write(target / "README.md", part.readme)
        _write(target / "pyproject.toml", part_alone(part, project))
    _write(source / "pyproject.toml", without_parts(project))


def _room_line(part: Part) -> re.Pattern[str]:
    """Lines of a ``pyproject.toml`` that name a package of it."""
    return re.compile(rf'^ *"edgedet\.(?:{"|".join(part.rooms)})\b.*\n', re.MULTILINE)


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
