"""The tiny detector, for every test of this room."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module ``tiny_detector`` beside this file."""
    path = Path(__file__).with_name("tiny_detector.py")
    spec = importlib.util.spec_from_file_location("tiny_detector", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_detector"] = module
    spec.loader.exec_module(module)
    return module
