"""Stands for a folder of unpacked libraries: Python imports this first of all in every process that has it on its
path, and in the processes of a run's steps there are a GPU and a TensorRT from then on, doubles of them."""

from __future__ import annotations

import os

if "GPU_DAY_RESULT" in os.environ:
    from tests.benchmarks.gpu_day.pretended_gpu import pretend

    pretend(os.environ)
