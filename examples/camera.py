"""Boxes from a camera: python examples/camera.py model.onnx [0 | street.mp4 | rtsp://…]; Ctrl-C ends it.

A camera or stream gives its newest frame, however slow the detector is, and is opened again when it breaks.
"""

import sys

from edgedet import Detector

artifact, source = sys.argv[1], (sys.argv[2:] or ["0"])[0]
with Detector(artifact, conf=0.4) as detector:
    for frame, detections in detector.stream(source, fault=lambda fault: print(fault.reason, file=sys.stderr)):
        for box, score, _, name in detections:
            print(frame.index, name, f"{score:.2f}", box.round().astype(int).tolist(), flush=True)
