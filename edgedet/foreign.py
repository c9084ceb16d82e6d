"""Model cards for artifacts other tools made, from the metadata they carry."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from edgedet.card import InputSpec, ModelCard, OutputSpec, ResizeRule
from edgedet.errors import ArtifactError

ULTRALYTICS_SCORE, ULTRALYTICS_IOU, ULTRALYTICS_DETECTIONS = 0.25, 0.7, 300
"""The defaults of Ultralytics' own predict call."""


def is_ultralytics(metadata: Mapping[str, Any]) -> bool:
    """Whether ``metadata`` is what Ultralytics' exporter writes (strings in ONNX, JSON values in engines)."""
    return all(key in metadata for key in ("stride", "task", "names", "imgsz"))


def ultralytics_card(
    metadata: Mapping[str, Any],
    *,
    where: str,
    input_name: str = "images",
    output_shape: Sequence[int | None] = (),
) -> ModelCard:
    """The card of a detector exported by Ultralytics.

    ``where``: the file, for messages. ``output_shape``: of its first output, by which heads with NMS inside
    ([N, K, 6]) are told from those without ([N, 4 + C, A]).

    Raises:
        ArtifactError: another task than detection, or metadata that cannot be read.
    """
    task = metadata["task"]
    if task != "detect":
        raise ArtifactError(
            f"{where} is an Ultralytics model for {task!r}; edgedet runs detectors (task 'detect') and has no "
            "output for masks, keypoints, rotated boxes or image classes"
        )
    names = _names(_value(metadata["names"], "names", where), where)
    size = _value(metadata["imgsz"], "imgsz", where)
    size = [size, size] if isinstance(size, int) else size
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise ArtifactError(f"{where}: metadata imgsz is {size!r}, expected [height, width]; export it again")
    batch = _value(metadata.get("batch", 1), "batch", where)
    arguments = _value(metadata.get("args", "{}"), "args", where)
    arguments = arguments if isinstance(arguments, dict) else {}
    nms_inside = bool(arguments.get("nms"))
    end2end = nms_inside or str(metadata.get("end2end", False)) == "True"
    if len(output_shape) == 3 and output_shape[2] is not None:
        end2end = output_shape[2] == 6 and output_shape[1] != 4 + len(names)
    baked = arguments.get("conf")
    return ModelCard(
        family="yolo",
        architecture=str(metadata.get("description") or "Ultralytics detector").replace("Ultralytics ", "").strip(),
        names=names,
        input=InputSpec(
            height=size[0],
            width=size[1],
            batch=batch if isinstance(batch, int) and batch > 0 else 1,
            name=input_name,
            dtype="float32",
            layout="NCHW",
            colour="RGB",
            normalise="host",
            scale=1 / 255,
        ),
        resize=ResizeRule("letterbox", pad=(114.0, 114.0, 114.0), place="center", rounding="round"),
        output=OutputSpec(
            format="yolo_end2end" if end2end else "yolo_xywh",
            score_threshold=float(baked) if nms_inside and isinstance(baked, float) else ULTRALYTICS_SCORE,
            iou_threshold=ULTRALYTICS_IOU,
            max_detections=ULTRALYTICS_DETECTIONS,
            label_mode="best",
        ),
        provenance={
            "exporter": f"ultralytics {metadata.get('version', 'of unknown version')}",
            "licence": str(metadata.get("license", "")),
            "nms": "graph" if nms_inside else "none" if end2end else "host",
        },
    )


def _value(text: Any, key: str, where: str) -> Any:
    """Ultralytics writes Python literals; evaluated as literals only, never as code."""
    if not isinstance(text, str):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ArtifactError(
            f"{where}: Ultralytics metadata {key!r} is {text[:60]!r}, expected a Python literal; export it again"
        ) from error


def _names(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(str(name) for name in value)
    # Engines carry JSON, whose keys are strings.
    indices = {int(key): str(name) for key, name in value.items()} if isinstance(value, dict) else {}
    if not indices or sorted(indices) != list(range(len(indices))):
        raise ArtifactError(f"{where}: its class names are {str(value)[:60]!r}, expected {{0: 'name', ...}}")
    return tuple(indices[index] for index in range(len(indices)))
