"""What a file of the wrong kind is: how it is made, and the words that an export must complain with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SSDLITE = "ssdlite320_mobilenet_v3_large"
Write = Callable[[Path], None]


@dataclass(frozen=True)
class WrongFile:
    """``write`` makes the file; ``options`` go to ``edgedet export``; ``words``: a pattern in the complaint."""

    name: str
    write: Write
    words: str
    options: tuple[str, ...] = ()
    inspected: bool = True
    """Whether ``inspect`` refuses it too: a graph that cannot be exported may still be looked at."""


def of_bytes(content: bytes) -> Write:
    return lambda path: path.write_bytes(content) and None


def of_torch(content: Any, **how: Any) -> Write:
    return lambda path: torch.save(content, path, **how)
