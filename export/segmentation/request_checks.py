"""What can be asked for where a network gives a class for every pixel."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import UsageError

from ..options import ExportOptions

OF_DETECTORS = (
    "family", "outputs", "proposals", "outside_proposals", "conf", "iou", "max_detections", "label_mode",
    "reference", "reference_images", "input_dtype",
)  # fmt: skip
"""Options that have no meaning for a class of every pixel."""


def require_for_segmenters(options: ExportOptions, path: Path) -> None:
    """Check that nothing is asked for that only detectors have.

    Raises:
        UsageError: something is.
    """
    wrong = next((name for name in OF_DETECTORS if getattr(options, name) is not None), None)
    if wrong is not None:
        raise UsageError(
            f"--{wrong.replace('_', '-')} is for detectors; {path} holds a segmenter, which gives a class for "
            "every pixel: leave the option out"
        )
    if options.target == "ncnn":
        raise UsageError(
            f"{path} holds a segmenter, and files for ncnn are of detectors alone: write a graph (.onnx) or an "
            "engine"
        )
