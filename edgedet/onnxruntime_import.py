"""ONNX Runtime, imported so that what it runs stays on the device, and set up for one that runs on a battery.

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

__all__ = ["onnxruntime", "session_options"]

SPINNING_VARIABLE = "EDGEDET_SPINNING"


def session_options(threads: int | None) -> onnxruntime.SessionOptions:
    """What every session starts from. ``threads``: None for one per physical core.

    By default the worker threads go on looking for work for some 0.1 s after a run, so that between the frames of
    a camera all cores are at full power. Here they sleep as soon as a run ends. Within a run they spin: without, a
    run takes 8 to 11 % longer on a quiet machine, but a third less on one that is busy with other things, which
    ``EDGEDET_SPINNING=0`` is for.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if os.environ.get(SPINNING_VARIABLE) == "0":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    return options
