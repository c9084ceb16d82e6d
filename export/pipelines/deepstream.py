"""DeepStream's folder: nvinfer's configuration, the graph, class names, and the source of a parser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from edgedet import __version__
from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.engine_file import description
from edgedet.errors import UsageError
from edgedet.postprocess import ULTRALYTICS_CLASS_STEP

from ..embedded_card import graph_bytes
from .nvinfer_frames import USUAL_FRAMES, Frame, differences, nvinfer_geometry, nvinfer_rule, placing_lines
from .templates import filled, verbatim

PARSER = "NvDsInferParseCustomEdgedet"
LIBRARY = "libedgedet_parser.so"
SHOWN = 0.1
"""Score threshold from which a detector's boxes can be shown as they come."""

PRODUCTS = (LIBRARY, "*.engine")
"""What ``make`` and nvinfer's first run leave in the folder."""


def require_feedable(card: ModelCard) -> None:
    """Refuse what nvinfer cannot do, before any work.

    Raises:
        UsageError: frames, class names or outputs that it cannot take.
    """
    nvinfer_rule(card)
    if card.output.format not in ("candidates", "detections"):
        raise UsageError(
            f"the parser for DeepStream knows candidates and detections, not {card.output.format}: export the "
            "model to a graph of edgedet's first"
        )
    lost = [what for what, there in (("masks", card.output.masks), ("keypoints", card.output.keypoints)) if there]
    if lost:
        raise UsageError(
            f"the parser for DeepStream gives boxes, and this network's {' and '.join(lost)} would be computed and "
            "lost: export a detector of boxes alone, or run this one by edgedet or --for triton"
        )
    for name in card.names:
        if not name.strip() or set(name) & set(";\n\r"):
            raise UsageError(
                f"the class name {name!r} cannot stand in labels.txt, where nvinfer skips empty lines and splits "
                "at semicolons, so that later classes get other names; give other names with --classes"
            )


def write_folder(
    folder: Path,
    model: onnx.ModelProto,
    card: ModelCard,
    *,
    source: str,
    frame: Frame | None = None,
    plan: bytes | None = None,
    measured: str = "",
) -> None:
    """Fill ``folder``.

    Args:
        folder: an empty folder.
        model: the graph, with a planar input (:mod:`.nvinfer_input`).
        card: its card.
        source: name of the file it was made from, for people.
        frame: (width, height) of the frames that nvstreammux gives, where it is known.
        plan: an engine of the graph.
        measured: what nvinfer's preprocessing changes on the golden frame, a sentence.
    """
    (folder / "model.onnx").write_bytes(graph_bytes(model))
    if plan is not None:
        (folder / "model.plan").write_bytes(plan)
        (folder / "model.json").write_bytes(description(card))
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in card.names), "utf-8")
    (folder / "config_infer_primary.txt").write_text(
        config_text(card, engine=plan is not None, frame=frame), "ascii"
    )
    (folder / "edgedet_card.h").write_text(card_header(model, card, frame=frame), "ascii")
    (folder / "edgedet_parser.cpp").write_text(verbatim("edgedet_parser.cpp"), "utf-8")
    (folder / "Makefile").write_text(verbatim("deepstream.mk"), "utf-8")
    (folder / "README.md").write_text(
        _readme(card, source=source, frame=frame, engine=plan is not None, measured=measured), "utf-8"
    )


def config_text(card: ModelCard, *, engine: bool, frame: Frame | None = None) -> str:
    """nvinfer's configuration: a key file, as its ``config-file-path`` takes it."""
    spec, output = card.input, card.output
    rule = nvinfer_rule(card, frame)
    keeps = rule.rule == "letterbox"
    built = "model.plan" if engine else f"model.onnx_b{spec.batch}_gpu0_fp32.engine"
    settings: dict[str, object] = {
        "gpu-id": 0,
        "gie-unique-id": 1,
        "process-mode": 1,
        "network-type": 0,
        "onnx-file": "model.onnx",
        "model-engine-file": built,
        "batch-size": spec.batch,
        "network-mode": 0,
        "strongly-typed": 1,
        "infer-dims": f"3;{spec.height};{spec.width}",
        "network-input-order": 0,
        "model-color-format": 0 if spec.colour == "RGB" else 1,
        "net-scale-factor": 1.0,
        "maintain-aspect-ratio": int(keeps),
        "symmetric-padding": int(keeps and rule.place == "center"),
        "scaling-filter": 1,
        "num-detected-classes": len(card.names),
        "labelfile-path": "labels.txt",
        "custom-lib-path": LIBRARY,
        "parse-bbox-func-name": PARSER,
        "cluster-mode": 4,
        "crop-objects-to-roi-boundary": 1,
        "interval": 0,
    }
    lines = [f"{key}={value}" for key, value in settings.items()]
    classes = [f"pre-cluster-threshold={output.score_threshold!r}", f"topk={output.max_detections}"]
    head = f"# Written by edgedet {__version__}; README.md says what belongs together."
    return "\n".join([head, "[property]", *lines, "", "[class-attrs-all]", *classes, ""])


def card_header(model: onnx.ModelProto, card: ModelCard, *, frame: Frame | None = None) -> str:
    """The constants of the parser, from the card and the shapes of the graph's outputs."""
    spec, output = card.input, card.output
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.output
    }
    left, top, right, bottom = 0, 0, spec.width, spec.height
    if frame is not None:
        at = nvinfer_geometry(nvinfer_rule(card, frame), *frame, card)
        left, top, right, bottom = at.left, at.top, at.left + at.width, at.top + at.height
    step = float(ULTRALYTICS_CLASS_STEP) if card.family == "yolo" else 0.0
    constants = [
        ("int", "kWidth", spec.width, "of the network's input, in pixels"),
        ("int", "kHeight", spec.height, ""),
        ("int", "kClasses", len(card.names), ""),
        ("int", "kRows", shapes["boxes"][1], "of the output boxes"),
        (
            "int",
            "kScores",
            shapes["scores"][2] if output.format == "candidates" else 0,
            "of each row; 0: the graph has chosen a class for each",
        ),
        ("bool", "kBoxPerClass", output.box_layout == "per_class", "row i is of class i modulo kClasses"),
        ("bool", "kBestClassOnly", output.label_mode == "best", ""),
        ("float", "kScoreThreshold", output.score_threshold, "of a choice made in the graph"),
        ("float", "kIouThreshold", output.iou_threshold, ""),
        ("int", "kMaxDetections", output.max_detections, "over all classes"),
        ("int", "kCandidatesPerClass", output.candidates_per_class or 0, "that enter NMS; 0: all"),
        ("float", "kMinBoxSide", output.min_box_side, ""),
        ("float", "kClassStep", step, "by which boxes of one class are moved from the last's for NMS"),
        ("float", "kLeft", left, "where boxes are cut off: the picture's place on the canvas, where it is known,"),
        ("float", "kTop", top, "else the canvas"),
        ("float", "kRight", right, ""),
        ("float", "kBottom", bottom, ""),
    ]
    lines = [
        f"constexpr {kind} {name} = {_literal(kind, value)};" + (f"  // {comment}" if comment else "")
        for kind, name, value, comment in constants
    ]
    head = [f"// Written by edgedet {__version__} from the model card.", "#pragma once", "", "namespace card {"]
    return "\n".join([*head, *lines, "}  // namespace card", ""])


def _literal(kind: str, value: float) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return f"{float(value)!r}f" if kind == "float" else str(int(value))


def _readme(card: ModelCard, *, source: str, frame: Frame | None, engine: bool, measured: str) -> str:
    spec, output = card.input, card.output
    width, height = frame or USUAL_FRAMES[0]
    facts = card.engine or {}
    built = (
        f"`model.plan` was built with TensorRT {facts.get('tensorrt', 'of an unknown version')} for compute "
        f"capability {facts.get('compute_capability', 'unknown')}; where nvinfer cannot load it, it builds another "
        "from `model.onnx`."
        if engine
        else "nvinfer builds it from `model.onnx` at the first start, which takes minutes, and keeps it beside "
        "the graph."
    )
    return filled(
        "deepstream.md",
        model=card.architecture,
        version=__version__,
        source=source,
        batch=str(spec.batch),
        mux_width=str(width),
        mux_height=str(height),
        precision=card.precision,
        engine_row="| `model.plan`, `model.json` | the engine and its card |" if engine else "",
        engine_words=built,
        differences=_bullets(differences(card, frame), measured),
        canvas=f"{spec.width}x{spec.height}",
        places="\n".join(placing_lines(card, frame)),
        threshold_words=_threshold_words(output.score_threshold)
        + (
            "It may not be lowered: what scores less is no longer in the graph's outputs."
            if output.format == "detections"
            else "It may be lowered, too: the parser sees all candidates."
        ),
        frame_words=_frame_words(card, frame),
    )


def _threshold_words(threshold: float) -> str:
    """What to do about a threshold that is for measuring, not for showing."""
    if threshold >= SHOWN:
        return ""
    return (
        f"At {threshold:g}, which figures of accuracy are measured at, hundreds of weak boxes are drawn: raise it "
        "to about 0.4 to show them, or export with --conf 0.4. "
    )


def _bullets(said: Sequence[str], measured: str) -> str:
    lines = [f"* {sentence};" for sentence in said] or ["* nothing that the card speaks of;"]
    lines.append(
        f"* measured on ONNX Runtime, with nvinfer's preprocessing done in Python: {measured or 'nothing'}."
    )
    return "\n".join(lines) + "\n"


def _frame_words(card: ModelCard, frame: Frame | None) -> str:
    if frame is not None:
        return (
            f"* nvstreammux must give frames of {frame[0]}x{frame[1]}: boxes are cut off at their edges, which "
            "`edgedet_card.h` holds."
        )
    if nvinfer_rule(card).rule == "stretch":
        return "* Any size of frames goes: they fill the canvas."
    return (
        "* Export with `--frame-size WxH`, the size that nvstreammux gives, and the parser cuts boxes off at the "
        "frame's edges.\n  Without, it only knows the canvas: objects that reach into the border are cut off by "
        "nvinfer, where those that begin above\n  or left of a centred picture keep their size and so move, and "
        "those wholly in the border get a size of zero or less."
    )
