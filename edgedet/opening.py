"""From a file to something that runs: what it is, its model card, and the runtime that executes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from edgedet.argument_checks import require_count
from edgedet.artifacts.card import METADATA_KEY, ModelCard, Task
from edgedet.artifacts.card_ranges import require_ranges
from edgedet.artifacts.engine_file import library_of, read_engine_header
from edgedet.artifacts.engine_library import PLAN_STARTS, TENSORRT, library_of_name
from edgedet.artifacts.file_signs import START, is_safetensors, what_it_is
from edgedet.artifacts.foreign_cards import is_ultralytics, is_yolov5, ultralytics_card, yolov5_card
from edgedet.artifacts.held_artifact import MEMORY, Held, hold
from edgedet.artifacts.ncnn_file import is_ncnn, read_ncnn_header
from edgedet.artifacts.onnx_file import read_onnx
from edgedet.artifacts.seal import require_seal
from edgedet.artifacts.signature_policy import required_keys
from edgedet.errors import ArtifactError, RuntimeUnavailableError, SignatureError, TaskError, UsageError
from edgedet.runtimes import RUNTIMES, Kind, RuntimeInfo, spellings, suffixes
from edgedet.runtimes.base import Runtime
from edgedet.tuned_choice import recall

SMALLEST = 64
"""Bytes that are fewer are no artifact; maybe they are the name of one."""

MAX_THREADS = 1024
"""More CPU threads than any machine for this has cores; starting 100,000 of them takes minutes."""


def read_card(path: str | Path, content: bytes | None = None) -> ModelCard:
    """The model card of a graph, engine, file for ncnn or checkpoint; only checkpoints need their runtime, torch.

    ``content``: the artifact's bytes, where they are at hand.

    Raises:
        ArtifactError: missing, damaged or unknown file, or one without a description of what it detects.
        CheckpointError: a checkpoint that cannot be read.
        RuntimeUnavailableError: a checkpoint on a machine without torchvision.
    """
    path = Path(path)
    return _read_card(path, artifact_kind(path, content), content)


def open_artifact(
    path: str | Path | bytes,
    *,
    runtime: str = "auto",
    threads: int | None = None,
    lanes: int = 1,
    require_signature: str | Path | None = None,
    signature: bytes | None = None,
    task: Task | None = None,
) -> tuple[ModelCard, Runtime]:
    """Read the card and open the artifact for running.

    ``path``: the file, or its bytes: an artifact of one file, such as a store that is encrypted gives it.
    ``runtime``: a key of :data:`edgedet.runtimes.RUNTIMES`, optionally with a device (``onnxruntime:cpu``,
    ``onnxruntime:cuda``), or ``auto``: what ``edgedet tune`` found to be the quickest for this artifact here, else
    the first that is installed. ``threads``: CPU threads, None for the runtime's own choice. ``lanes``: runs of the
    network at the same time, one thread each; runtimes that cannot are opened for one, with ``threads``
    (:class:`edgedet.runtimes.base.RunsInLanes` tells). ``require_signature``, ``signature``: see
    :func:`held_artifact`. What is held in memory is what is loaded. ``task``: what the artifact has to be for; None
    takes any.

    Raises:
        SignatureError: a signature is required, and is not there or not right; no runtime was loaded.
        ArtifactError: see :func:`read_card`; also a graph that is not what edgedet wrote, or an artifact the
            runtime refuses.
        RuntimeUnavailableError: the runtime is not installed or does not work here.
        UsageError: a runtime that does not exist or cannot run this kind of artifact.
        TaskError: an artifact for another task.
    """
    held = held_artifact(path, require_signature=require_signature, signature=signature)
    return _open(Path(cast(str, path)) if held is None else held.path, held, runtime, threads, lanes, task)


def require_task(card: ModelCard, task: Task, path: Path) -> None:
    """Check that an artifact is for ``task``.

    Raises:
        TaskError: it is for another.
    """
    if card.task == task:
        return
    if card.task == "segmentation":
        raise TaskError(
            f"{path} is a segmenter, which gives a class for every pixel and no boxes: open it with Segmenter "
            "(edgedet.Segmenter(path).segment(frame))"
        )
    raise TaskError(
        f"{path} is a detector, which gives boxes and no class for every pixel: open it with Detector "
        "(edgedet.Detector(path).detect(frame))"
    )


def _open(  # noqa: PLR0917
    path: Path, held: Held | None, runtime: str, threads: int | None, lanes: int, task: Task | None
) -> tuple[ModelCard, Runtime]:
    if not isinstance(runtime, str):
        raise UsageError(f"runtime is {runtime!r}, expected {spellings()}")
    content = None if held is None else held.content
    name, _, device = runtime.partition(":")
    if name != "auto" and name not in (info.name for info in RUNTIMES):
        raise UsageError(f"unknown runtime {name!r}; expected {spellings()}")
    require_count("threads", threads, most=MAX_THREADS)
    require_count("lanes", lanes, most=MAX_THREADS)
    kind = artifact_kind(path, content)
    tuned = recall(path, None if held is None else held.main) if name == "auto" and threads is None else None
    if tuned is not None and held is not None and tuned.artifact is not None:
        tuned = None  # the file beside it is not what was checked
    if tuned is not None:
        name, _, device = tuned.runtime.partition(":")
        threads = tuned.threads
        if tuned.artifact is not None:
            path = tuned.place(path)
            kind = artifact_kind(path)
    info = runtime_of(kind, None if name == "auto" else name, path=path, content=content)
    if content is not None:
        _require_from_memory(info, path, kind)
    # File and card first: a foreign or damaged one is told from a missing runtime on any machine.
    if kind == "graph":
        require_seal(path, None if held is None else held.main)
    card = _read_card(path, kind, content)
    if task is not None:
        require_task(card, task, path)
    _require_installed(info, path)
    options: dict[str, Any] = {"card": card, "threads": threads, "device": device or None}
    if content is not None:
        options["content"] = content
    if lanes > 1 and info.lanes:
        options["lanes"] = lanes
    module = import_module(info.module)
    opened = cast(Runtime, module.open(path, **options))
    if tuned is not None:
        opened.description += f" ({tuned.words})"
    return card, opened


def held_artifact(
    path: str | Path | bytes, *, require_signature: str | Path | None = None, signature: bytes | None = None
) -> Held | None:
    """An artifact in memory, its signature checked; None for a file of which no signature is required.

    Args:
        path: the file, or its bytes.
        require_signature: a file of public keys, of which one must have signed, beside those that the environment
            variable ``EDGEDET_REQUIRE_SIGNATURE`` names. For a file it lies beside it (``model.onnx.sig``).
        signature: for bytes, the content of their file of signatures.

    Raises:
        SignatureError: a signature is required, and is not there or not right.
        ArtifactError: bytes that are no artifact of one file.
        UsageError: neither a path nor bytes; or a signature that lies beside its file is given, too.
    """
    if isinstance(path, bytes | bytearray | memoryview):
        content = bytes(path)
        if len(content) < SMALLEST:
            raise UsageError(
                f"the artifact is {content!r}, expected the path of a file, or all bytes of an artifact"
            )
        keys = required_keys(None, require_signature)
        # Nothing is looked into before its signature is found right, but for what kind of file it is.
        graph = artifact_kind(MEMORY, content) == "graph"
        if not keys:
            return hold(content, graph=graph)
        if signature is None:
            raise SignatureError(
                "a signature is required of an artifact in memory: pass the content of its .sig file "
                "(signature=...)"
            )
        from edgedet.artifacts.signed_artifact import verify_bytes

        return verify_bytes(content, signature, keys, MEMORY, graph=graph).held
    if not isinstance(path, str | os.PathLike) or path == "":
        raise UsageError(f"the artifact is {path!r}, expected the path of a file ({', '.join(suffixes())})")
    if signature is not None:
        raise UsageError(f"the signature of {path} lies beside it; signature= is for an artifact in memory")
    path = Path(path)
    keys = required_keys(path, require_signature)
    if not keys:
        return None
    if path.is_dir():
        raise SignatureError(f"{path} is a folder, and a signature is required: it is for graphs and engines")
    from edgedet.artifacts.signed_artifact import read_verified

    return read_verified(path, keys).held


def runtime_of(kind: Kind, name: str | None = None, *, path: Path, content: bytes | None = None) -> RuntimeInfo:
    """The runtime called ``name`` for an artifact of this kind; None: the first that is installed, else the first.

    An engine runs on the library it was built for, and on no other.

    Raises:
        UsageError: ``name`` runs other kinds of artifact.
        ArtifactError: an engine whose name, card and plan are of different libraries.
    """
    fitting = [info for info in RUNTIMES if kind in info.kinds]
    what = "a file for ncnn" if kind == "ncnn" else f"a {kind}"
    if kind == "engine":
        library = library_of(read_engine_header(path, content))
        fitting = [info for info in fitting if set(library.suffixes) & set(info.suffixes)]
        what = f"an engine of {library.title}"
    if name is None:
        return next((info for info in fitting if find_spec(info.needs) is not None), fitting[0])
    for info in fitting:
        if info.name == name:
            return info
    asked = next(info for info in RUNTIMES if info.name == name)
    made = path.with_suffix(next(iter(asked.suffixes))).name
    if "engine" in asked.kinds and kind == "graph":
        hint = f"edgedet export {path} -o {made} builds an engine"
    elif "ncnn" in asked.kinds and kind in ("graph", "checkpoint"):
        hint = f"edgedet export {path if kind == 'checkpoint' else 'CHECKPOINT'} -o {made} writes its layers"
    else:
        hint = f"leave the runtime on auto or say {' or '.join(info.name for info in fitting)}"
    raise UsageError(f"{name} cannot run {path}, which is {what}; {hint}")


def artifact_kind(path: str | Path, content: bytes | None = None) -> Kind:
    """Whether a file is a graph, an engine, one for ncnn or a checkpoint, by its first bytes and its suffix.

    ``content``: its bytes, where they are at hand.

    Raises:
        ArtifactError: missing, empty, or something else.
    """
    path = Path(path)
    if content is not None:
        return _kind_of(path, content[:START], len(content))
    try:
        if path.is_dir():
            from edgedet.artifacts.hugging_face_folder import is_model_folder

            if is_model_folder(path):
                return "checkpoint"
            raise ArtifactError(f"{path} is a folder; expected a model file ({', '.join(suffixes())})")
        if not path.is_file() and path.exists():
            raise ArtifactError(f"{path} is no regular file; expected a model file ({', '.join(suffixes())})")
        with path.open("rb") as file:
            start = file.read(START)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise ArtifactError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise ArtifactError(f"cannot read {path}: {reason or error}") from error
    return _kind_of(path, start, size)


def _kind_of(path: Path, start: bytes, size: int) -> Kind:
    """By the first bytes of a file of ``size`` bytes."""
    if not start:
        raise ArtifactError(f"{path} is empty; copy or export it again")
    if is_ncnn(start):
        return "ncnn"
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
    if named == "ncnn":
        raise ArtifactError(
            f"{path} is not what edgedet writes for ncnn (it starts with {start[:8]!r}); export it again"
        )
    # Protobuf has no magic number: reading it tells.
    return "graph"


def _read_card(path: Path, kind: Kind, content: bytes | None = None) -> ModelCard:
    if kind == "graph":
        return _graph_card(path, content)
    if kind == "engine":
        engine = read_engine_header(path, content)
        library_of(engine)
        header = engine.header
        if "family" in header:
            import json

            return ModelCard.from_json(json.dumps(header))
        if is_ultralytics(header):
            return _in_range(ultralytics_card(header, where=str(path)))
        raise ArtifactError(
            f"{path} carries no model card and no Ultralytics metadata; build it with edgedet export"
        )
    if kind == "ncnn":
        import json

        return ModelCard.from_json(json.dumps(read_ncnn_header(path, content)))
    info = runtime_of(kind, path=path)
    _require_installed(info, path)
    module = import_module(info.module)
    return cast(ModelCard, module.read_card(path))


def _graph_card(path: Path, content: bytes | None = None) -> ModelCard:
    model = read_onnx(path, content)
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
        return _in_range(
            ultralytics_card(
                model.metadata,
                where=str(path),
                input_name=model.inputs[0].name,
                output_shape=model.outputs[0].shape,
            )
        )
    if known[1]:
        return _in_range(
            yolov5_card(
                model.metadata,
                where=str(path),
                input_name=model.inputs[0].name,
                input_shape=model.inputs[0].shape,
                output_shape=model.outputs[0].shape,
            )
        )
    from edgedet.artifacts.foreign_outputs import Facts, recognise  # what no artifact of edgedet's own needs

    outputs = {tensor.name: tensor.shape for tensor in model.outputs}
    found = recognise(Facts(outputs, {tensor.name: tensor.shape for tensor in model.inputs}))
    unknown = f"its outputs {_shapes(outputs)} are of no kind edgedet knows; start from the checkpoint"
    raise ArtifactError(
        f"{path} carries no model card, which states how outputs become boxes; "
        f"{found.hint(path) if found else unknown}"
    )


def _in_range(card: ModelCard) -> ModelCard:
    """What a file of another tool states is held to what our own cards are held to."""
    require_ranges(card)
    return card


def _shapes(outputs: Mapping[str, Sequence[int | None]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in list(outputs.items())[:4])


def _require_from_memory(info: RuntimeInfo, path: Path, kind: Kind) -> None:
    if info.from_memory:
        return
    if kind == "checkpoint":
        raise UsageError(
            f"{path} is a checkpoint, which its framework reads from its files: open it by its path where no "
            "signature is required, or export it (edgedet export)"
        )
    raise UsageError(
        f"{info.name} opens files and nothing that is held in memory; choose another runtime for {path}"
    )


def _require_installed(info: RuntimeInfo, path: Path) -> None:
    if find_spec(info.needs) is None:
        raise RuntimeUnavailableError(
            f"{path} needs the package {info.needs!r}, which is not installed: {info.install}"
        )
