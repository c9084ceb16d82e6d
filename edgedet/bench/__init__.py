"""The latency suite: how long a frame really takes on this machine, from pixels to detections.

Published figures tend to time the network alone, on an empty image, and give a mean. Here everything from the
decoded frame to :class:`~edgedet.detections.Detections` counts, frames are real where some are given, no sample
is dropped, and what could not be measured says why instead of being left out.
"""
