"""The door of the room: the names that ``edgedet.masks`` always had, and nothing loaded before it is asked for."""

from __future__ import annotations

import subprocess
import sys

import edgedet
from edgedet import masks


def test_the_names_are_those_of_the_package() -> None:
    assert masks.Masks is edgedet.Masks and masks.Region is edgedet.Region
    assert masks.ClassMap is edgedet.ClassMap
    assert issubclass(masks.BoxMasks, masks.Masks) and issubclass(masks.CanvasMasks, masks.Masks)
    assert set(masks.__all__) <= set(dir(masks))


def test_run_lengths_load_no_opencv() -> None:
    code = "import sys; import edgedet.masks.run_lengths; print('cv2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
