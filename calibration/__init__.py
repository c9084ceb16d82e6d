"""INT8 and FP16: ranges from calibration frames, Q/DQ placement, and the accuracy guard.

The entry points are :func:`edgedet.calibration.pipeline.quantise` (INT8) and
:func:`edgedet.calibration.fp16.to_half` (FP16).
"""
