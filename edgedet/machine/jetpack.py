"""Which Jetson this is, and what goes with what on it: one table, and the files a board names itself in.

A release of JetPack fixes what lies below: Jetson Linux (L4T), CUDA, TensorRT and the Python that its bindings are
made for. What differs from it on a board is the usual reason why an engine does not build or open there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

OLDEST_TENSORRT = "10.3"
"""The oldest TensorRT that engines are built with and run on here."""


@dataclass(frozen=True)
class DeepStream:
    """A release of DeepStream for a JetPack, and the TensorRT whose engines it opens."""

    version: str
    tensorrt: str


@dataclass(frozen=True)
class JetPack:
    """A row of :data:`TABLE`: what goes together.

    Attributes:
        name: the releases of JetPack the row is for.
        l4t: how their release of Jetson Linux begins.
        tensorrt, cuda, python: versions, as far as they are fixed.
        ubuntu: release of the system.
        boards: chips it is made for (see :data:`CHIPS`).
        archive: suite of NVIDIA's archive of packages, ``https://repo.download.nvidia.com/jetson/common``.
        onnxruntime: newest ONNX Runtime with a wheel for that Python; empty: no such bound.
        deepstream: what is made for it.
        releases: release of Jetson Linux to that of JetPack.
    """

    name: str
    l4t: str
    tensorrt: str
    cuda: str
    python: str
    ubuntu: str
    boards: tuple[str, ...]
    archive: str
    onnxruntime: str = ""
    deepstream: tuple[DeepStream, ...] = ()
    releases: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_engines(self) -> bool:
        """Whether its TensorRT is new enough for edgedet."""
        return _numbers(self.tensorrt) >= _numbers(OLDEST_TENSORRT)


TABLE = (
    # name, Jetson Linux, TensorRT, CUDA, Python, Ubuntu, boards, archive
    JetPack(
        "4.6", "32.7", "8.2", "10.2", "3.6", "18.04", ("Nano", "TX2", "Xavier"), "r32.7",
        releases={"32.7.1": "4.6.1", "32.7.2": "4.6.2", "32.7.3": "4.6.3", "32.7.4": "4.6.4", "32.7.5": "4.6.5"},
    ),
    JetPack(
        "5.0", "35.1", "8.4", "11.4", "3.8", "20.04", ("Xavier", "Orin"), "r35.1", releases={"35.1.0": "5.0.2"},
    ),
    JetPack(
        "5.1", "35", "8.5", "11.4", "3.8", "20.04", ("Xavier", "Orin"), "r35.4",
        releases={"35.2.1": "5.1", "35.3.1": "5.1.1", "35.4.1": "5.1.2", "35.5.0": "5.1.3"},
    ),
    JetPack(
        "6.0", "36.3", "8.6", "12.2", "3.10", "22.04", ("Orin",), "r36.3", onnxruntime="1.23.2",
        releases={"36.3.0": "6.0"},
    ),
    JetPack(
        "6.1 to 6.2", "36.4", "10.3", "12.6", "3.10", "22.04", ("Orin",), "r36.4", onnxruntime="1.23.2",
        releases={"36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1", "36.4.7": "6.2.1"},
    ),
    JetPack(
        "6.2.2 to 6.2.3", "36.5", "10.3", "12.6", "3.10", "22.04", ("Orin",), "r36.5", onnxruntime="1.23.2",
        releases={"36.5.0": "6.2.2", "36.5.2": "6.2.3"},
    ),
    JetPack(
        "7.0", "38.2", "10.13", "13.0", "3.12", "24.04", ("Thor",), "r38.2",
        deepstream=(DeepStream("8.0", "10.13.2"),), releases={"38.2.0": "7.0", "38.2.1": "7.0"},
    ),
    JetPack(
        "7.1", "38.4", "10.13", "13.0", "3.12", "24.04", ("Thor",), "r38.4",
        deepstream=(DeepStream("9.0", "10.14.1"),), releases={"38.4.0": "7.1"},
    ),
    JetPack(
        "7.2", "39.2", "10.16.2", "13.2", "3.12", "24.04", ("Orin", "Thor"), "r39.2",
        deepstream=(DeepStream("9.1", "10.16.1"), DeepStream("9.2", "10.16.1")),
        releases={"39.2.0": "7.2", "39.2.1": "7.2.1"},
    ),
)  # fmt: skip
"""What goes with what, oldest first. Sources, as of November 2026:

- releases: NVIDIA's JetPack archive; 36.4.7, an update of 6.2.1, from a board's own packages;
- 7.2: the packages of ``jetson/common r39.2`` (TensorRT 10.16.2.10, CUDA 13.2, on Orin and Thor: NVIDIA/TensorRT
  issue 4832); 7.2.2, which TensorRT 11.4.1 asks for, is named by NVIDIA's support matrix and was not seen;
- 7.0 and 7.1: NVIDIA's download pages, and TensorRT Edge-LLM's limitations (10.13.3.9 in 7.1);
- 6.1 and later 6.x: Torch-TensorRT's page on JetPack; 6.0 (TensorRT 8.6) and older: their release notes;
- ONNX Runtime: 1.23.2 is the last on PyPI with a wheel for Python 3.10 and arm64;
- DeepStream: its migration guides (8.0, 9.2) and container recipes (9.1); 9.0 from NVIDIA's guide for DeepStream's
  developers, which names 10.14.1.48 for x86 and arm64, although JetPack 7.1 itself brings 10.13."""

MAJORS = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7", "39": "7"}
"""Major release of Jetson Linux (L4T) to that of JetPack, for releases that the table does not know."""


@dataclass(frozen=True)
class Chip:
    """A system on chip, by its name in the device tree, and its GPU's compute capability."""

    name: str
    compatible: str
    compute_capability: str


CHIPS = (
    Chip("Nano", "nvidia,tegra210", "5.3"),
    Chip("TX2", "nvidia,tegra186", "6.2"),
    Chip("Xavier", "nvidia,tegra194", "7.2"),
    Chip("Orin", "nvidia,tegra234", "8.7"),
    Chip("Thor", "nvidia,tegra264", "11.0"),
)


@dataclass(frozen=True)
class Board:
    """A Jetson, as far as its files tell.

    Attributes:
        model: the device tree's name of the board; empty where it is not shown, as in most containers.
        chip: None where the device tree is not shown or names one that is not known here.
        l4t: release of Jetson Linux, None where nothing readable says it.
        jetpack: release of JetPack, as exactly as it can be told; None where it cannot.
        row: the table's row; None for a release it does not know.
        tensorrt: version of JetPack's own TensorRT packages; None where they are not installed.
    """

    model: str
    chip: Chip | None
    l4t: str | None
    jetpack: str | None
    row: JetPack | None
    tensorrt: str | None = None


def recognise(root: Path = Path("/")) -> Board | None:
    """The board this is, or None on any other machine. Damaged files count as absent; the next best is read.

    Args:
        root: where ``/etc``, ``/proc`` and ``/var`` are found.
    """
    names = _read(root / "proc/device-tree/compatible").split("\0")
    model = _read(root / "proc/device-tree/model").strip("\0\n ")
    packages = _installed(_read(root / "var/lib/dpkg/status"))
    release = _read(root / "etc/nv_tegra_release")
    l4t = _release(release) or _leading(packages.get("nvidia-l4t-core", ""))
    chip = next((chip for chip in CHIPS if chip.compatible in names), None)
    if not release and l4t is None and chip is None and not model.startswith("NVIDIA Jetson"):
        return None
    row = row_of(l4t)
    return Board(
        model=model,
        chip=chip,
        l4t=l4t,
        jetpack=_jetpack(l4t, row, packages),
        row=row,
        tensorrt=_leading(packages.get("libnvinfer10", packages.get("libnvinfer8", ""))),
    )


def row_of(l4t: str | None) -> JetPack | None:
    """The row of the table for a release of Jetson Linux.

    >>> row_of("36.4.7").tensorrt, row_of("39.2.1").tensorrt, row_of("40.1.0")
    ('10.3', '10.16.2', None)
    """
    if l4t is None:
        return None
    fitting = [row for row in TABLE if f"{l4t}.".startswith(f"{row.l4t}.")]
    return max(fitting, key=lambda row: len(row.l4t), default=None)


@dataclass(frozen=True)
class Compared:
    """One thing that goes with a JetPack, and what there is.

    ``found``: None where nothing was found. ``cost``: what it costs if they differ.
    """

    what: str
    expected: str
    found: str | None
    agrees: bool
    cost: str = ""


def compared(row: JetPack, found: Mapping[str, str | None]) -> Iterator[Compared]:
    """A row of the table against what there is.

    Args:
        row: what goes with the board's JetPack.
        found: versions of ``tensorrt``, ``cuda`` (the newest the driver supports) and ``python``; None or
            missing where there is none.
    """
    tensorrt, cuda, python = (found.get(name) or None for name in ("tensorrt", "cuda", "python"))
    cost = "an engine opens only with the TensorRT it was built with"
    if tensorrt is not None and _numbers(tensorrt) >= (11,):
        cost = "NVIDIA supports TensorRT 11 on Jetsons from 11.4.1 and JetPack 7.2.2 on"
    yield Compared("TensorRT", row.tensorrt, tensorrt, _begins(tensorrt, row.tensorrt), cost)
    # A newer driver library of the same major (cuda-compat) runs all that the older one does.
    enough = cuda is not None and _begins(cuda, row.cuda.split(".")[0]) and _numbers(cuda) >= _numbers(row.cuda)
    yield Compared("CUDA", row.cuda, cuda, enough, "the driver's; libraries of a newer CUDA do not start on it")
    yield Compared(
        "Python",
        row.python,
        python,
        _begins(python, row.python),
        "JetPack's TensorRT can be imported by that alone",
    )


def _begins(version: str | None, with_version: str) -> bool:
    """Whether a version is one of a shorter one: 10.3.0.30 of 10.3, not 10.30."""
    wanted = _numbers(with_version)
    return version is not None and _numbers(version)[: len(wanted)] == wanted


def _numbers(version: str) -> tuple[int, ...]:
    leading = _leading(version)
    return tuple(int(number) for number in leading.split(".")) if leading else ()


def _leading(version: str) -> str | None:
    """The number that a version begins with: 39.2.1 of ``39.2.1-20260806224157``, 7.2.1 of ``7.2.1-b49``."""
    found = re.match(r"\d+(\.\d+)*", version)
    return found.group() if found else None


def _release(text: str) -> str | None:
    # "# R36 (release), REVISION: 4.3, GCID: …, BOARD: generic, EABI: aarch64, DATE: …"
    found = re.search(r"\bR(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", text)
    return ".".join(found.groups()) if found else None


def _jetpack(l4t: str | None, row: JetPack | None, packages: Mapping[str, str]) -> str | None:
    if row is not None and l4t is not None and l4t in row.releases:
        return row.releases[l4t]
    whole = _leading(packages.get("nvidia-jetpack", ""))
    if whole is not None:
        return whole
    if row is not None:
        return row.name
    return MAJORS.get(l4t.split(".")[0]) if l4t is not None else None


def _installed(status: str) -> dict[str, str]:
    """Versions of NVIDIA's packages that tell a JetPack, from dpkg's own file."""
    found = {}
    for entry in re.split(r"\n\n+", status):
        fields = dict(re.findall(r"^(Package|Status|Version): (.+)$", entry, re.MULTILINE))
        name = fields.get("Package", "")
        if name in PACKAGES and fields.get("Status", "").endswith(" installed") and "Version" in fields:
            found[name] = fields["Version"]
    return found


PACKAGES = ("nvidia-l4t-core", "nvidia-jetpack", "libnvinfer10", "libnvinfer8")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
