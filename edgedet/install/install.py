"""The one way from an artifact that came to a device to the one that runs there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from edgedet.artifacts.card import ModelCard
from edgedet.artifacts.held_artifact import hold
from edgedet.artifacts.signature import LARGEST, Signature, parse, serialise, signature_path
from edgedet.artifacts.signature_policy import VARIABLE, required_keys
from edgedet.artifacts.signed_artifact import signatures_that_fit, verify_bytes
from edgedet.artifacts.wholeness import require_whole
from edgedet.errors import ArtifactError, EdgedetError, InstallError, OutputError, SelftestError, SignatureError
from edgedet.files import read_regular
from edgedet.install.swap import (
    alone_in,
    place,
    remove_leftovers,
    same_file,
    signatures_of,
    staged_path,
    write_through,
)
from edgedet.install.trial import Trial, try_artifact
from edgedet.opening import artifact_kind, read_card

LARGEST_ARTIFACT = 1 << 36
SECONDS = 300.0
"""Time for the self-test: the first run of an engine may compile kernels for minutes."""


@dataclass(frozen=True)
class InstallOptions:
    """How to install.

    Attributes:
        keep_previous: whether the old artifact stays, as ``model.previous.onnx``.
        accept_unproved: whether an artifact is taken that runs, and of which nothing can be compared.
        other_classes: whether it may find other classes than the old one.
        seconds: time for the self-test.
    """

    keep_previous: bool = False
    accept_unproved: bool = False
    other_classes: bool = False
    seconds: float = SECONDS


@dataclass(frozen=True)
class Installed:
    """What was installed.

    Attributes:
        path: where.
        sha256: of the artifact.
        previous: the old artifact, where it was kept.
        signed: whether a signature was required and found right.
        trial: what the self-test said.
        notes: what the user should know.
    """

    path: Path
    sha256: str
    previous: Path | None
    signed: bool
    trial: Trial
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _New:
    """An artifact that came: read once, checked, and written as it was checked."""

    content: bytes
    card: ModelCard
    signatures: tuple[Signature, ...]
    signed: bool
    mode: int


@dataclass(frozen=True)
class _Old:
    """The artifact that is there, with its permissions, its owner and group (numbers), and its signatures."""

    content: bytes
    signatures: tuple[Signature, ...]
    mode: int
    owner: tuple[int, int]


def install(new: Path, current: Path, options: InstallOptions | None = None) -> Installed:
    """Verify ``new``, try it on this device, and put it in the place of ``current``.

    Until the last step ``current`` is as it was, whatever fails and whenever the process is killed; and then it is
    ``new``. Its signatures go with it. Both are artifacts of one file.

    Args:
        new: graph or engine; its signatures lie beside it.
        current: the artifact that runs here; it may be missing.
        options: None takes the defaults.

    Raises:
        SignatureError: a signature is required, and is not there or not right; or ``current`` is signed, and
            ``new`` is not, or nothing says whose signature it must have.
        ArtifactError: ``new`` is damaged, of several files, or cannot run here.
        SelftestError: ``new`` does not give what it gave at export, or nothing shows that it does.
        InstallError: it finds other classes, or another installation is at work.
        OutputError: the place cannot be written.
    """
    options = options or InstallOptions()
    _check_places(new, current)
    notes: list[str] = []
    with alone_in(current.parent):
        remove_leftovers(current)
        remove_leftovers(signature_path(current))
        came = _read(new)
        old = _old(current, came, options, notes)
        staged = staged_path(current)
        try:
            _stage(staged, came, came.mode if old is None else old.mode)
            if old is not None:
                _hand_over(staged, old.owner, notes)
            trial = _tried(staged, new, current, options)
            previous = _keep(current, old) if options.keep_previous and old is not None else None
            place(staged, current, came.signatures)
        except OSError as error:
            raise OutputError(
                f"cannot write beside {current}: {error.strerror or error}; it is as it was"
            ) from error
        finally:
            for leftover in (staged, signature_path(staged)):
                with contextlib.suppress(OSError):
                    leftover.unlink(missing_ok=True)
        _require_in_place(current, came, old)
    digest = hashlib.sha256(came.content).hexdigest()
    return Installed(current, digest, previous, came.signed, trial, tuple(notes))


def previous_path(current: Path) -> Path:
    """Path at which the old artifact stays.

    >>> previous_path(Path("models/camera.onnx")).name
    'camera.previous.onnx'
    """
    return current.with_name(f"{current.stem}.previous{current.suffix}")


def _check_places(new: Path, current: Path) -> None:
    if current.is_symlink():
        raise OutputError(
            f"{current} is a symbolic link, which a swap would replace; name the file that it leads to"
        )
    if current.exists() and not current.is_file():
        raise OutputError(f"{current} is no file; --over names the artifact to replace")
    if not current.parent.is_dir():
        raise OutputError(f"{current.parent} is no folder; make it before the first artifact is installed there")
    if new.suffix.lower() != current.suffix.lower():
        raise InstallError(
            f"{new.name} cannot take the place of {current.name}: the programs that open it take {current.suffix} "
            f"files; export one"
        )
    if new.exists() and current.exists() and new.samefile(current):
        raise InstallError(f"{new} is {current} already")


def _read(new: Path) -> _New:
    artifact_kind(new)  # says best what is wrong with a name that leads to no artifact
    try:
        mode = stat.S_IMODE(new.stat().st_mode)
        content = read_regular(new, LARGEST_ARTIFACT)
    except OSError as error:
        raise ArtifactError(f"cannot read {new}: {error.strerror or error}") from error
    kind = artifact_kind(new, content)
    if kind == "checkpoint":
        raise ArtifactError(f"{new} is a checkpoint; export it, and install what comes out")
    keys = required_keys(None)
    beside = signature_path(new)
    stated: bytes | None = None
    with contextlib.suppress(OSError):
        stated = read_regular(beside, LARGEST)
    if keys:
        if stated is None:
            raise SignatureError(
                f"{new} is not signed, and a signature is required: {beside.name} is not beside it; its owner "
                f"makes it with edgedet sign {new.name} --key KEY"
            )
        verify_bytes(content, stated, keys, new, graph=kind == "graph")
    hold(content, new, graph=kind == "graph")
    signatures = () if stated is None else signatures_that_fit(new, content, parse(stated, str(beside)))
    if stated is not None and not signatures:
        raise SignatureError(f"{new} is not the file that was signed in {beside.name}; take both from their owner")
    card = read_card(new, content)
    require_whole(new, kind, content)
    return _New(content, card, signatures, bool(keys), mode)


def _old(current: Path, came: _New, options: InstallOptions, notes: list[str]) -> _Old | None:
    """The artifact that is there, held against the new one; None where there is none."""
    beside = signature_path(current)
    if beside.exists() and not came.signatures:
        raise SignatureError(
            f"{current} is signed, and what would take its place is not: sign it (edgedet sign), or remove "
            f"{beside.name} where signatures are no longer wanted"
        )
    if beside.exists() and not came.signed:
        # A device that asks for the owner's signature would open nothing at its next start.
        raise SignatureError(
            f"{current} is signed, and nothing says whose signature may take its place: --require-signature PUBKEY "
            f"(or the variable {VARIABLE}); or remove {beside.name} where signatures are no longer wanted"
        )
    try:
        content = read_regular(current, LARGEST_ARTIFACT)
        status = current.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"cannot read {current}: {error.strerror or error}") from error
    signatures: tuple[Signature, ...] = ()
    try:
        signatures = signatures_of(current, content)
    except (SignatureError, OSError) as error:
        notes.append(f"the signatures of what was there could not be read, and are gone: {error}")
    old = _Old(content, signatures, stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid))
    try:
        card = read_card(current, content)
    except EdgedetError as error:
        notes.append(f"what was there could not be read, and its classes were not compared: {error}")
        return old
    if _answers(card) != _answers(came.card) and not options.other_classes:
        raise InstallError(
            f"{current} finds {_named(card)}, and what would take its place finds {_named(came.card)}: programs "
            "that know the old classes would take one for another; --other-classes installs it all the same"
        )
    return old


def _stage(staged: Path, came: _New, mode: int) -> None:
    write_through(staged, came.content, mode)
    if came.signatures:
        write_through(signature_path(staged), serialise(came.signatures), 0o644)


def _hand_over(staged: Path, owner: tuple[int, int], notes: list[str]) -> None:
    """Give the new artifact to whom the old one belongs: a service may run as that user."""
    status = staged.stat()
    if (status.st_uid, status.st_gid) == owner or not hasattr(os, "chown"):
        return
    try:
        os.chown(staged, *owner)
    except OSError:
        notes.append(
            f"it belongs to user {status.st_uid} and group {status.st_gid}, what was there to {owner[0]} and "
            f"{owner[1]}: see that whoever opens it can read it"
        )


def _tried(staged: Path, new: Path, current: Path, options: InstallOptions) -> Trial:
    as_it_was = f"{current} is as it was" if current.exists() else "nothing was installed"
    try:
        trial = try_artifact(staged, seconds=options.seconds)
    except SelftestError as error:
        raise SelftestError(f"{str(error).replace(str(staged), str(new))}; {as_it_was}") from None
    if not trial.proved and not options.accept_unproved:
        raise SelftestError(
            f"nothing shows that {new} gives here what it gave when it was made ({trial.said}); {as_it_was}. "
            "Compare it on frames of your own (edgedet parity), and install it with --accept-unproved"
        )
    return trial


def _keep(current: Path, old: _Old) -> Path:
    previous = previous_path(current)
    remove_leftovers(previous)
    staged = staged_path(previous)
    same_file(current, staged)
    try:
        place(staged, previous, old.signatures)
    finally:
        staged.unlink(missing_ok=True)
    return previous


def _require_in_place(current: Path, came: _New, old: _Old | None) -> None:
    """What is there now is what was tried; else the old artifact comes back."""
    try:
        if current.read_bytes() == came.content and set(came.signatures) <= set(
            signatures_of(current, came.content)
        ):
            return
        why = "its bytes are others than those that were written"
    except (OSError, SignatureError) as error:
        why = str(error)
    if old is None:
        raise InstallError(f"{current} cannot be read back ({why}); the disk may be failing")
    staged = staged_path(current)
    try:
        write_through(staged, old.content, old.mode)
        place(staged, current, old.signatures)
    except OSError as error:
        raise InstallError(f"{current} cannot be read back ({why}), nor put back ({error})") from error
    raise InstallError(f"{current} could not be read back ({why}); the old artifact is in its place again")


def _answers(card: ModelCard) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names, and what comes with every box."""
    further = [name for name in ("masks", "keypoints") if getattr(card.output, name) is not None]
    return card.names, (*card.output.data, *further)


def _named(card: ModelCard) -> str:
    names = ", ".join(card.names[:6]) + (", …" if len(card.names) > 6 else "")
    more = _answers(card)[1]
    return f"{len(card.names)} classes ({names})" + f" with {', '.join(more)}" * bool(more)
