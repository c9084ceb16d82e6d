"""One tree, released as two: ``edgedet``, which a device needs, and ``edgedet-export``, which it does not.

A clone is one distribution, and so is what pip builds from one. For a release, ``dist.py`` builds two source trees,
whose ``pyproject.toml`` are the clone's with the rooms of the exporter in one of them, and everything else in the
other. Both wheels install into the one package ``edgedet`` and share no file. Why: docs/decisions/012.
"""

from __future__ import annotations

import re
from pathlib import Path

EXPORTER = "edgedet-export"
ROOMS = {"calibration": "calibration", "export": "export", "onnx_graph": "edgedet/onnx_graph"}
"""What lies in it, ``edgedet.calibration`` and so on, and the folder of each in a clone."""

EXTRAS = ("export", "tensorrt", "tensorrt-rtx")
"""Extras that bring it: of checkpoints, and of engines, which are built on the device itself."""

README = """\
# edgedet-export

The half of [edgedet](https://pypi.org/project/edgedet/) that exports: checkpoints to graphs, graphs to engines,
INT8 and FP16. It is installed by `pip install 'edgedet[export]'`, or by `pip install 'edgedet[tensorrt]'` where
engines are built on the device, always in the version of edgedet itself, and is of no use alone.
"""

_ROOM_LINE = re.compile(rf'^ *"edgedet\.(?:{"|".join(ROOMS)})\b.*\n', re.MULTILINE)


def version_of(project: str) -> str:
    """The version in the text of a ``pyproject.toml``."""
    return _only(r'^version = "([^"]+)"$', project)


def without_exporter(project: str) -> str:
    """The clone's ``pyproject.toml`` without the exporter's rooms, and with extras that bring them."""
    needed = f'"{EXPORTER}=={version_of(project)}"'
    for extra in EXTRAS:
        project, count = re.subn(rf"^{extra} = \[", rf"\g<0>{needed}, ", project, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"pyproject.toml has {count} extras {extra}, expected one line '{extra} = [...'")
    return _ROOM_LINE.sub("", project)


def exporter_alone(project: str) -> str:
    """A ``pyproject.toml`` of the exporter's rooms alone, made of the clone's."""
    version = version_of(project)
    rooms = {"packages": "", "package-dir": "", "package-data": ""}
    table = project[project.index("[tool.setuptools]\n") :]
    for key, end in (("packages", "]\n"), ("package-dir", "\n\n"), ("package-data", "\n\n")):
        start = re.search(rf"^(?:{key} = \[|\[tool\.setuptools\.{key}\])\n", table, re.MULTILINE)
        if start is None:
            raise ValueError(f"pyproject.toml has no {key} of setuptools")
        rooms[key] = "".join(_ROOM_LINE.findall(table[start.end() : table.index(end, start.end()) + len(end)]))
    build_system = project[: project.index("[project]\n")]
    licence, python, classifiers = (
        _only(pattern, project)
        for pattern in ('^license = (".*")$', '^requires-python = (".*")$', r"^classifiers = (\[.*?^\])$")
    )
    return f"""\
{build_system}[project]
name = "{EXPORTER}"
version = "{version}"
description = "The exporting half of edgedet: checkpoint to ONNX to TensorRT, INT8 and FP16."
readme = "README.md"
license = {licence}
license-files = ["LICENSE"]
requires-python = {python}
classifiers = {classifiers}
dependencies = ["edgedet=={version}"]

[tool.setuptools]
packages = [
{rooms["packages"]}]

[tool.setuptools.package-dir]
{rooms["package-dir"]}
[tool.setuptools.package-data]
{rooms["package-data"]}"""


def split(source: Path, target: Path) -> None:
    """Make the exporter's source tree in ``target`` from the clone's in ``source``, which becomes the other half's.

    The other half keeps all files: its archive has the tests and the documentation, which are of both.
    """
    project = (source / "pyproject.toml").read_text("utf-8")
    for folder in ROOMS.values():
        _copy(source / folder, target / folder)
    _write(target / "LICENSE", (source / "LICENSE").read_text("utf-8"))
    _write(target / "README.md", README)
    _write(target / "pyproject.toml", exporter_alone(project))
    _write(source / "pyproject.toml", without_exporter(project))


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
