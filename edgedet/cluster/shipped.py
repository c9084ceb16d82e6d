"""An artifact on its way to workers: its bytes, with those of the files it needs, so that none need be there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts.engine_file import sidecars
from edgedet.artifacts.external_data import external_files
from edgedet.artifacts.protobuf import DamagedError
from edgedet.artifacts.signature import SUFFIX
from edgedet.errors import ArtifactError
from edgedet.opening import artifact_kind


@dataclass(frozen=True)
class Shipped:
    """The files of an artifact.

    Attributes:
        name: of the file that is opened.
        files: contents by name, relative to the folder of that file.
    """

    name: str
    files: dict[str, bytes]

    def unpack(self, folder: Path) -> Path:
        """Write the files into ``folder``; the one to open."""
        for name, content in self.files.items():
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        return folder / self.name


def ship(path: Path) -> Shipped:
    """Read an artifact with what belongs to it: weights and descriptions in other files, and signatures.

    Args:
        path: of the artifact.

    Raises:
        ArtifactError: a file is missing or damaged, or the artifact is a folder.
    """
    kind = artifact_kind(path)
    if path.is_dir():
        raise ArtifactError(f"{path} is a folder, which is not sent to workers; export it first (edgedet export)")
    content = path.read_bytes()
    places = [path.with_name(path.name + SUFFIX)]
    if kind == "engine":
        places += sidecars(path)
    files = {path.name: content} | {place.name: place.read_bytes() for place in places if place.is_file()}
    if kind == "graph":
        try:
            outside = external_files(content)
        except DamagedError as error:
            raise ArtifactError(f"{path} is not a complete ONNX file ({error}); copy or export it again") from None
        for name in outside:
            place = path.parent / name
            if not place.is_file():
                raise ArtifactError(f"{path} needs {place}, which is not there; keep the files together")
            files[name] = place.read_bytes()
    return Shipped(path.name, files)
