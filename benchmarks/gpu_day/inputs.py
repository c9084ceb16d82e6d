"""The prepared folder: graphs, pictures and what the graphs detect in them, in pieces to be carried one by one.

``inputs.json`` says what there is; every file is cut and shared out over folders ``piece-1``, ``piece-2``, ... by
what decides most, so that the first piece alone is worth a run. Each file is held to its sha256 before it is used.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgedet.artifacts.card import Precision
from edgedet.errors import ArtifactError, UsageError
from edgedet.files import atomic_path, file_sha256
from gpu_day.outcome import NotHereError

KIND, VERSION = "edgedet-gpu-inputs", 1
NAME = "inputs.json"
PIECE_MIB = 60
"""Largest piece: with the list and the room a copy takes, under 64 MiB."""
SCENES = 150
"""Rendered pictures that judge the sample detector. Of 24, fp16 moved the mAP by 0.006, of 60 by 0.002, of 300 by
less than 0.001: few are coarser than the bar."""


@dataclass(frozen=True)
class Graph:
    """A graph to build an engine from.

    ``detector``: what the graphs of its three precisions have in common. ``level``: of the builder's optimisation.
    ``pictures``: the labelled ones to judge on, a key of ``Inputs.pictures``, and ``answers`` what the graph itself
    detects in them (by ONNX Runtime on a CPU): both None where the weights are random. ``map``: of the graph,
    ``float_map``: of the fp32 graph it was made from.
    """

    name: str
    detector: str
    family: str
    precision: Precision
    file: str
    level: int
    pictures: str | None = None
    answers: str | None = None
    map: float | None = None
    float_map: float | None = None


@dataclass(frozen=True)
class Inputs:
    """What was prepared, in ``folder``, for engines of ``library``.

    ``files``: name to size, sha256 and the parts it lies in. ``pictures``: name to the file that holds them and the
    labels' name in it. ``checkpoints``: detector to the file it was trained into. ``left_out``: name to why.
    """

    folder: Path
    edgedet: str
    created: str
    library: str
    graphs: tuple[Graph, ...]
    pictures: dict[str, dict[str, str]]
    checkpoints: dict[str, str]
    left_out: dict[str, str]
    files: dict[str, dict[str, Any]]

    def graph(self, name: str) -> Graph:
        """The graph of this name."""
        return next(graph for graph in self.graphs if graph.name == name)

    def fetch(self, name: str, work: Path) -> Path:
        """The file ``name``, whole: where it lies, or put together in ``work``.

        Raises:
            NotHereError: a piece of it was not brought along.
            ArtifactError: it is damaged.
        """
        facts = self.files[name]
        parts = [self.folder / part for part in facts["parts"]]
        missing = sorted({part.parent.name for part in parts if not part.is_file()})
        if missing:
            raise NotHereError(f"{name} is not here: {self.folder} lacks {' and '.join(missing)}")
        path = parts[0] if len(parts) == 1 else self._join(parts, work / "joined" / name)
        if path.stat().st_size != facts["bytes"] or file_sha256(path) != facts["sha256"]:
            raise ArtifactError(
                f"{name} is not what was prepared: {path.stat().st_size} bytes or other ones, expected "
                f"{facts['bytes']} with sha256 {facts['sha256'][:16]}; copy {self.folder} again"
            )
        return path

    def unpack(self, pictures: str, work: Path) -> Path:
        """The folder of the pictures of this name."""
        folder = work / "pictures" / pictures
        if not folder.is_dir():
            archive = self.fetch(self.pictures[pictures]["file"], work)
            partial = folder.with_name(f".{pictures}.partial")
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(partial)
            partial.rename(folder)
        return folder

    @staticmethod
    def _join(parts: list[Path], path: Path) -> Path:
        if not path.is_file():
            with atomic_path(path) as partial, partial.open("wb") as whole:
                for part in parts:
                    whole.write(part.read_bytes())
        return path


def read_inputs(folder: Path) -> Inputs:
    """What was prepared in ``folder``.

    Raises:
        UsageError: nothing was, or by another version of this script.
    """
    how = "prepare it on a machine with edgedet's exporter: benchmarks/gpu_day.sh --prepare DIR"
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{folder} holds no {NAME}; {how}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / NAME} cannot be read ({error}); {how}") from error
    found = (content.get("kind"), content.get("version")) if isinstance(content, dict) else None
    if found != (KIND, VERSION):
        raise UsageError(f"{folder / NAME} is {found}, expected {(KIND, VERSION)}; {how}")
    try:
        graphs = tuple(Graph(**graph) for graph in content.pop("graphs"))
        del content["kind"], content["version"]
        return Inputs(folder=folder, graphs=graphs, **content)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{folder / NAME} is damaged ({error}); {how}") from error


def write_inputs(inputs: Inputs, sources: dict[str, Path], piece_bytes: int = PIECE_MIB * 2**20) -> Inputs:
    """Cut ``sources``, name to file, into pieces, in their order, and write the list.

    Each file goes into the first piece that has room; what is larger than a piece begins one of its own.
    """
    room: list[int] = []
    files: dict[str, dict[str, Any]] = {}
    for name, source in sources.items():
        size = source.stat().st_size
        lengths = [piece_bytes] * (size // piece_bytes) + [size % piece_bytes]
        lengths = [length for length in lengths if length] or [0]
        parts = []
        with source.open("rb") as file:
            for number, length in enumerate(lengths, 1):
                piece = next((index for index, free in enumerate(room) if free >= length), len(room))
                if piece == len(room):
                    room.append(piece_bytes)
                room[piece] -= length
                part = f"piece-{piece + 1}/{name}" + (f".{number}" if len(lengths) > 1 else "")
                (inputs.folder / part).parent.mkdir(parents=True, exist_ok=True)
                (inputs.folder / part).write_bytes(file.read(length))
                parts.append(part)
        files[name] = {"bytes": size, "sha256": file_sha256(source), "parts": parts}
    content = asdict(inputs) | {"kind": KIND, "version": VERSION, "files": files}
    del content["folder"]
    with atomic_path(inputs.folder / NAME) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return read_inputs(inputs.folder)
