"""Show what an artifact holds: its model card, tensors, nodes, and where precision went.

Needs no runtime: an engine can be looked at on a machine without TensorRT.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.artifacts.engine_facts import summary
from edgedet.cli.values import human_bytes
from edgedet.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from edgedet.artifacts.card import ModelCard
    from edgedet.artifacts.held_artifact import Held
    from edgedet.artifacts.onnx_file import GraphTensor, OnnxFile
    from edgedet.artifacts.onnx_layers import GraphLayers
    from edgedet.runtimes import Kind

EXAMPLES = """\
examples:
  edgedet inspect model.onnx
  edgedet inspect model.onnx --json | jq .card.measured
  edgedet inspect engine.trt --plan engine.plan      the bare plan, for trtexec or Triton
  edgedet inspect model.onnx --verify                is it what edgedet wrote, to the bit?
  edgedet inspect model.onnx --verify --require-signature owner.pub
  edgedet inspect changed.onnx --seal new.onnx       another tool changed it on purpose: state its digest anew
"""

NAMES_SHOWN = 12
LAYERS_SHOWN = 6
LINE = 116


@dataclass(frozen=True)
class Inspection:
    """``card`` is None where the file carries none that can be read; ``problem`` says why. ``graph``, ``layers``:
    graphs only. ``kinds``: how many layers of each kind, of files for ncnn only. ``held``: where a signature is
    required, what was read and checked."""

    path: Path
    kind: Kind
    bytes: int
    card: ModelCard | None
    problem: str
    graph: OnnxFile | None = None
    layers: GraphLayers | None = None
    held: Held | None = None
    kinds: dict[str, int] | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``edgedet inspect``."""
    parser.add_argument(
        "artifact", metavar="ARTIFACT", type=Path, help="graph, engine, file for ncnn or checkpoint"
    )
    parser.add_argument("--plan", metavar="OUT", type=Path, help="write the engine's bare TensorRT plan to OUT")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check the digests that it states of itself, and say what is known of its signature",
    )
    parser.add_argument(
        "--seal",
        metavar="OUT",
        type=Path,
        help="write a graph that another tool changed on purpose, sealed as it is",
    )
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Look, and print what was found."""
    found = inspect(arguments.artifact)
    if arguments.seal is not None:
        from edgedet.cli.verify import seal_anew

        seal_anew(found.path, found.kind, arguments.seal)
    verified = None
    if arguments.verify:
        from edgedet.cli.verify import verify

        verified = verify(found.path, found.kind, found.held)
    if arguments.plan is not None:
        extract_plan(found, arguments.plan)
    if arguments.json:
        print(json.dumps(as_dict(found) | ({} if verified is None else {"verified": verified.as_dict()}), indent=2))
    else:
        for line in (*lines(found), *(() if verified is None else verified.lines())):
            print(
                textwrap.fill(
                    line, LINE, subsequent_indent=" " * 12, break_on_hyphens=False, break_long_words=False
                )
            )
    return 0


def inspect(path: Path) -> Inspection:
    """Read everything a file says of itself.

    Raises:
        ArtifactError: missing, empty, damaged, or no artifact.
        SignatureError: a signature is required, and is not there or not right.
    """
    from edgedet.artifacts.onnx_file import read_onnx
    from edgedet.artifacts.onnx_layers import read_layers
    from edgedet.opening import artifact_kind, held_artifact, read_card

    kind = artifact_kind(path)
    held = held_artifact(path)
    content = None if held is None else held.content
    size = path.stat().st_size
    if kind == "ncnn":
        from edgedet.artifacts.ncnn_file import read_ncnn_layers

        kinds = read_ncnn_layers(path, content)
        return Inspection(path, kind, size, read_card(path, content), "", held=held, kinds=kinds)
    if kind != "graph":
        return Inspection(path, kind, size, read_card(path, content), "", held=held)
    graph, layers = read_onnx(path, content), read_layers(path, content)
    try:
        return Inspection(path, kind, size, read_card(path, content), "", graph, layers, held)
    except ArtifactError as error:
        # Looking must work on graphs that cannot be run: that is when one looks.
        return Inspection(path, kind, size, None, str(error), graph, layers, held)


def extract_plan(found: Inspection, output: Path) -> None:
    """Write the plan inside an engine, after checking it against the hash on the card.

    Raises:
        ArtifactError: a damaged plan. UsageError: no engine, or the engine itself as output.
        OutputError: cannot be written.
    """
    from edgedet.artifacts.engine_file import read_engine_header
    from edgedet.files import atomic_path

    if found.kind != "engine":
        what = "for ncnn" if found.kind == "ncnn" else f"a {found.kind}"
        raise UsageError(f"--plan is for engines, and {found.path} is {what}; leave it out")
    if output.exists() and output.samefile(found.path):
        raise UsageError(f"{output} is the engine itself; choose another name for its plan")
    header = read_engine_header(found.path)
    expected = ((found.card.engine if found.card else None) or {}).get("plan_sha256")
    digest = hashlib.sha256()
    with atomic_path(output) as partial, found.path.open("rb") as engine, partial.open("wb") as plan:
        engine.seek(header.plan_offset)
        while block := engine.read(1 << 20):
            digest.update(block)
            plan.write(block)
        if expected not in (None, digest.hexdigest()):
            raise ArtifactError(
                f"the plan in {found.path} is damaged (its sha256 is not the one on its card); copy or build the "
                "engine again"
            )


def as_dict(found: Inspection) -> dict[str, Any]:
    """JSON-ready."""
    values: dict[str, Any] = {"path": str(found.path), "kind": found.kind, "bytes": found.bytes}
    values["card"] = None if found.card is None else dataclasses.asdict(found.card)
    if found.problem:
        values["problem"] = found.problem
    if found.kinds is not None:
        values["layers"] = found.kinds
    if found.graph is not None and found.layers is not None:
        values["inputs"] = [dataclasses.asdict(tensor) for tensor in found.graph.inputs]
        values["outputs"] = [dataclasses.asdict(tensor) for tensor in found.graph.outputs]
        values |= {"producer": found.graph.producer, "opset": found.layers.opset, "nodes": len(found.layers.nodes)}
        values |= {"operators": found.layers.operators, "layers": found.layers.layers}
    return values


def lines(found: Inspection) -> Iterator[str]:
    """What was found, for people."""
    yield f"{found.path}: {found.kind}, {human_bytes(found.bytes)}"
    if found.card is not None:
        yield from _card_lines(found.card)
    else:
        yield f"card        none ({found.problem})"
    if found.graph is not None:
        for title, tensors in (("inputs", found.graph.inputs), ("outputs", found.graph.outputs)):
            yield f"{title:<12}{', '.join(map(_tensor_text, tensors))}"
    if found.layers is not None:
        yield from _layer_lines(found.layers)
    if found.kinds is not None:
        kinds = ", ".join(f"{count} {name}" for name, count in found.kinds.items())
        yield f"layers      {sum(found.kinds.values())}: {kinds}"
    if found.card is not None:
        for title, said in summary(found.card.engine or {}):
            yield f"{title:<12}{said}"
        for title, facts in (
            ("engine", found.card.engine or {}),
            ("measured", found.card.measured),
            ("provenance", found.card.provenance),
        ):
            for index, (key, text) in enumerate(_flat(facts)):
                yield f"{title if index == 0 else '':<12}{key}: {text}"


def _card_lines(card: ModelCard) -> Iterator[str]:
    what = "segmenter" if card.task == "segmentation" else "detector "
    yield f"{what}   {card.architecture} ({card.family}), {card.precision}"
    names = ", ".join(card.names[:NAMES_SHOWN]) + (", …" if len(card.names) > NAMES_SHOWN else "")
    yield f"classes     {len(card.names)}: {names}"
    spec, rule = card.input, card.resize
    batch = f", batch {spec.batch}" if spec.batch > 1 else ""
    sides = f" (shortest {rule.min_size}, longest {rule.max_size})" if rule.min_size else ""
    smooth = ", antialiased" if rule.antialias else ""
    smooth += ", corners aligned" if rule.coordinates == "align_corners" else ""
    resized = (
        f"resized to {spec.height}x{spec.width} by {rule.rule}{sides}{smooth}"
        if rule.rule != "none"
        else "as they are"
    )
    yield f"frames      {resized}; {spec.dtype} {spec.layout} {spec.colour}{batch}"
    if spec.proposals is not None:
        yield (
            f"proposals   from outside, {spec.proposals} of a frame at most: detect(frame, proposals=boxes), "
            "--proposals FILE"
        )
    output = card.output
    if card.task == "segmentation":
        yield "gives       the class of every pixel, at the size of the frame"
        return
    inside = output.format == "detections" or card.provenance.get("nms") == "graph"
    nms = f"NMS at IoU {output.iou_threshold:g} {'in the graph' if inside else 'by the runtime'}"
    nms = "no NMS" if card.provenance.get("nms") == "none" else nms
    yield (f"detections  scores from {output.score_threshold:g}, {nms}, at most {output.max_detections}")
    if output.masks is not None:
        yield "masks       an outline for every detection"
    if output.keypoints is not None:
        points = output.keypoints.skeleton.names
        shown = ", ".join(points[:NAMES_SHOWN]) + (", ..." if len(points) > NAMES_SHOWN else "")
        yield f"keypoints   {len(points)} for every detection: {shown}"


def _tensor_text(tensor: GraphTensor) -> str:
    shape = ", ".join("?" if side is None else str(side) for side in tensor.shape)
    return f"{tensor.name} {tensor.dtype} [{shape}]"


def _layer_lines(layers: GraphLayers) -> Iterator[str]:
    operators = ", ".join(f"{count} {name}" for name, count in layers.operators.items())
    yield f"nodes       {len(layers.nodes)}, opset {layers.opset}: {operators}"
    counts = layers.precisions
    yield f"precision   {', '.join(f'{count} layers {kind}' for kind, count in counts.items()) or 'no weights'}"
    lowest = next((kind for kind in ("int8", "fp16") if kind in counts), None)
    if lowest is None:
        return
    higher = [name for name, kind in layers.layers.items() if kind != lowest]
    if higher:
        more = f", … {len(higher) - LAYERS_SHOWN} more (--json lists them)" if len(higher) > LAYERS_SHOWN else ""
        yield f"            not {lowest}: {', '.join(higher[:LAYERS_SHOWN])}{more}"


def _flat(facts: dict[str, Any], prefix: str = "", why: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts, one a line; long lists by their length; in place of what is absent its reason, or ``why``."""
    reasons = facts.get("absent")
    reasons = reasons if isinstance(reasons, dict) else {}
    for key, value in facts.items():
        reason = reasons.get(key, why)
        if key == "absent":
            continue
        if reason and (value is None or value == {}):
            yield f"{prefix}{key}", f"not measured ({reason})"
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.", reason)
        elif key == "assumed" and isinstance(value, list):
            for entry in value:
                yield f"{prefix}{key}", str(entry)
        elif isinstance(value, list | tuple) and len(value) > LAYERS_SHOWN:
            yield f"{prefix}{key}", f"{len(value)} entries"
        elif isinstance(value, float):
            yield f"{prefix}{key}", f"{value:.6g}"
        else:
            yield f"{prefix}{key}", str(value)
