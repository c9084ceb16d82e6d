"""Is an artifact what edgedet wrote, to the bit? Graphs by their seal, engines by the digests on their
cards, files for ncnn by the checksums of their archive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgedet.artifacts.engine_file import read_engine_header, read_plan
from edgedet.artifacts.ncnn_file import read_ncnn
from edgedet.artifacts.seal import require_seal


def require_whole(
    path: str | Path, kind: Literal["graph", "engine", "ncnn", "checkpoint"], content: bytes | None = None
) -> str:
    """Check an artifact's digest of itself.

    Args:
        path: the artifact.
        kind: what it is (:func:`edgedet.opening.artifact_kind`).
        content: its bytes, where they are at hand.

    Returns:
        What was checked, in words; empty where it states no digest.

    Raises:
        ArtifactError: it is damaged.
    """
    if kind == "graph":
        return "network and card are as edgedet wrote them" if require_seal(path, content) else ""
    if kind == "engine":
        engine = read_engine_header(path, content)
        plan, card = "plan_sha256" in engine.facts, engine.header.get("sealed") is not None
        read_plan(engine)
        if plan and card:
            return "plan and card are as edgedet wrote them"
        return "the plan is as edgedet wrote it; its card states no digest of itself" if plan else ""
    if kind == "ncnn":
        read_ncnn(Path(path), content)
        return "card, layers and weights have the checksums that the archive states"
    return ""
