"""What PaddleDetection writes beside an exported network: ``infer_cfg.yml``, of which its pixels are read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import ArtifactError

NAME = "infer_cfg.yml"
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PaddleSettings:
    """``mean`` and ``std`` of pixels of 0 to 1, RGB."""

    mean: Triple
    std: Triple


def read_settings(graph: Path) -> PaddleSettings | None:
    """The settings beside ``graph``, None where there are none.

    Only ``NormalizeImage`` is read, line by line: the file is YAML as PaddleDetection's exporter lays it out.

    Raises:
        ArtifactError: a normalisation that is not understood.
    """
    path = graph.with_name(NAME)
    if not path.is_file():
        return None
    text = path.read_text(errors="replace")
    found = re.search(r"^- .*?(?=^- |^\S)", text[text.find("Preprocess:") :], re.M | re.S)
    steps = re.findall(r"^- (?:.*\n)(?:^  .*\n?)*", text, re.M)
    step = next((part for part in steps if "NormalizeImage" in part), None)
    if found is None or step is None:
        raise ArtifactError(f"{path} says no NormalizeImage under Preprocess; export it from PaddleDetection again")
    if re.search(r"is_scale:\s*false", step, re.I):
        raise ArtifactError(f"{path} has is_scale: false, pixels of 0 to 255; edgedet reads those of 0 to 1 only")
    plain = re.search(r"norm_type:\s*none", step) is not None
    mean = (0.0, 0.0, 0.0) if plain else _triple(step, "mean", path)
    std = (1.0, 1.0, 1.0) if plain else _triple(step, "std", path)
    return PaddleSettings(mean, std)


def _triple(step: str, key: str, path: Path) -> Triple:
    block = re.search(rf"{key}:\s*(\[[^\]]*\]|(?:\n\s+-\s*[-+.\deE]+)+)", step)
    numbers = (
        [float(value) for value in re.findall(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?", block.group(1))] if block else []
    )
    if len(numbers) != 3:
        raise ArtifactError(f"{path}: {key} of NormalizeImage is {numbers}, expected three numbers")
    return numbers[0], numbers[1], numbers[2]
