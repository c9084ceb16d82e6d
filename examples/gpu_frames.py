"""Frames that are on the GPU already, to boxes, without a copy to the host: python examples/gpu_frames.py model.trt

Any library that speaks DLPack will do (PyTorch, CuPy, JAX, Numba); here PyTorch makes the frame, in place of a
video decoder or a camera's ISP. Needs an NVIDIA GPU and an engine: edgedet export model.pt -o model.trt
"""

import sys

try:
    import torch
except ModuleNotFoundError:
    sys.exit("gpu_frames.py needs PyTorch, which makes the frame: pip install torch")

from edgedet import Detector

if not torch.cuda.is_available():
    sys.exit("gpu_frames.py needs an NVIDIA GPU, and PyTorch finds none (torch.cuda.is_available() is False)")
frame = torch.randint(0, 256, (1080, 1920, 3), dtype=torch.uint8, device="cuda")  # BGR
with Detector(sys.argv[1]) as detector:
    detector.warmup()
    for _ in range(100):
        detections = detector.detect(frame)  # resized and suppressed by kernels; only the boxes come to the host
    print(detections, detector.last_timing)
