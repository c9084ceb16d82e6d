"""OpenVINO, imported so that what it runs stays on the device.

Its Python package imports ``openvino_telemetry``, which reports uses of the converter to Google Analytics. Nothing
here needs it, so the import is answered as on a machine that lacks it; where a program has imported OpenVINO
itself, that is left as it is.
"""

from __future__ import annotations

import sys

_TELEMETRY = "openvino_telemetry"

_hidden = _TELEMETRY not in sys.modules
if _hidden:
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # how the import system spells "not there"
try:
    import openvino
finally:
    if _hidden:
        del sys.modules[_TELEMETRY]

__all__ = ["openvino"]
