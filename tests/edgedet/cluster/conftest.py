"""Workers in this process, and pictures for them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest

from edgedet.cluster.detector import ClusterDetector
from edgedet.cluster.session import Cluster
from edgedet.cluster.worker import Answer, answers, open_order
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph


class InThisProcess(ClusterDetector):
    """Its one worker is here."""

    lose: int | None = None
    twice: int | None = None

    def _rows(self, paths: Sequence[Path]) -> Generator[tuple[int, Answer], None, None]:
        with open_order(self._order) as detector:
            for number, path in enumerate(paths):
                (answer,) = answers(detector, [str(path.absolute())])
                if number != self.lose:
                    yield number, answer
                if number == self.twice:
                    yield number, answer


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(SimpleNamespace(put=lambda value: value, __version__="2"), workers=2, fixed=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine labelled pictures, one of which is none, and a detector."""
    (tmp_path / "photos").mkdir()
    lines = []
    for number in range(9):
        box = (10 + number, 10, 50, 40)
        cv2.imwrite(str(tmp_path / f"photos/{number}.png"), frame_with_rectangle(60, 80, box, channel=number % 3))
        lines.append(f"{number}.png,{','.join(map(str, box))},{('blue', 'green', 'red')[number % 3]}")
    (tmp_path / "photos/annotation.txt").write_text("\n".join(lines))
    save_rectangle_graph(tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path
