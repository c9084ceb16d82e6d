"""A grid of detectors and settings: every cell exported, evaluated and measured, and resumed after a kill."""

from edgedet.datasets import __version__ as __version__  # which refuses to be another than the rest's
