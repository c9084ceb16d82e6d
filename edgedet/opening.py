"""From a file to something that runs: what it is, its model card, and the runtime that executes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.artifacts.engine_file import library_of, read_engine_header
from edgedet.artifacts.engine_library import PLAN_STARTS, TENSORRT, library_of_name
from edgedet.artifacts.file_signs import START, is_safetensors, what_it_is
from edgedet.artifacts.foreign_cards import is_ultralytics, is_yolov5, ultralytics_card, yolov5_card
from edgedet.artifacts.foreign_outputs import Facts, recognise
from edgedet.artifacts.onnx_file import read_onnx
from edgedet.errors import ArtifactError, RuntimeUnavailableError, UsageError
from edgedet.runtimes import RUNTIMES, Kind, RuntimeInfo, spellings, suffixes
from edgedet.runtimes.base import Runtime
from edgedet.settings import require_count
from edgedet.tuned_choice import recall

MAX_THREADS = 1024
"""More CPU threads than any machine for this has cores; starting 100,000 of them takes minutes."""


def read_card(path: str | Path) -> ModelCard:
    """The model card of a graph, engine or checkpoint; needs no runtime, except torch for checkpoints.

    Raises:
        ArtifactError: missing, damaged or unknown file, or one without a description of what it detects.
        CheckpointError: a checkpoint that cannot be read.
        RuntimeUnavailableError: a checkpoint on a machine without torchvision.
    """
    path = Path(path)
    return _read_card(path, artifact_kind(path))


def open_artifact(
    path: str | Path, *, runtime: str = "auto", threads: int | None = None, lanes: int = 1
) -> tuple[ModelCard, Runtime]:
    """Read the card and open the artifact for running.

    ``runtime``: a key of :data:`edgedet.runtimes.RUNTIMES`, optionally with a device (``onnxruntime:cpu``,
    ``onnxruntime:cuda``), or ``auto``: what ``edgedet tune`` found to be the quickest for this artifact here, else
    the first that is installed. ``threads``: CPU threads, None for the runtime's own choice. ``lanes``: runs of the
    network at the same time, one thread each; runtimes that cannot are opened for one, with ``threads``
    (:class:`edgedet.runtimes.base.RunsInLanes` tells).

    Raises:
        ArtifactError: see :func:`read_card`; also an artifact the runtime refuses.
        RuntimeUnavailableError: the runtime is not installed or does not work here.
        UsageError: a runtime that does not exist or cannot run this kind of artifact.
    """
    if not isinstance(path, str | os.PathLike) or path == "":
        raise UsageError(f"the artifact is {path!r}, expected the path of a file ({', '.join(suffixes())})")
    if not isinstance(runtime, str):
        raise UsageError(f"runtime is {runtime!r}, expected {spellings()}")
    path = Path(path)
    name, _, device = runtime.partition(":")
    if name != "auto" and name not in (info.name for info in RUNTIMES):
        raise UsageError(f"unknown runtime {name!r}; expected {spellings()}")
    require_count("threads", threads, most=MAX_THREADS)
    require_count("lanes", lanes, most=MAX_THREADS)
    kind = artifact_kind(path)
    tuned = recall(path) if name == "auto" and threads is None else None
    if tuned is not None:
        name, _, device = tuned.runtime.partition(":")
        threads = tuned.threads
    info = runtime_of(kind, None if name == "auto" else name, path=path)
    # The card first: a foreign or broken file is told from a missing runtime on any machine.
    card = _read_card(path, kind)
    _require_installed(info, path)
    module = import_module(info.module)
    in_lanes = {"lanes": lanes} if lanes > 1 and info.lanes else {}
    opened = cast(Runtime, module.open(path, card=card, threads=threads, device=device or None, **in_lanes))
    if tuned is not None:
        opened.description += f" ({tuned.words})"
    return card, opened


def runtime_of(kind: Kind, name: str | None = None, *, path: Path) -> RuntimeInfo:
    """The runtime called ``name`` for an artifact of this kind; None: the first that is installed, else the first.

    An engine runs on the library it was built for, and on no other.

    Raises:
        UsageError: ``name`` runs other kinds of artifact.
        ArtifactError: an engine whose name, card and plan are of different libraries.
    """
    fitting = [info for info in RUNTIMES if kind in info.kinds]
    what = f"a {kind}"
    if kind == "engine":
        library = library_of(read_engine_header(path))
        fitting = [info for info in fitting if set(library.suffixes) & set(info.suffixes)]
        what = f"an engine of {library.title}"
    if name is None:
        return next((info for info in fitting if find_spec(info.needs) is not None), fitting[0])
    for info in fitting:
        if info.name == name:
            return info
    asked = next(info for info in RUNTIMES if info.name == name)
    hint = (
        f"edgedet export {path} -o {path.with_suffix(next(iter(asked.suffixes))).name} builds an engine"
        if "engine" in asked.kinds and kind == "graph"
        else f"leave the runtime on auto or say {' or '.join(info.name for info in fitting)}"
    )
    raise UsageError(f"{name} cannot run {path}, which is {what}; {hint}")


def artifact_kind(path: str | Path) -> Kind:
    """Whether a file is a graph, an engine or a checkpoint, by its first bytes and its suffix.

    Raises:
        ArtifactError: missing, empty, or something else.
    """
    path = Path(path)
    try:
        if path.is_dir():
            from edgedet.artifacts.hugging_face_folder import is_model_folder

            if is_model_folder(path):
                return "checkpoint"
            raise ArtifactError(f"{path} is a folder; expected a model file ({', '.join(suffixes())})")
        with path.open("rb") as file:
            start = file.read(START)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise ArtifactError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise ArtifactError(f"cannot read {path}: {reason or error}") from error
    if not start:
        raise ArtifactError(f"{path} is empty; copy or export it again")
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return "checkpoint"
    if is_safetensors(start, size):
        return "checkpoint"
    if start[4:5] == b"{" or start.startswith(PLAN_STARTS):
        return "engine"
    what = what_it_is(start)
    if what is not None:
        raise ArtifactError(
            f"{path} is {what}, not a model that edgedet can run; expected a graph (.onnx), engine (.trt, .rtx) or "
            "checkpoint (.pt)"
        )
    named = suffixes().get(path.suffix.lower())
    if named == "checkpoint":
        return "checkpoint"
    if named == "engine":
        library = library_of_name(path) or TENSORRT
        raise ArtifactError(
            f"{path} is not a {library.title} engine (it starts with {start[:8]!r}); build it again"
        )
    # Protobuf has no magic number: reading it tells.
    return "graph"


def _read_card(path: Path, kind: Kind) -> ModelCard:
    if kind == "graph":
        return _graph_card(path)
    if kind == "engine":
        engine = read_engine_header(path)
        library_of(engine)
        header = engine.header
        if "family" in header:
            import json

            return ModelCard.from_json(json.dumps(header))
        if is_ultralytics(header):
            return ultralytics_card(header, where=str(path))
        raise ArtifactError(
            f"{path} carries no model card and no Ultralytics metadata; build it with edgedet export"
        )
    info = runtime_of(kind, path=path)
    _require_installed(info, path)
    return cast(ModelCard, import_module(info.module).read_card(path))


def _graph_card(path: Path) -> ModelCard:
    model = read_onnx(path)
    if METADATA_KEY in model.metadata:
        return ModelCard.from_json(model.metadata[METADATA_KEY])
    known = is_ultralytics(model.metadata), is_yolov5(model.metadata)
    if any(known) and (not model.inputs or model.inputs[0].dtype != "float32" or len(model.inputs[0].shape) != 4):
        taken = f"{model.inputs[0].dtype} {list(model.inputs[0].shape)}" if model.inputs else "nothing"
        raise ArtifactError(
            f"{path} takes {taken}, expected float32 [N, 3, H, W]; export it again without half=True and "
            "convert it with edgedet export --fp16"
        )
    if known[0]:
        return ultralytics_card(
            model.metadata, where=str(path), input_name=model.inputs[0].name, output_shape=model.outputs[0].shape
        )
    if known[1]:
        return yolov5_card(
            model.metadata,
            where=str(path),
            input_name=model.inputs[0].name,
            input_shape=model.inputs[0].shape,
            output_shape=model.outputs[0].shape,
        )
    outputs = {tensor.name: tensor.shape for tensor in model.outputs}
    found = recognise(Facts(outputs, {tensor.name: tensor.shape for tensor in model.inputs}))
    unknown = f"its outputs {_shapes(outputs)} are of no kind edgedet knows; start from the checkpoint"
    raise ArtifactError(
        f"{path} carries no model card, which states how outputs become boxes; "
        f"{found.hint(path) if found else unknown}"
    )


def _shapes(outputs: Mapping[str, Sequence[int | None]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in list(outputs.items())[:4])


def _require_installed(info: RuntimeInfo, path: Path) -> None:
    if find_spec(info.needs) is None:
        raise RuntimeUnavailableError(
            f"{path} needs the package {info.needs!r}, which is not installed: {info.install}"
        )
