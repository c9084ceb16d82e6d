"""The command line as a whole: help, exit codes, one-line errors, interruption, closed pipes."""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from edgedet import cli
from edgedet.cli import COMMANDS, main
from edgedet.cli.progress import Progress
from edgedet.errors import EdgedetError, ExportError, SourceError


def command_that(monkeypatch: pytest.MonkeyPatch, raises: BaseException | None = None, returns: int = 0) -> None:
    """Put a command called ``fake`` into the table."""

    def run(arguments: object) -> int:
        if raises is not None:
            raise raises
        return returns

    module = types.SimpleNamespace(__doc__="A command.", EXAMPLES="", add_arguments=lambda parser: None, run=run)
    monkeypatch.setitem(COMMANDS, "fake", ("fake_module", "does nothing"))
    monkeypatch.setattr(cli, "import_module", lambda home: module)


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    module = importlib.import_module(COMMANDS[name][0])
    assert module.__doc__
    assert f"edgedet {name}" in module.EXAMPLES


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from edgedet.cli import COMMANDS, main\n"
        "for name in COMMANDS: main([name, '--help'])\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'cv2', 'tensorrt', 'pycocotools'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [[], ["no-such-command"], ["doctor", "--no-such-option"]])
def test_bad_usage_is_one_line_and_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "--help" in complaint


@pytest.mark.parametrize(("error", "code"), [(SourceError("bad\ninput"), 2), (ExportError("no\nluck"), 1)])
def test_an_expected_error_is_one_line_with_the_code_of_its_class(
    error: EdgedetError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, raises=error)
    assert main(["fake"]) == code
    complaint = capsys.readouterr().err
    assert complaint == f"edgedet: error: {' '.join(str(error).split())}\n"


def test_an_unexpected_error_is_one_line_that_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, raises=ZeroDivisionError("division by zero"))
    monkeypatch.delenv("EDGEDET_TRACEBACK", raising=False)
    assert main(["fake"]) == 1
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert "ZeroDivisionError" in complaint
    assert "EDGEDET_TRACEBACK=1" in complaint


def test_a_path_the_system_refuses_is_bad_input_and_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, raises=PermissionError(13, "Permission denied", "locked/data.yaml"))
    assert main(["fake"]) == 2
    assert capsys.readouterr().err == "edgedet: error: cannot use locked/data.yaml: Permission denied\n"


def test_the_traceback_is_there_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, raises=SourceError("bad input"))
    monkeypatch.setenv("EDGEDET_TRACEBACK", "1")
    assert main(["fake"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_ctrl_c_is_exit_code_130_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, raises=KeyboardInterrupt())
    assert main(["fake"]) == 130
    assert capsys.readouterr().err == "edgedet: error: interrupted\n"


def test_a_package_that_stumbles_while_ctrl_c_unwinds_does_not_hide_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As zipfile does: closed half-written, it raises a ValueError.
    stumbled = ValueError("Can't close the ZIP file")
    stumbled.__context__ = KeyboardInterrupt()
    command_that(monkeypatch, raises=stumbled)
    assert main(["fake"]) == 130
    assert capsys.readouterr().err == "edgedet: error: interrupted\n"


def test_a_command_s_own_code_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    command_that(monkeypatch, returns=1)
    assert main(["fake"]) == 1


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    script = (
        "import sys, types; from edgedet import cli\n"
        "def run(arguments):\n"
        "    for _ in range(100000): print('a line of output')\n"
        "    return 0\n"
        "cli.COMMANDS['fake'] = ('fake', 'x')\n"
        "cli.import_module = lambda home: types.SimpleNamespace("
        "__doc__='', EXAMPLES='', add_arguments=lambda p: None, run=run)\n"
        "sys.exit(cli.main(['fake']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 141


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_names_that_the_locale_cannot_spell_are_still_printed(locale: str, tmp_path: Path) -> None:
    missing = tmp_path / "модель.onnx"
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "edgedet", "inspect", str(missing)],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert b"no such file" in done.stderr


def test_termination_cleans_up_like_ctrl_c(tmp_path: Path) -> None:
    script = (
        "import sys, time, types; from edgedet import cli; from edgedet.files import atomic_path\n"
        "def run(arguments):\n"
        f"    with atomic_path({str(tmp_path / 'out.onnx')!r}) as partial:\n"
        "        partial.write_bytes(b'half'); print('ready', flush=True); time.sleep(60)\n"
        "    return 0\n"
        "cli.COMMANDS['fake'] = ('fake', 'x')\n"
        "cli.import_module = lambda home: types.SimpleNamespace("
        "__doc__='', EXAMPLES='', add_arguments=lambda p: None, run=run)\n"
        "sys.exit(cli.main(['fake']))"
    )
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, complaint = process.communicate(timeout=30)
        assert process.returncode == code
        assert "Traceback" not in complaint
        assert list(tmp_path.iterdir()) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_wiped_at_the_end() -> None:
    terminal = Terminal()
    with Progress(terminal) as progress:
        progress("calibrating", 1, 2)
        progress("calibrating", 2, 2)
    assert "calibrating [############            ] 1/2" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[2K")


def test_progress_is_silent_elsewhere() -> None:
    pipe = io.StringIO()
    with Progress(pipe) as progress:
        progress("calibrating", 1, 2)
    assert pipe.getvalue() == ""


def test_an_interrupted_progress_line_is_wiped_before_the_error() -> None:
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), Progress(terminal) as progress:
        progress("calibrating", 1, 2)
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith("\r\x1b[2K")
