"""ONNX Runtime, imported so that what it runs stays on the device.

Since 1.29 its Linux wheels report by default: names and hashes of the models that are opened, and an identifier
kept in the user's cache folder, to a server of Microsoft's. A detector worn by somebody tells nobody anything, so
that is switched off before the library loads, for this process and those it starts; ``ORT_DISABLE_TELEMETRY`` set
beforehand is respected.
"""

from __future__ import annotations

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime  # the library reads the variable as it loads

if os.environ["ORT_DISABLE_TELEMETRY"] != "0":
    # Where somebody else had loaded it already.
    onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
