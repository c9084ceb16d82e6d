"""``gpu_day`` is a package beside a script and part of no installation: tests find it as its steps do."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
# Last: other scripts there are called like modules elsewhere.
sys.path.append(str(BENCHMARKS))
