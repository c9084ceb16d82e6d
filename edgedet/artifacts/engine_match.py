"""Will this engine load on this machine? Said before its library sees a byte of it, naming both sides."""

from __future__ import annotations

from dataclasses import dataclass

from edgedet.artifacts.engine_file import EngineFile, library_of, plan_version
from edgedet.artifacts.engine_library import TENSORRT_RTX
from edgedet.artifacts.rtx_targets import gpus_of, is_for
from edgedet.errors import EngineMismatchError


@dataclass(frozen=True)
class Host:
    """What an engine must fit. ``tensorrt``: version of the library it is for, ``10.3.0``; ``compute_capability``:
    ``8.7``; ``architecture``: of the CPU, as :func:`platform.machine` says it. None where it is not known.
    """

    tensorrt: str | None
    compute_capability: str | None
    device: str | None = None
    architecture: str | None = None


def require_match(engine: EngineFile, plan: bytes, host: Host) -> None:
    """Compare an engine with the machine.

    An engine runs on the TensorRT version and the compute capability it was built for, unless it was built to be
    compatible (``version_compatible``: the same or a later minor version, or the next major one;
    ``hardware_compatibility``: ``ampere_plus`` or ``same_compute_capability``). One of TensorRT-RTX runs on its
    version alone, and on the compute capabilities it was built for, wherever it was built.

    Raises:
        EngineMismatchError: naming what the engine was built for and what is here.
        ArtifactError: its name, its card and its plan are of different libraries.
    """
    library = library_of(engine)
    facts = engine.facts
    options = facts.get("options")
    options = options if isinstance(options, dict) else {}
    built = facts.get(library.version_key)
    built = built if isinstance(built, str) and _numbers(built) else plan_version(plan)
    if built and host.tensorrt and not _version_fits(built, host.tensorrt, bool(options.get("version_compatible"))):
        raise EngineMismatchError(
            f"{engine.path} was built by {library.title} {built}, this machine has {library.title} "
            f"{host.tensorrt}; {library.rebuild}"
        )
    if library is TENSORRT_RTX:
        if host.compute_capability and not is_for(facts, host.compute_capability):
            here = f"{host.compute_capability}{f' ({host.device})' if host.device else ''}"
            raise EngineMismatchError(
                f"{engine.path} was built for {gpus_of(facts)}, this machine has {here}; build one for it "
                "(edgedet export MODEL.onnx -o ENGINE.rtx --compute-capability ...) where TensorRT-RTX is for such "
                "GPUs, or run a graph (.onnx)"
            )
        return
    capability = facts.get("compute_capability")
    if (
        isinstance(capability, str)
        and host.compute_capability
        and not _capability_fits(capability, host.compute_capability, str(options.get("hardware_compatibility")))
    ):
        where = facts.get("device")
        raise EngineMismatchError(
            f"{engine.path} was built for compute capability {capability}{f' ({where})' if where else ''}, this "
            f"machine has {host.compute_capability}{f' ({host.device})' if host.device else ''}; {library.rebuild}"
        )
    architecture = facts.get("architecture")
    if isinstance(architecture, str) and host.architecture and architecture != host.architecture:
        raise EngineMismatchError(
            f"{engine.path} was built on {architecture}, this machine is {host.architecture}; {library.rebuild}"
        )


def made_for(engine: EngineFile) -> str:
    """The library, and the GPUs, that an engine was made for, in words, as far as its card says.

    Raises:
        ArtifactError: its name, its card and its plan are of different libraries.
    """
    library = library_of(engine)
    if library is TENSORRT_RTX:
        return f"{library.title} on GPUs of {gpus_of(engine.facts)}"
    one, name = (engine.facts.get(key) for key in ("compute_capability", "device"))
    return (
        library.title + (f" on a GPU of compute capability {one}" if one else "") + (f" ({name})" if name else "")
    )


def _version_fits(built: str, here: str, compatible: bool) -> bool:
    ours, theirs = _numbers(built), _numbers(here)
    if compatible:
        return (ours[0] == theirs[0] and ours <= theirs) or ours[0] + 1 == theirs[0]
    length = min(len(ours), len(theirs))
    return ours[:length] == theirs[:length]


def _capability_fits(built: str, here: str, compatibility: str) -> bool:
    ours, theirs = _numbers(built), _numbers(here)
    if compatibility == "ampere_plus":
        return bool(ours) and bool(theirs) and theirs[0] >= 8
    return ours == theirs


def _numbers(version: str) -> tuple[int, ...]:
    """Leading numbers of a version.

    >>> _numbers("10.16.1.11.post1")
    (10, 16, 1, 11)
    """
    found: list[int] = []
    for part in version.split("."):
        if not part.isdigit():
            break
        found.append(int(part))
    return tuple(found)
