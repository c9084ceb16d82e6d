"""What lies in a folder that transformers saved a model into; looked at without torch, which loads slowly."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgedet.errors import CheckpointError, UntrustedCheckpointError
from edgedet.files import file_sha256

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
TASK = "ForObjectDetection"

ARCHITECTURES = {
    "rt_detr": "RT-DETR",
    "rt_detr_v2": "RT-DETRv2",
    "d_fine": "D-FINE",
    "rf_detr": "RF-DETR",
    "deimv2": "DEIMv2",
}
"""transformers' ``model_type`` to the name a detector goes by."""


@dataclass(frozen=True)
class Folder:
    """A folder that holds a detector edgedet knows. ``preprocessor``: its file, or None where it was left out."""

    path: Path
    model_type: str
    weights: Path
    preprocessor: Path | None

    @property
    def architecture(self) -> str:
        """As people call it."""
        return ARCHITECTURES[self.model_type]

    @property
    def files(self) -> tuple[Path, ...]:
        """All that decides what the detector finds."""
        given = () if self.preprocessor is None else (self.preprocessor,)
        return (self.path / CONFIG, *given, self.weights)


def is_model_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that describes a model of some kind."""
    return (path / CONFIG).is_file()


def open_folder(path: Path, *, trust: Literal["weights", "code"]) -> Folder:
    """Look at a folder and check everything that needs no loading.

    ``trust``: ``code`` allows weights in a pickle, which may run code when it is read.

    Raises:
        CheckpointError: no description, that of something else than a detector of :data:`ARCHITECTURES`, or no
            whole weights.
        UntrustedCheckpointError: weights in a pickle, and ``trust`` is ``weights``.
    """
    config = _read_json(path / CONFIG)
    if config is None:
        raise CheckpointError(
            f"{path} is a folder without {CONFIG}; expected a checkpoint (.pt, .pth), an ONNX file, or a folder of "
            f"Hugging Face transformers ({CONFIG}, {SAFE}, {PREPROCESSOR})"
        )
    kind = config.get("model_type")
    classes = config.get("architectures")
    classes = classes if isinstance(classes, list) else []
    if kind not in ARCHITECTURES:
        what = f"model_type {kind!r}" + (f" ({', '.join(map(str, classes))})" if classes else "")
        raise CheckpointError(
            f"{path / CONFIG} describes {what}; of Hugging Face folders edgedet exports the detectors "
            f"{', '.join(ARCHITECTURES)}"
        )
    if classes and not any(str(name).endswith(TASK) for name in classes):
        raise CheckpointError(
            f"{path / CONFIG} describes {', '.join(map(str, classes))}, which detects no objects; expected a class "
            f"named …{TASK}"
        )
    if (path / "adapter_config.json").exists():
        raise CheckpointError(
            f"{path} holds an adapter (adapter_config.json) beside its weights; merge it into the model first "
            "(peft: merge_and_unload) and save that"
        )
    preprocessor = path / PREPROCESSOR
    return Folder(path, kind, _weights(path, trust), preprocessor if preprocessor.is_file() else None)


def digests(folder: Folder) -> dict[str, str]:
    """sha256 of each of :attr:`Folder.files`, by name."""
    return {file.name: file_sha256(file) for file in folder.files}


def _weights(path: Path, trust: Literal["weights", "code"]) -> Path:
    for name in (SAFE, PICKLED):
        if (path / f"{name}.index.json").exists() and not (path / name).exists():
            raise CheckpointError(
                f"the weights in {path} are in several files ({name}.index.json); save them as one: "
                f'model.save_pretrained(FOLDER, max_shard_size="50GB")'
            )
    file = next((path / name for name in (SAFE, PICKLED) if (path / name).is_file()), None)
    if file is None:
        raise CheckpointError(f"{path} has {CONFIG}, but no weights; expected {SAFE}: copy the folder whole")
    if not file.stat().st_size:
        raise CheckpointError(f"{file} is empty; copy it again")
    if file.name == PICKLED and trust != "code":
        raise UntrustedCheckpointError(
            f"{file} is a pickle, which can run code when it is read; if you trust where it comes from, add "
            f"--trust-checkpoint, or save it anew as {SAFE}: model.save_pretrained(FOLDER)"
        )
    return file


def _read_json(file: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file."""
    try:
        content = json.loads(file.read_text("utf-8-sig"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file} cannot be read as JSON ({reason}); copy it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds a {type(content).__name__}, expected a JSON object; copy it again")
    return content
