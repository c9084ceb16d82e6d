"""The sample detector as a graph, made once for every test that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.once import exported

if TYPE_CHECKING:
    from edgedet.export.options import ExportReport


@pytest.fixture(scope="session")
def sample_export(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """The sample SSDLite, exported as it is; the graph is for reading only."""
    pytest.importorskip("edgedet.export.checkpoint_source", reason="needs edgedet[export]")
    return exported(tmp_path_factory, shared / "models/ssdlite320_mobilenet_v3_large_bccd.pt")
