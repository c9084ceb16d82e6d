"""An installation that is killed at a place of one's choice, and what must hold afterwards.

``python tests/edgedet/install/kill.py FOLDER N`` installs ``new.onnx`` over ``current/model.onnx`` in FOLDER and
ends itself with SIGKILL just before the N-th time that it opens a file to write, renames, links or removes one
there. It prints ``done`` where it is not that often. N of 0 kills at no event: for killing from outside. Without N
it reads numbers, a line each, and does each in a fork, whose exit code it prints: importing takes longest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

ENDED = "ended"
EVENTS = ("open", "os.rename", "os.link", "os.remove", "os.chmod", "shutil.copyfile")


def make_pair(folder: Path) -> tuple[Path, Path]:
    """``new.onnx``, and ``current/model.onnx`` that is to be replaced: one network, two thresholds."""
    import onnx

    from edgedet.artifacts.card import METADATA_KEY, ModelCard
    from edgedet.artifacts.seal import SEAL_KEY, sealed
    from edgedet.selftest import SELFTEST_GRAPH

    new, current = folder / "new.onnx", folder / "current" / "model.onnx"
    current.parent.mkdir(exist_ok=True)
    new.write_bytes(SELFTEST_GRAPH.read_bytes())
    model = onnx.load(str(SELFTEST_GRAPH))
    card = ModelCard.from_json(next(e.value for e in model.metadata_props if e.key == METADATA_KEY))
    card = replace(card, output=replace(card.output, score_threshold=0.61))
    kept = {e.key: e.value for e in model.metadata_props if e.key not in (METADATA_KEY, SEAL_KEY)}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept | {METADATA_KEY: card.to_json()})
    current.write_bytes(sealed(model.SerializeToString()))
    return new, current


def main(folder: Path, number: int) -> None:
    """Install, and be killed."""
    from edgedet.artifacts.signature_policy import requiring
    from edgedet.install import install as installing
    from edgedet.install.trial import Trial

    # The trial is a process of its own, which writes nothing; it takes nearly all of the time.
    installing.try_artifact = lambda path, seconds: Trial(True, "not tried")
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in EVENTS or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    if number:
        sys.addaudithook(count)
    print("ready", flush=True)
    with requiring(public_key(folder)):
        installing.install(
            folder / "new.onnx", folder / "current" / "model.onnx", installing.InstallOptions(keep_previous=True)
        )
    print("done", flush=True)


def serve(folder: Path) -> None:
    """Install, and be killed, in one fork after another."""
    import edgedet.install.install  # noqa: F401  # once, for all of them

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                main(folder, int(line))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        print(ENDED, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


@contextmanager
def served(folder: Path) -> Iterator[Callable[[int], tuple[int, str]]]:
    """What kills at the event of a number, and gives the exit code and what was printed."""
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None

        def kill_at(number: int) -> tuple[int, str]:
            print(number, file=stdin, flush=True)
            said = ""
            for line in stdout:
                if line.startswith(ENDED):
                    return int(line.split()[1]), said
                said += line
            raise AssertionError(f"it ended by itself: {said}")

        yield kill_at


def require_right(folder: Path, old: bytes, keys: Path | None) -> str:
    """Whether the old or the new artifact is in place, whole, with its signature; another one is an error."""
    from edgedet.artifacts.signed_artifact import read_verified
    from edgedet.artifacts.signing_keys import read_public_keys

    current, new = folder / "current" / "model.onnx", (folder / "new.onnx").read_bytes()
    content = current.read_bytes()
    assert content in (old, new), "neither the old nor the new artifact"
    previous = current.with_name("model.previous.onnx")
    assert not previous.exists() or previous.read_bytes() == old
    if keys is not None:
        for path in (current, previous):
            if path.exists():
                read_verified(path, [read_public_keys(keys)])
    return "old" if content == old else "new"


def public_key(folder: Path) -> Path | None:
    """Of whoever signed the pair, if anybody did."""
    key = folder / "owner.pub"
    return key if key.exists() else None


def prepared(folder: Path) -> tuple[bytes, Path | None]:
    """A pair, signed where that can be done; the old artifact's bytes and the public key."""
    import importlib.util

    from edgedet.cli import main as edgedet

    new, current = make_pair(folder)
    if importlib.util.find_spec("cryptography") is None:
        return current.read_bytes(), None
    if not (folder / "owner.key").exists():
        edgedet(["keygen", str(folder / "owner")])
    edgedet(["sign", str(new), str(current), "--key", str(folder / "owner.key")])
    return current.read_bytes(), public_key(folder)


def killed_at_every_event(folder: Path) -> int:
    """Kill at each event in turn, until none is left; the number of events. Both outcomes must be met with, and the
    next installation must go through."""
    with served(folder) as kill_at:
        return _killed_at_every_event(folder, kill_at)


def _killed_at_every_event(folder: Path, kill_at: Callable[[int], tuple[int, str]]) -> int:
    from edgedet.artifacts.signature_policy import requiring
    from edgedet.install import install as installing
    from edgedet.install.trial import Trial

    found = set()
    for number in range(1, 200):
        old, keys = prepared(folder)
        for path in (folder / "current").iterdir():
            if path.name not in ("model.onnx", "model.onnx.sig"):
                path.unlink()
        code, said = kill_at(number)
        found.add(require_right(folder, old, keys))
        if "done" in said:
            assert found == {"old", "new"}
            return number - 1
        assert code == -signal.SIGKILL, said
        real, installing.try_artifact = installing.try_artifact, lambda path, seconds: Trial(True, "not tried")
        try:
            with requiring(keys):
                installing.install(folder / "new.onnx", folder / "current" / "model.onnx")
        finally:
            installing.try_artifact = real
        assert (folder / "current" / "model.onnx").read_bytes() == (folder / "new.onnx").read_bytes()
        left = [path.name for path in (folder / "current").iterdir() if "installing" in path.name]
        assert not left, left
    raise AssertionError("it never came to its end")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    if len(sys.argv) > 2:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        serve(Path(sys.argv[1]))
