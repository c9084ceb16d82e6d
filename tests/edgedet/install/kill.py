"""An installation that is killed at a place of one's choice, and what must hold afterwards.

``python tests/edgedet/install/kill.py FOLDER N`` installs ``new.onnx`` over ``current/model.onnx`` in FOLDER and
ends itself with SIGKILL just before the N-th time that it opens a file to write, renames, links or removes one
there. It prints ``done`` where it is not that often. N of 0 kills at no event: for killing from outside.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    installing.install(
        folder / "new.onnx", folder / "current" / "model.onnx", installing.InstallOptions(keep_previous=True)
    )
    print("done", flush=True)


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
    return current.read_bytes(), folder / "owner.pub"


def killed_at_every_event(folder: Path) -> int:
    """Kill at each event in turn, until none is left; the number of events. Both outcomes must be met with, and the
    next installation must go through."""
    from edgedet.install import install as installing
    from edgedet.install.trial import Trial

    found = set()
    for number in range(1, 200):
        old, keys = prepared(folder)
        for path in (folder / "current").iterdir():
            if path.name not in ("model.onnx", "model.onnx.sig"):
                path.unlink()
        done = subprocess.run(
            [sys.executable, __file__, str(folder), str(number)], capture_output=True, text=True, check=False
        )
        found.add(require_right(folder, old, keys))
        if "done" in done.stdout:
            assert found == {"old", "new"}
            return number - 1
        assert done.returncode == -signal.SIGKILL, done.stderr
        real, installing.try_artifact = installing.try_artifact, lambda path, seconds: Trial(True, "not tried")
        try:
            installing.install(folder / "new.onnx", folder / "current" / "model.onnx")
        finally:
            installing.try_artifact = real
        assert (folder / "current" / "model.onnx").read_bytes() == (folder / "new.onnx").read_bytes()
        left = [path.name for path in (folder / "current").iterdir() if "installing" in path.name]
        assert not left, left
    raise AssertionError("it never came to its end")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    main(Path(sys.argv[1]), int(sys.argv[2]))
