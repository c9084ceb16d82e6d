"""What a command writes and whom it calls: every file opened to write and every socket, of it and of its children.

strace sees both from outside, whatever library does it. Where there is none, an audit hook of Python's sees what
Python does; and in either case the folders are compared before and after.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,creat,socket,connect,sendto,sendmsg,sendmmsg,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "mkdir,mkdirat,truncate,mknod,mknodat"
)
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')

HOOK = """
import os, sys
log = open(sys.argv[1], "a", buffering=1)
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        print("file", os.path.abspath(str(arguments[0])), file=log)
    elif event in ("os.rename", "os.link", "os.symlink"):
        print("file", os.path.abspath(str(arguments[1])), file=log)
    elif event == "os.mkdir":
        print("file", os.path.abspath(str(arguments[0])), file=log)
    elif event.startswith("socket.") and event not in ("socket.gethostname",):
        print("socket", event, arguments[1:], file=log)
sys.addaudithook(hook)
sys.argv[:] = sys.argv[2:]
exec(compile(open(sys.argv[0]).read() if sys.argv[0] != "edgedet" else
    "import sys; from edgedet.cli import main; sys.exit(main(sys.argv[1:]))", sys.argv[0], "exec"))
"""


@dataclass(frozen=True)
class Watched:
    """``files``: written, made, renamed or linked, whether they are still there or not; without ``/dev/null``.
    ``sockets``: as they were opened and used. ``left``: files that are there now and were not, or are others."""

    code: int
    out: str
    error: str
    files: tuple[str, ...]
    sockets: tuple[str, ...]
    left: tuple[str, ...]


def can_trace() -> bool:
    """Whether there is strace, and it may look at processes here."""
    if shutil.which("strace") is None:
        return False
    return _strace_runs()


def _strace_runs(*options: str) -> bool:
    command = ["strace", "-f", *options, "-e", "trace=openat", "-o", os.devnull, "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def _filtered() -> tuple[str, ...]:
    """The option by which the kernel passes over all other calls: starting Python takes thousands."""
    return ("--seccomp-bpf",) if _strace_runs("--seccomp-bpf") else ()


def watch(arguments: list[str], folder: Path, *, traced: bool) -> Watched:
    """Run ``edgedet ARGUMENTS`` (or a script, where the first ends with .py) in a home, a temporary folder and a
    current folder of its own below ``folder``."""
    places = {"HOME": folder / "home", "TMPDIR": folder / "tmp"}
    for place in (*places.values(), folder / "work"):
        place.mkdir(parents=True, exist_ok=True)
    kept = {"EDGEDET_SPINNING"}  # threads that wait busily only take time from others
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.startswith(("XDG_", "EDGEDET_"))
    }
    # Tests switch it off for libraries that they use themselves; whether edgedet does is the question here.
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment |= {name: str(place) for name, place in places.items()} | {"PYTHONDONTWRITEBYTECODE": "1"}
    log = folder / "trace.txt"
    log.write_text("")
    if traced:
        program = [sys.executable] if arguments[0].endswith(".py") else [sys.executable, "-m", "edgedet"]
        command = [
            "strace",
            "-f",
            *_filtered(),
            "-qq",
            "-y",
            "-s",
            "400",
            "-e",
            f"trace={CALLS}",
            "-o",
            str(log),
            *program,
        ]
    else:
        command = [sys.executable, "-c", HOOK, str(log)]
        arguments = arguments if arguments[0].endswith(".py") else ["edgedet", *arguments]
    before = _snapshot(folder)
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder / "work",
        env=environment | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    files, sockets = (_traced if traced else _hooked)(log.read_text("utf-8", "replace"), folder / "work")
    after = _snapshot(folder)
    left = tuple(sorted(name for name in after if after[name] != before.get(name)))
    return Watched(
        done.returncode,
        done.stdout,
        done.stderr,
        tuple(name for name in files if name != os.devnull),
        sockets,
        left,
    )


def _snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {}
    for path in folder.rglob("*"):
        if path.name != "trace.txt":
            status = path.lstat()
            changed = 0 if path.is_dir() else status.st_mtime_ns
            found[str(path.relative_to(folder))] = (status.st_ino, status.st_size if changed else 0, changed)
    return found


def _traced(text: str, work: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    files: dict[str, None] = {}
    sockets: dict[str, None] = {}
    for line in text.splitlines():
        call = re.match(r"\d+ +(?:<\.\.\. )?(\w+)", line)
        if call is None or "+++" in line:
            continue
        name = call[1]
        # An attempt to call somebody counts, whether or not anybody answers.
        if " = -1 " in line and name != "connect":
            continue
        if name in ("socket", "connect", "sendto", "sendmsg", "sendmmsg"):
            sockets[re.sub(r"^\d+ +", "", line)[:200]] = None
        elif name == "openat" and not WRITES.search(line):
            continue
        else:
            quoted = QUOTED.findall(line)
            if quoted:
                base = re.search(r"(?:AT_FDCWD|\d+)<([^>]*)>", line)
                files[os.path.normpath(Path(base[1] if base else work) / quoted[-1])] = None
    return tuple(files), tuple(sockets)


def _hooked(text: str, work: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    lines = [line.partition(" ") for line in text.splitlines()]
    found = [
        tuple(dict.fromkeys(what for kind, _, what in lines if kind == wanted)) for wanted in ("file", "socket")
    ]
    return found[0], found[1]
