"""What a detector finds on pictures, written down: runs on either machine, with the device install alone.

python boxes.py MODEL RUNTIME OUT PICTURE…
"""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import numpy as np

from edgedet import Detector, open_source


def main(model: str, runtime: str, out: str, *pictures: str) -> None:
    """Boxes, scores and labels of every picture, with the number of its picture; and what found them."""
    boxes, scores, labels, images = [], [], [], []
    # In qemu, threads that look for work take the time from the one that has some.
    with Detector(model, runtime=runtime, threads=1) as detector, open_source(list(pictures)) as frames:
        for frame in frames:
            found = detector.detect(frame.image)
            boxes.append(found.boxes)
            scores.append(found.scores)
            labels.append(found.labels)
            images.append(np.full(len(found), frame.index, np.int32))
        versions = " ".join(
            f"{name} {metadata.version(name)}" for name in ("numpy", "opencv-python-headless", runtime)
        )
        np.savez(
            out,
            boxes=np.concatenate(boxes),
            scores=np.concatenate(scores),
            labels=np.concatenate(labels),
            images=np.concatenate(images),
            pictures=len(pictures),
            machine=platform.machine(),
            by=detector.description,
            versions=f"Python {platform.python_version()}, {versions}",
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
