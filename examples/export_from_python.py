"""A checkpoint to an INT8 graph and its mAP: python examples/export_from_python.py model.pt photos/ val/

What ``edgedet export model.pt --int8 --calib photos/`` and ``edgedet eval`` do, for programs that want the numbers.
"""

import sys
from pathlib import Path

from edgedet import Detector
from edgedet.datasets import read_dataset
from edgedet.evaluate import evaluate
from edgedet.export import ExportOptions, export_model


def main() -> None:
    checkpoint, photos, labelled = sys.argv[1:]
    output = Path(checkpoint).with_name(f"{Path(checkpoint).stem}-int8.onnx")
    report = export_model(Path(checkpoint), output, ExportOptions(precision="int8", calib=photos))
    for note in report.notes:
        print(note)
    # The threshold under which precisions are published; the detector's own hides what they count.
    with Detector(report.path, conf=0.001) as detector:
        result = evaluate(detector, read_dataset(labelled))
    print(f"{report.path}: mAP {result.coco.map:.3f}, AP50 {result.coco.ap50:.3f}")


if __name__ == "__main__":
    main()
