"""The parser of a DeepStream folder, built with its own Makefile against stand-in headers, and run."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgedet.artifacts.card import ModelCard

HERE = Path(__file__).parent
DRIVER = "run_parser"
TYPES = {"float32": 0, "int32": 3}


@dataclass(frozen=True)
class Objects:
    """``boxes``: float32 [N, 4] as left, top, width, height in canvas pixels; ``scores`` [N]; ``labels`` [N]."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def compiler() -> str:
    """A C++ compiler, or a skip."""
    found = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if found is None or shutil.which("make") is None:
        pytest.skip("needs make and a C++ compiler (c++, g++, clang++ or CXX)")
    return found


def build_driver(folder: Path) -> None:
    """The program that calls a parser as nvinfer does, as ``DRIVER`` in ``folder``."""
    headers = HERE / "deepstream" / "sources" / "includes"
    command = [compiler(), "-std=c++17", "-Wall", "-Wextra", f"-I{headers}", str(HERE / "run_parser.cpp")]
    built = subprocess.run(
        [*command, "-o", str(folder / DRIVER), "-ldl"], capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0 and not built.stderr, built.stderr


def build_parser(folder: Path, *, flags: str = "-O2") -> Path:
    """``make`` in a folder of ours."""
    named = [f"CXX={compiler()}", f"CXXFLAGS={flags} -Werror", f"DEEPSTREAM={HERE / 'deepstream'}"]
    built = subprocess.run(
        ["make", "-B", "-C", str(folder), *named], capture_output=True, text=True, timeout=120, check=False
    )
    assert built.returncode == 0 and "warning" not in built.stderr, built.stderr
    return folder / "libedgedet_parser.so"


def run_parser(
    driver: Path,
    library: Path,
    card: ModelCard,
    outputs: dict[str, np.ndarray],
    work: Path,
    *,
    thresholds: list[float] | None = None,
    size: tuple[int, int] | None = None,
) -> Objects | str:
    """What the parser makes of the first frame of ``outputs``; what it complains of, where it refuses."""
    width, height = size or (card.input.width, card.input.height)
    thresholds = [card.output.score_threshold] * len(card.names) if thresholds is None else thresholds
    lines = [f"{width} {height} {len(thresholds)} " + " ".join(map(repr, thresholds))]
    for name, values in outputs.items():
        file = work / f"{name}.bin"
        file.write_bytes(np.ascontiguousarray(values[0]).tobytes())
        lines.append(f"{name} {TYPES[str(values.dtype)]} {' '.join(map(str, values.shape[1:]))} -1 {file}")
    request = work / "request.txt"
    request.write_text("\n".join(lines) + "\n")
    command = [str(driver), str(library), "NvDsInferParseCustomEdgedet", str(request)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 1:
        return done.stderr
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    numbers = np.array([[float.fromhex(word) for word in row[1:]] for row in rows], np.float32).reshape(-1, 5)
    return Objects(numbers[:, :4], numbers[:, 4], np.array([int(row[0]) for row in rows], np.int64))
