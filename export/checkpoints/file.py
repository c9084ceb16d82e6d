"""From a checkpoint's file to what is in it, without running code from it."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch

from edgedet.artifacts.file_signs import START, SUFFIXES, is_safetensors, what_it_is
from edgedet.errors import CheckpointError, MissingDependencyError, UntrustedCheckpointError

from . import inert_pickle

Trust = Literal["weights", "code"]

FIRST_NUMBER = 0x1950A86A20F9469CFC6C
"""What PyTorch's format of before 1.6 begins with, pickled."""

EXPECTED = "expected a file written by torch.save"

IN_ARCHIVES: tuple[tuple[str, str], ...] = (
    ("MAR-INF/MANIFEST.json", "a TorchServe archive; unpack it and give the checkpoint in it"),
    ("model.weights.h5", "a Keras model"),
    ("[Content_Types].xml", "an Office document"),
    ("AndroidManifest.xml", "an Android app"),
    (".npy", "an archive of NumPy arrays"),
    ("coremldata.bin", "a Core ML model"),
    (".mlmodel", "a Core ML model"),
    (".safetensors", "an archive; unpack it and give the .safetensors file in it"),
    (".pt", "an archive; unpack it and give the checkpoint in it"),
    (".pth", "an archive; unpack it and give the checkpoint in it"),
    (".onnx", "an archive; unpack it and give the .onnx file in it"),
)
"""The end of a name in a ZIP archive that torch.save did not write, and what that makes it."""


def read_content(path: Path, *, trust: Trust = "weights") -> Any:
    """Read a ``.pt``, ``.pth``, ``.ckpt`` or ``.safetensors`` file: tensors and plain containers.

    An object of any other class is an :class:`~edgedet.export.checkpoints.inert_objects.Inert` that holds what the
    pickle says of it; with ``trust="code"`` it is the object itself, whose making runs code that the file names.
    Of a safetensors file comes a dict: its metadata, and its tensors as ``state_dict``.

    Raises:
        CheckpointError: missing, empty, damaged, or not a checkpoint.
        UntrustedCheckpointError: what it holds cannot be had without running code, and ``trust`` is ``"weights"``.
        MissingDependencyError: a safetensors file, and no package to read it.
    """
    start = _start(path)
    if is_safetensors(start, path.stat().st_size) or path.suffix.lower() == ".safetensors":
        return _read_safetensors(path, start)
    if start.startswith(b"PK"):
        _check_archive(path, trust)
    elif start.startswith(b"\x80"):
        _check_pickle(path)
    elif path.name.endswith(".safetensors.index.json"):
        raise CheckpointError(
            f"{path} is the list of the files that a checkpoint was spread over; expected one file: load the model "
            "and save it whole"
        )
    elif trust == "weights" or not start[257:].startswith(b"ustar"):  # PyTorch's format of 2016 is a tar archive
        raise _no_checkpoint(path, what_it_is(start) or SUFFIXES.get(path.suffix.lower()))
    if trust == "code":
        return _run(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols; whether the file can be read is said below
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:
            # It names a class, or it is damaged: the other reader tells.
            pass
        try:
            return torch.load(path, map_location="cpu", weights_only=False, pickle_module=inert_pickle)
        except Exception as error:  # torch.load lets through whatever its readers raise on damaged files
            raise _no_checkpoint(path, None, error) from error


def _start(path: Path) -> bytes:
    if not path.exists():
        raise CheckpointError(f"no such file: {path}")
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected a checkpoint file (.pt, .pth)")
    try:
        with path.open("rb") as file:
            start = file.read(START)
    except OSError as error:
        raise _no_checkpoint(path, None, error) from error
    if not start:
        raise CheckpointError(f"{path} is empty; expected a checkpoint written by torch.save")
    return start


def _no_checkpoint(path: Path, what: str | None, error: Exception | None = None) -> CheckpointError:
    # What PyTorch's readers say of other files ("101", "In PyTorch 2.6, we changed ...") leads nobody to the cause.
    reason = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    named = f"{what}, " if what else ""
    cause = "" if what else " (a truncated download is the usual cause)"
    return CheckpointError(f"{path} is {named}not a checkpoint that PyTorch can read{reason}; {EXPECTED}{cause}")


def _check_archive(path: Path, trust: Trust) -> None:
    """Refuse a ZIP archive that is not torch.save's, not whole, or larger inside than outside."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path} is cut short, not a checkpoint that PyTorch can read; {EXPECTED}, whole (a truncated download "
            "is the usual cause)"
        ) from error
    names = [PurePosixPath(entry.filename) for entry in entries]
    if not any(name.name == "data.pkl" for name in names):
        raise _no_checkpoint(path, _archive(names))
    if trust == "code":
        return
    if any(name.name == "constants.pkl" for name in names):
        raise UntrustedCheckpointError(
            f"{path} is a TorchScript file (torch.jit.save), a program with its tensors, and loading it runs it; "
            "save the weights alone (torch.save(torch.jit.load(FILE).state_dict(), ...)), or add "
            "--trust-checkpoint if you trust whoever made the file"
        )
    # torch.save stores its numbers as they are, each record once; a packed one may unpack to any size.
    inside, size = sum(entry.file_size for entry in entries), path.stat().st_size
    repeated = [name for name, count in Counter(map(str, names)).items() if count > 1]
    if repeated or inside > size:
        found = f"{repeated[0]} twice" if repeated else f"{inside} bytes in a file of {size}"
        raise CheckpointError(f"{path} is damaged, or was not written by torch.save: it claims to hold {found}")


def _archive(names: list[PurePosixPath]) -> str:
    if any("serialized_exported_program.json" in name.name or name.name == "archive_format" for name in names):
        return "a program of torch.export; save the model's state_dict with torch.save"
    for end, what in IN_ARCHIVES:
        if any(str(name).endswith(end) for name in names):
            return what
    held = f" of {names[0]!s:.60}" if names else " of nothing"
    return f"a ZIP archive{held}"


def _check_pickle(path: Path) -> None:
    """Refuse a bare pickle that is not of torch.save before 1.6."""
    try:
        with path.open("rb") as file:
            first = inert_pickle.load(file)
    except Exception as error:
        raise _no_checkpoint(path, None, error) from error
    if first == FIRST_NUMBER:
        return
    what = "a Python pickle that torch.save did not write"
    if isinstance(first, dict) and ("blobs" in first or ("model" in first and "__author__" in first)):
        what = "a Detectron2 or Caffe2 pickle; export it to ONNX with Detectron2"
    elif path.suffix.lower() in SUFFIXES:
        what = SUFFIXES[path.suffix.lower()]
    raise CheckpointError(
        f"{path} is {what}, not a checkpoint that PyTorch can read; {EXPECTED}: load it where it was made, and "
        "save the model's state_dict"
    )


def _run(path: Path) -> Any:
    """Unpickle with whatever code the file names."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "models":
            raise CheckpointError(
                f"{path} needs a repository's own package 'models' to be unpickled, as checkpoints of YOLOv5 and "
                "YOLOv7 do: export it to ONNX with that repository's export.py and give edgedet the .onnx file"
            ) from error
        raise CheckpointError(
            f"{path} needs the package {error.name!r} to be unpickled, which is not installed; install it, or save "
            "only the weights"
        ) from error
    except Exception as error:
        raise _no_checkpoint(path, None, error) from error


def _read_safetensors(path: Path, start: bytes) -> dict[str, Any]:
    if not is_safetensors(start, path.stat().st_size):
        raise CheckpointError(
            f"{path} is not a safetensors file: it is cut short, or is {what_it_is(start) or 'something else'}; "
            "copy or download it again"
        )
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {path} needs the package safetensors, which is not installed: pip install safetensors"
        ) from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is a safetensors file that cannot be read ({reason}); copy or download it again"
        ) from error
    return {**{key: _decoded(key, text) for key, text in metadata.items()}, "state_dict": tensors}


def _decoded(key: str, text: str) -> Any:
    """Metadata of safetensors are texts; numbers, lists and dicts are written as JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, int | float | list | dict) else text
