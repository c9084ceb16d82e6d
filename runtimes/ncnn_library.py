"""ncnn, imported so that its threads sleep where they have to wait for each other.

Its wheels for Linux bring an OpenMP of their own (libgomp), whose threads turn in circles at the end of every
layer until the last is done. Where another program has a share of the cores, the one that is waited for does not
get to run: SSDLite on two threads took 640 ms on a busy machine, and 100 with sleeping ones (64 on one thread);
and between the frames of a camera all cores are at full power. ``OMP_WAIT_POLICY`` or ``GOMP_SPINCOUNT`` set
beforehand are respected; what other OpenMPs in the process read later is as it was.
"""

from __future__ import annotations

import os

_POLICY, _OWN = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"

_set = _POLICY not in os.environ and _OWN not in os.environ
if _set:
    os.environ[_POLICY] = "PASSIVE"
try:
    import ncnn  # loads its OpenMP, which reads the variable once
finally:
    if _set:
        del os.environ[_POLICY]

__all__ = ["ncnn"]
