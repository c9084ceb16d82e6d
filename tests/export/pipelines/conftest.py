"""The program that calls a parser as nvinfer does, compiled once in a test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.export.pipelines.parser_runner import DRIVER, build_driver, compiler
from tests.once import once


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its file; skips the test where there is no compiler."""
    compiler()
    return once(tmp_path_factory, "parser-driver", build_driver) / DRIVER
