"""What a training script saved, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path
