"""What is mutated, and what may come of it: an error of edgedet's, or the right answer.

A subject makes a case from a seed and says what came of it: ``error``, ``right``, or ``stated``, where the file
itself says something else now and edgedet keeps to it (another box in an annotation, another threshold on a card
without a digest): then the answer must be one that can be, and be given in time. Anything else raises.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.mutations.changed_artifacts import Cards, Engines, Foreign, Graphs, Resealed, Signatures
from tests.mutations.changed_inputs import Annotations, Pictures, References, Videos

Case = Callable[[Path, random.Random], str]

SUBJECTS: dict[str, Callable[[], Case]] = {
    "graph": lambda: Graphs("onnxruntime:cpu"),
    "graph by openvino": lambda: Graphs("openvino"),
    "card": Cards,
    "engine": lambda: Engines("file"),
    "plan and card": lambda: Engines("plan"),
    "signature": Signatures,
    "graph of another tool": lambda: Foreign("onnxruntime:cpu"),
    "the same by openvino": lambda: Foreign("openvino"),
    "sealed damage": Resealed,
    "picture": Pictures,
    "video": Videos,
    "annotation": Annotations,
    "boxes made elsewhere": References,
}
"""By name; made when they are first needed."""

SHARES = {
    "artifact": {
        "graph": 4,
        "graph by openvino": 1,
        "card": 4,
        "engine": 3,
        "plan and card": 2,
        "signature": 4,
        "graph of another tool": 1,
        "the same by openvino": 1,
        "sealed damage": 1,
    },
    "input": {"picture": 4, "video": 2, "annotation": 4, "boxes made elsewhere": 1},
}
"""How many of each kind's cases are of which subject."""
