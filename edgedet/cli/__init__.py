"""The command line: one module per command, found in one table.

A command module has a docstring (shown by ``--help``), ``EXAMPLES`` (shown below the options),
``add_arguments(parser)`` and ``run(arguments) -> int``. It imports what it needs inside ``run``: help must
stay instant, and only the module of the command that was asked for is imported at all.

Exit codes: 0 done, 1 the work failed, 2 bad usage or input, 130 interrupted. Results go to stdout, everything
else to stderr.
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType
from typing import NoReturn, TextIO

from edgedet import __version__
from edgedet.cli.signature_option import add_signature_option, required_by
from edgedet.errors import EdgedetError

COMMANDS: dict[str, tuple[str, str]] = {
    "export": ("edgedet.cli.export", "turn a checkpoint or a foreign ONNX file into a graph for the edge"),
    "detect": ("edgedet.cli.detect", "find objects in images, folders and videos; JSON lines out"),
    "watch": ("edgedet.cli.watch", "watch cameras and streams; tell when something appears and when it is gone"),
    "install": ("edgedet.cli.install", "put a new artifact in the place of an old one, whole or not at all"),
    "sign": ("edgedet.cli.sign", "sign an artifact, so that devices open it and no other"),
    "keygen": ("edgedet.cli.keygen", "make a pair of keys: to sign with, and to check signatures with"),
    "inspect": ("edgedet.cli.inspect", "show what an artifact holds: card, shapes, nodes, precision"),
    "parity": ("edgedet.cli.parity", "check that two artifacts of one detector agree, box by box"),
    "eval": ("edgedet.cli.eval", "measure the accuracy of an artifact on labelled images"),
    "check": ("edgedet.cli.check", "test the assumed settings of a checkpoint by mAP"),
    "bench": ("edgedet.cli.bench", "measure latency on this machine, from frame to detections"),
    "tune": ("edgedet.cli.tune", "race the runtimes installed here, and use the quickest for an artifact"),
    "compare": ("edgedet.cli.compare", "report changes between benchmarks that are more than noise"),
    "sweep": ("edgedet.cli.sweep", "export, evaluate and measure a grid of detectors and settings"),
    "report": ("edgedet.cli.report", "show accuracy against latency in one HTML file, and the best choice"),
    "convert": ("edgedet.cli.convert", "turn a dataset into another format, or split it by seed"),
    "anchors": ("edgedet.cli.anchors", "fit anchors to a dataset, with their mean IoU"),
    "selftest": ("edgedet.cli.selftest", "check that this machine, or an artifact on it, computes what it should"),
    "doctor": ("edgedet.cli.doctor", "report what this machine can run, and what is missing"),
}
"""Command name to its module and the one line the overview shows."""

OPENING = ("bench", "detect", "doctor", "eval", "inspect", "install", "parity", "selftest", "tune", "watch")
"""Commands that open artifacts, and so take ``--require-signature``. Others make them, and open nothing else."""

TRACEBACK_VARIABLE = "EDGEDET_TRACEBACK"

NOT_FOR_US = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
"""Errors of the system for a path that the user gave; they are no bug of edgedet."""

OVERVIEW_EXAMPLES = """\
examples:
  edgedet export model.pt -o model.onnx            checkpoint to a self-describing graph
  edgedet export model.pt --int8 --calib photos/   the same, quantised
  edgedet detect model.onnx photo.jpg              boxes as JSON lines
  edgedet parity model.pt model.onnx --frames photos/

exit codes: 0 done, 1 the work failed, 2 bad usage or input. EDGEDET_TRACEBACK=1 shows tracebacks.
"""


LONGEST_MESSAGE = 300
"""Maximum length of a message: argparse repeats every name that the shell put in place of a star."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message on one line, of a length to be read, and leave with exit code 2."""
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}…"
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def command() -> NoReturn:
    """The ``edgedet`` command as a process: run it and leave."""
    code = main()
    if any(thread.name.startswith("edgedet-read") for thread in threading.enumerate()):
        # A camera's or stream's native call blocks. If it came back while the interpreter is being taken down, its
        # thread would be ended in the middle of C++, and the process aborted.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code and never raises for a user's mistake.

    ``argv``: the arguments without the program's name; None takes them from ``sys.argv``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Started with a stream closed (`>&-`), Python has None there.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        # A class or file name that the locale cannot spell must not end the work.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _termination_unwinds():
            code = dispatch(arguments)
        # A closed pipe shows only when the buffer is written: do it where it is handled.
        sys.stdout.flush()
        return code
    except SystemExit as leave:  # argparse: --help, --version, bad usage
        return leave.code if isinstance(leave.code, int) else 0
    except EdgedetError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        # The reader has seen enough (`edgedet detect … | head`). The interpreter flushes stdout once more
        # on its way out; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" ({error.filename})" if error.filename else ""
            _complain(f"cannot write the output{where}: {error.strerror}; make room, or write to another place")
            return 1
        if isinstance(error, OSError) and error.errno in NOT_FOR_US and error.filename:
            _complain(f"cannot use {error.filename}: {error.strerror}")
            return 2
        if _interrupted(error):
            _complain("interrupted")
            return 130
        _complain(
            f"unexpected {type(error).__name__}: {error} (this is a bug in edgedet or in a package below it; "
            f"{TRACEBACK_VARIABLE}=1 shows where)"
        )
        return 1


def _interrupted(error: BaseException) -> bool:
    """Whether ``error`` came up while Ctrl-C unwound: a clean-up that fails then is not what ended the run."""
    cause = error.__context__
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None


def dispatch(arguments: list[str]) -> int:
    """Run the command ``arguments`` names and return its exit code; errors pass through."""
    command = next((word for word in arguments if not word.startswith("-")), None)
    parser = Parser(
        prog="edgedet",
        description="Trained object detectors on edge devices: export, run, and prove what was kept.",
        epilog=OVERVIEW_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edgedet {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    module: ModuleType | None = None
    for name, (home, summary) in COMMANDS.items():
        if name != command:
            subparsers.add_parser(name, help=summary)
            continue
        module = import_module(home)
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        if name in OPENING:
            add_signature_option(subparser)
    parsed = parser.parse_args(arguments)
    assert module is not None, "argparse accepted a command that is not in the table"
    with required_by(parsed):
        code: int = module.run(parsed)
    return code


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Let SIGTERM (schedulers, ``timeout``, ``docker stop``) unwind as Ctrl-C does, so no partial file stays."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(message: str) -> None:
    """One line on stderr, whatever the message holds; the traceback too where it was asked for."""
    if os.environ.get(TRACEBACK_VARIABLE, "0") not in ("", "0"):
        traceback.print_exc()
    print(f"edgedet: error: {' '.join(message.split())}", file=sys.stderr)
