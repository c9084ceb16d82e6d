"""What happens in front of a camera: objects followed from frame to frame, and alerts that begin and end.

>>> from edgedet.watching import AlertRule
>>> AlertRule(("camera",), frames=(3, 5)).label
'camera'
"""

from __future__ import annotations

from edgedet.watching.alert import AlertEvent
from edgedet.watching.region import Region
from edgedet.watching.rule import AlertRule
from edgedet.watching.tracker import Tracker
from edgedet.watching.watcher import Watcher

__all__ = ["AlertEvent", "AlertRule", "Region", "Tracker", "Watcher"]
