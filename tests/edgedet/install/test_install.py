"""A new artifact in the old one's place: tried first, then whole, with its own signature and with no other."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgedet import Detector
from edgedet.artifacts.card import METADATA_KEY, ModelCard
from edgedet.artifacts.engine_file import write_engine
from edgedet.artifacts.seal import SEAL_KEY, sealed
from edgedet.artifacts.signature import signature_path
from edgedet.artifacts.signature_policy import VARIABLE, requiring
from edgedet.cli import main
from edgedet.errors import InstallError, OutputError, SelftestError
from edgedet.files import file_sha256
from edgedet.install import install as installing
from edgedet.install import trial
from edgedet.install.install import InstallOptions, install, previous_path
from edgedet.install.swap import alone_in, staged_path
from edgedet.opening import read_card
from edgedet.selftest import SELFTEST_GRAPH
from tests.edgedet.install.kill import make_pair


@pytest.fixture(autouse=True)
def nothing_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A new artifact, and the one that runs: the same network with another threshold."""
    return make_pair(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rewritten(path: Path, change: Any) -> None:
    """Change the card of a graph, and seal it."""
    model = onnx.load(str(path))
    card = ModelCard.from_json(next(e.value for e in model.metadata_props if e.key == METADATA_KEY))
    kept = {e.key: e.value for e in model.metadata_props if e.key not in (METADATA_KEY, SEAL_KEY)}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, kept | {METADATA_KEY: change(card).to_json()})
    path.write_bytes(sealed(model.SerializeToString()))


def test_the_new_one_is_in_place_and_nothing_else_is_left(places: tuple[Path, Path]) -> None:
    new, current = places
    current.chmod(0o640)
    done = install(new, current)
    assert current.read_bytes() == new.read_bytes()
    assert names(current.parent) == ["model.onnx"]
    assert (done.sha256, done.previous, done.signed, done.trial.proved) == (file_sha256(new), None, False, True)
    assert current.stat().st_mode & 0o777 == 0o640
    Detector(current, selftest=True).close()


def test_the_first_one_is_installed_where_there_was_none(places: tuple[Path, Path]) -> None:
    new, current = places
    current.unlink()
    assert install(new, current, InstallOptions(keep_previous=True)).previous is None
    assert current.read_bytes() == new.read_bytes()


def test_the_old_one_is_kept_and_comes_back(places: tuple[Path, Path]) -> None:
    new, current = places
    old = current.read_bytes()
    done = install(new, current, InstallOptions(keep_previous=True))
    assert done.previous == previous_path(current) and done.previous.read_bytes() == old
    install(done.previous, current)
    assert current.read_bytes() == old


class TestRefused:
    """CURRENT is as it was, and nothing lies beside it."""

    @pytest.fixture(autouse=True)
    def unchanged(self, places: tuple[Path, Path]) -> Any:
        _, current = places
        before, there = current.read_bytes(), names(current.parent)
        yield
        assert current.read_bytes() == before
        assert names(current.parent) == there

    def test_one_that_gives_something_else_here(self, places: tuple[Path, Path]) -> None:
        from dataclasses import replace

        new, current = places
        rewritten(new, lambda card: replace(card, golden=card.golden | {"scores": card.golden["scores"][::-1]}))
        with pytest.raises(SelftestError, match=r"self-test failed: .*model\.onnx is as it was"):
            install(new, current, InstallOptions(accept_unproved=True))

    def test_one_of_which_nothing_is_known(self, places: tuple[Path, Path]) -> None:
        from dataclasses import replace

        new, current = places
        rewritten(new, lambda card: replace(card, golden=None))
        with pytest.raises(SelftestError, match=r"nothing shows .* install it with --accept-unproved"):
            install(new, current)

    def test_one_that_finds_other_classes(self, places: tuple[Path, Path]) -> None:
        from dataclasses import replace

        new, current = places
        rewritten(new, lambda card: replace(card, names=("dark", "edge", "bright")))
        with pytest.raises(
            InstallError, match=r"\(dark, bright, edge\), .* \(dark, edge, bright\).*--other-classes"
        ):
            install(new, current)

    def test_a_damaged_one(self, places: tuple[Path, Path], capsys: Any) -> None:
        new, current = places
        new.write_bytes(new.read_bytes()[:-84])
        assert main(["install", str(new), "--over", str(current)]) == 2
        assert "is damaged" in capsys.readouterr().err

    def test_one_that_ends_its_process(self, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        new, current = places
        monkeypatch.setattr(trial, "START", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        with pytest.raises(SelftestError, match=r"ended without a word: ended by SIGSEGV; .* is as it was"):
            install(new, current)

    def test_one_that_never_comes_to_an_end(
        self, places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        new, current = places
        monkeypatch.setattr(trial, "START", "import time; time.sleep(60)")
        with pytest.raises(SelftestError, match=r"not done in 0\.5 s; --timeout gives it longer"):
            install(new, current, InstallOptions(seconds=0.5))

    def test_an_engine_that_cannot_run_here(self, tmp_path: Path, places: tuple[Path, Path]) -> None:
        new, current = tmp_path / "new.trt", tmp_path / "current.trt"
        for path in (new, current):
            write_engine(path, read_card(SELFTEST_GRAPH), b"ptrt" + bytes(500))
        before = current.read_bytes()
        with pytest.raises(SelftestError, match=r"new\.trt.*current\.trt is as it was"):
            install(new, current)
        assert current.read_bytes() == before

    def test_another_kind_of_file(self, places: tuple[Path, Path], tmp_path: Path) -> None:
        _, current = places
        (tmp_path / "new.trt").write_bytes(b"")
        with pytest.raises(InstallError, match=r"the programs that open it take \.onnx files"):
            install(tmp_path / "new.trt", current)

    def test_itself(self, places: tuple[Path, Path]) -> None:
        _, current = places
        with pytest.raises(InstallError, match="already"):
            install(current, current)

    def test_while_another_installation_is_at_work(self, places: tuple[Path, Path]) -> None:
        new, current = places
        with alone_in(current.parent), pytest.raises(InstallError, match="another installation is at work"):
            install(new, current)

    def test_where_there_is_no_room(self, places: tuple[Path, Path]) -> None:
        """In a process of its own, which may write no file of more than ten thousand bytes."""
        new, current = places
        done = subprocess.run(
            [sys.executable, "-m", "edgedet", "install", str(new), "--over", str(current)],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
            # Python (3.11) would cut off its modules' bytecode without a word, and not start the next time.
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert f"cannot write beside {current}: File too large; it is as it was" in done.stderr

    def test_a_weight_s_file_beside_it(self, places: tuple[Path, Path], capsys: Any) -> None:
        new, current = places
        model = onnx.load(str(new))
        onnx.save(model, str(new), save_as_external_data=True, location="weights.bin", size_threshold=0)
        assert main(["install", str(new), "--over", str(current)]) == 2
        assert "lie in other files (weights.bin)" in capsys.readouterr().err


def test_what_was_killed_before_leaves_nothing_and_blocks_nothing(places: tuple[Path, Path]) -> None:
    new, current = places
    for leftover in (staged_path(current), signature_path(staged_path(current))):
        leftover.with_name(leftover.name.replace(str(os.getpid()), "4711")).write_bytes(b"half")
    install(new, current)
    assert names(current.parent) == ["model.onnx"]


def test_a_link_in_current_s_place_is_not_replaced(places: tuple[Path, Path], tmp_path: Path) -> None:
    new, current = places
    (tmp_path / "link.onnx").symlink_to(current)
    with pytest.raises(OutputError, match="a symbolic link"):
        install(new, tmp_path / "link.onnx")


def test_what_cannot_be_read_back_is_put_back(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    new, current = places
    old, real = current.read_bytes(), installing.place
    calls: list[Path] = []

    def place(staged: Path, target: Path, signatures: Any) -> None:
        real(staged, target, signatures)
        calls.append(target)
        if len(calls) == 1:
            target.write_bytes(b"what a failing disk gives")

    monkeypatch.setattr(installing, "place", place)
    with pytest.raises(InstallError, match="the old artifact is in its place again"):
        install(new, current)
    assert current.read_bytes() == old and names(current.parent) == ["model.onnx"]


def test_the_command_says_what_it_did(places: tuple[Path, Path], capsys: Any) -> None:
    new, current = places
    assert main(["install", str(new), "--over", str(current), "--keep-previous", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(current) and told["sha256"] == file_sha256(new) and told["proved"] is True
    assert told["previous"].endswith("model.previous.onnx") and told["signature_checked"] is False


def test_modules_of_the_current_folder_are_not_run(
    places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial looks for modules where this process does; a folder that anybody may write is not among them."""
    new, current = places
    (tmp_path / "json.py").write_text("import os; os.kill(os.getpid(), 9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert install(new, current).trial.proved


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_it_belongs_to_whom_the_old_one_belonged(places: tuple[Path, Path]) -> None:
    new, current = places
    os.chown(current, 65534, 65533)
    current.chmod(0o640)
    assert not install(new, current).notes
    status = current.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65533, 0o640)


def test_whose_it_is_is_said_where_it_cannot_be_given_away(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    new, current = places
    real = Path.stat

    def stat(self: Path, **how: Any) -> Any:
        status = real(self, **how)
        if self != current:
            return status
        return os.stat_result((*status[:4], 12345, 54321, *status[6:]))

    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(os, "chown", refuse)
    (note,) = install(new, current).notes
    assert "what was there to 12345 and 54321" in note


class TestSigned:
    @pytest.fixture
    def owner(self, tmp_path: Path) -> Path:
        pytest.importorskip("cryptography", reason="needs edgedet[signing]")
        assert main(["keygen", str(tmp_path / "owner")]) == 0
        return tmp_path / "owner.pub"

    def sign(self, path: Path, owner: Path) -> Path:
        assert main(["sign", str(path), "--key", str(owner.with_suffix(".key"))]) == 0
        return path

    def test_the_signature_goes_with_it(self, places: tuple[Path, Path], owner: Path) -> None:
        new, current = places
        self.sign(new, owner)
        self.sign(current, owner)
        command = [
            "install",
            str(new),
            "--over",
            str(current),
            "--keep-previous",
            "--require-signature",
            str(owner),
        ]
        assert main(command) == 0
        assert signature_path(current).read_bytes() == signature_path(new).read_bytes()
        for path in (current, previous_path(current)):
            Detector(path, require_signature=owner).close()
        assert len(names(current.parent)) == 4

    def test_one_that_is_not_signed_does_not_come_in(
        self, places: tuple[Path, Path], owner: Path, capsys: Any
    ) -> None:
        new, current = places
        assert main(["install", str(new), "--over", str(current), "--require-signature", str(owner)]) == 2
        assert "is not signed, and a signature is required" in capsys.readouterr().err
        self.sign(current, owner)
        assert main(["install", str(new), "--over", str(current)]) == 2
        assert "is signed, and what would take its place is not" in capsys.readouterr().err
        shutil.copy(signature_path(current), signature_path(new))
        assert main(["install", str(new), "--over", str(current)]) == 2
        assert "is not the file that was signed in" in capsys.readouterr().err
        assert current.read_bytes() != new.read_bytes()

    def test_at_no_moment_is_an_artifact_without_its_signature(
        self, places: tuple[Path, Path], owner: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Opened after every change of the folder, as a program that starts just then would."""
        from edgedet.artifacts.signed_artifact import read_verified
        from edgedet.artifacts.signing_keys import read_public_keys

        new, current = places
        self.sign(new, owner)
        self.sign(current, owner)
        keys = [read_public_keys(owner)]
        seen: list[bytes] = []
        real = Path.replace

        def replace(self: Path, target: Path) -> Path:
            done = real(self, target)
            seen.append(read_verified(current, keys).held.content)
            return done

        monkeypatch.setattr(Path, "replace", replace)
        old = current.read_bytes()
        with requiring(owner):
            install(new, current, InstallOptions(keep_previous=True))
        assert seen == sorted(seen, key=[old, new.read_bytes()].index)
        assert len(seen) >= 5 and {*seen} == {old, new.read_bytes()}

    @pytest.mark.parametrize("by", ["owner", "stranger"])
    def test_a_signed_one_is_replaced_where_it_is_said_whose_signature_it_takes(
        self, places: tuple[Path, Path], owner: Path, capsys: Any, by: str
    ) -> None:
        """Signatures hold no key: without one, a stranger's cannot be told from the owner's."""
        new, current = places
        assert main(["keygen", str(owner.with_name("stranger"))]) == 0
        self.sign(new, owner.with_name(f"{by}.pub"))
        self.sign(current, owner)
        assert main(["install", str(new), "--over", str(current)]) == 2
        assert "nothing says whose signature may take its place" in capsys.readouterr().err
        required = ["--require-signature", str(owner)]
        assert main(["install", str(new), "--over", str(current), *required]) == (0 if by == "owner" else 2)
        Detector(current, require_signature=owner).close()

    def test_an_unsigned_one_that_is_kept_has_no_signature(self, places: tuple[Path, Path], owner: Path) -> None:
        """Nor the one of what was kept before."""
        new, current = places
        self.sign(Path(shutil.copy(current, previous_path(current))), owner)
        install(new, current, InstallOptions(keep_previous=True))
        assert not signature_path(previous_path(current)).exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
class TestKilled:
    def test_at_every_change_of_a_file(self, tmp_path: Path) -> None:
        """The process ends itself at the first, the second, ... file that is opened, renamed or removed."""
        from tests.edgedet.install.kill import killed_at_every_event

        assert killed_at_every_event(tmp_path) >= 20
