"""Fixtures every room's tests may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real images and trained detectors, which is not part of the repository."""
    folder = Path(os.environ.get("EDGEDET_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    if not (folder / "models").is_dir() or not (folder / "data").is_dir():
        pytest.skip(
            f"needs real images and trained detectors: no data/ and models/ in {folder} (set EDGEDET_SHARED)"
        )
    return folder
