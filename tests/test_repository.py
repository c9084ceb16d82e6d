"""What no reader of the repository should meet."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "benchmarks",
    "calibration",
    "docker",
    "docs",
    "edgedet",
    "examples",
    "export",
    "findings",
    "release",
    "runtimes",
    "tests",
)
TEXT = {".py", ".md", ".sh", ".toml", ".cu", ".h", ".cpp", ".css", ".js", ".Dockerfile", ".mk", ".json"}
TEXT |= {".yml", ".yaml", ".cff", ".txt", ".in"}
MARKER = re.compile(r"^(<{7}|>{7}|\|{7}) |^={7}$", re.MULTILINE)
MAX_LINES = 400
"""Maximum length of a module. A longer one is about more than one thing, and is parted by what it is about, not at
some line."""


def test_no_merge_was_left_half_done() -> None:
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    texts = [path for path in files if path.suffix in TEXT or path.name in ("Makefile", "run")]
    assert len(texts) > 300
    marked = [str(path.relative_to(ROOT)) for path in texts if MARKER.search(path.read_text("utf-8", "replace"))]
    assert marked == []


def test_no_module_is_too_long() -> None:
    try:
        listed = subprocess.run(["git", "ls-files", "-z", "--", "*.py"], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs git")
    modules = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    if not modules:
        pytest.skip("needs a git checkout")
    # A file that is deleted and not yet committed is still listed.
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in modules if path.is_file()}
    assert len(lengths) > 300
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MAX_LINES} == {}
