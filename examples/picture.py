"""Make the picture of the README: held-out scenes with what the sample detector finds in them.

python examples/picture.py [--out docs/images/sample.jpg]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from edgedet import Detector
from edgedet.export.pipeline import export_model
from examples.demo import CONF, SAMPLE
from examples.render import SEED_STEP
from examples.scenes.scene import render_scene

VALIDATION_SEED = 2
SCENES = (3, 10, 14, 25, 31, 40)


def main() -> int:
    """Two rows of three scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "sample.jpg")
    parser.add_argument(
        "--scenes", type=int, nargs="+", default=SCENES, help="numbers of held-out scenes, an even count"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        graph = export_model(SAMPLE, Path(folder) / "sample.onnx").path
        with Detector(graph, conf=CONF) as detector:
            images = [render_scene(VALIDATION_SEED * SEED_STEP + number).image for number in arguments.scenes]
            pictures = [detector.detect(image).plot(image) for image in images]
    half = len(pictures) // 2
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    montage = np.vstack([np.hstack(pictures[:half]), np.hstack(pictures[half:])])
    cv2.imwrite(str(arguments.out), montage, [cv2.IMWRITE_JPEG_QUALITY, 82])
    return 0


if __name__ == "__main__":
    sys.exit(main())
