"""What no reader of the repository should meet."""

from __future__ import annotations

import re
from pathlib import Path

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


def test_no_merge_was_left_half_done() -> None:
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    texts = [path for path in files if path.suffix in TEXT or path.name in ("Makefile", "run")]
    assert len(texts) > 300
    marked = [str(path.relative_to(ROOT)) for path in texts if MARKER.search(path.read_text("utf-8", "replace"))]
    assert marked == []
