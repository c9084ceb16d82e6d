"""Measure, on a machine with a GPU and without a network, what only a GPU can tell.

    gpu_day.sh --prepare DIR              on a machine with edgedet's exporter: graphs, pictures, answers
    gpu_day.sh DIR --libraries FOLDER     on the machine with the GPU: under nine minutes, one JSON, one page

Exit code: 0 everything was measured and passed; 1 something failed; 2 a usage error; 3 nothing could be measured;
4 what could be measured passed, the rest was not measured; 128 and the signal's number where one ended it.
docs/gpu-day.md says what is in the files.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from edgedet import __version__
from edgedet.cli.values import positive_integer, positive_number
from edgedet.errors import EdgedetError, OutputError, UsageError
from edgedet.files import file_sha256, require_writable_parent
from gpu_day.inputs import NAME, PIECE_MIB, SCENES, Inputs, read_inputs
from gpu_day.journal import Journal, replace_file
from gpu_day.library import NAMES, choose
from gpu_day.page import page
from gpu_day.plan import plan
from gpu_day.sequence import NOTHING, USAGE, Step, print_safely, run_steps, utc_now

KIND, VERSION = "edgedet-gpu-day", 1
BUDGET = 520.0
"""Seconds for all steps: under nine minutes with the start, and with the last step being ended."""
JSON, PAGE = "gpu-day.json", "gpu-day.html"


def main() -> int:
    """Prepare, or run."""
    for stream in (sys.stdout, sys.stderr):
        # What a step said may be beyond a board's terminal.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    arguments = _arguments()
    try:
        if arguments.prepare:
            from gpu_day.prepare import prepare

            prepare(
                arguments.folder,
                library=arguments.library,
                only=arguments.only,
                scenes=arguments.scenes,
                piece_mib=arguments.piece_mib,
                told=print_safely,
            )
            return 0
        return _run(arguments)
    except EdgedetError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed; {MISSING[arguments.prepare]}", file=sys.stderr)
        return USAGE


MISSING = {
    True: "preparing needs edgedet's exporter: pip install 'edgedet[export]', or make setup",
    False: "put it into the folder of --libraries",
}


def _arguments() -> Any:
    parser = argparse.ArgumentParser(
        prog="benchmarks/gpu_day.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="the prepared folder")
    parser.add_argument("--prepare", action="store_true", help="make DIR here; needs the exporter, no GPU")
    parser.add_argument(
        "--libraries",
        metavar="FOLDER",
        help="unpacked wheels or libraries, several with : between them (EDGEDET_LIBRARIES); put on PYTHONPATH and "
        "LD_LIBRARY_PATH",
    )
    parser.add_argument("--out", metavar="OUT", type=Path, help="folder for the JSON and the page (DIR/result)")
    parser.add_argument("--work", metavar="FOLDER", type=Path, help="keep engines and caches here (else deleted)")
    parser.add_argument(
        "--budget", metavar="S", type=positive_number, default=BUDGET, help=f"seconds for all steps ({BUDGET:.0f})"
    )
    parser.add_argument(
        "--library", choices=("auto", *NAMES), default="auto", help="what builds engines (auto: what is there)"
    )
    parser.add_argument("--only", metavar="WORD", nargs="+", default=[], help="steps, or graphs, whose name has it")
    parser.add_argument(
        "--engine", metavar="FILE", type=Path, nargs="+", default=[], help="engines of your own to time as well"
    )
    parser.add_argument("--list", action="store_true", help="print the steps and their limits, and do nothing")
    parser.add_argument(
        "--piece-mib", metavar="MIB", type=int, default=PIECE_MIB, help=f"largest piece ({PIECE_MIB})"
    )
    parser.add_argument(
        "--scenes",
        metavar="N",
        type=positive_integer,
        default=SCENES,
        help=f"with --prepare: rendered ones that judge the sample detector where no real pictures are ({SCENES})",
    )
    return parser.parse_args()


def _run(arguments: Any) -> int:
    inputs, library = read_inputs(arguments.folder.resolve()), choose(arguments.library)
    out = (arguments.out or arguments.folder / "result").resolve()
    work = (arguments.work or Path(tempfile.mkdtemp(prefix="edgedet-gpu-day-"))).resolve()
    try:
        steps = plan(inputs, work=work, library=library.name, engines=arguments.engine)
        steps = [step for step in steps if not arguments.only or any(word in step.name for word in arguments.only)]
        if not steps and arguments.only:
            raise UsageError(
                f"--only {' '.join(arguments.only)}: no step has such a word in its name; --list prints them all"
            )
        if arguments.list:
            for step in steps:
                print_safely(f"{step.name}: {step.does}, {step.limit:.0f} s at most")
            return 0
        return _measure(steps, inputs, arguments, out=out, work=work, library=library.name)
    finally:
        if arguments.work is None:
            shutil.rmtree(work, ignore_errors=True)


def _measure(steps: list[Step], inputs: Inputs, arguments: Any, *, out: Path, work: Path, library: str) -> int:
    require_writable_parent(out / JSON)
    for folder in ("engines", "results"):
        require_writable_parent(work / folder / "any")
    content: dict[str, Any] = {
        "kind": KIND,
        "version": VERSION,
        "edgedet": __version__,
        "library": library,
        "command": shlex.join(["benchmarks/gpu_day.sh", *sys.argv[1:]]),
        "started": utc_now(),
        "ended": None,
        "complete": False,
        "stopped_by": None,
        "exit_code": None,
        "budget_s": arguments.budget,
        "spent_s": 0.0,
        "inputs": {
            "edgedet": inputs.edgedet, "created": inputs.created, "library": inputs.library,
            "sha256": file_sha256(inputs.folder / NAME),
        },
        "counts": {},
        "steps": [],
    }  # fmt: skip
    try:
        journal = Journal(out / JSON, content)
    except OSError as error:
        raise OutputError(
            f"cannot write in {out}: {error.strerror or error}; name another folder: --out"
        ) from error

    def written(state: dict[str, Any]) -> None:
        try:
            problem = replace_file(out / PAGE, page(state))
        except Exception as error:  # the page is a view of the file, and must not cost a run
            problem = f"{out / PAGE} cannot be made: {error!r}"
        if problem and state["exit_code"] is not None:
            print_safely(f"warning: {problem}")

    print_safely(f"{len(steps)} steps in {arguments.budget:.0f} s, engines by {library}; results: {out}")
    code = run_steps(
        steps,
        journal,
        budget=arguments.budget,
        folder=work / "results",
        environment=_environment(work),
        told=print_safely,
        written=written,
    )
    counts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in content["counts"].items() if count)
    print_safely(f"{counts or 'no step'}; exit code {code}: {out / JSON}, {out / PAGE}")
    return code if steps else NOTHING


def _environment(work: Path) -> Mapping[str, str]:
    """Environment of the steps: caches stay in the working folder, and a crash says where it was."""
    return {**os.environ, "XDG_CACHE_HOME": str(work / "cache"), "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}


if __name__ == "__main__":
    sys.exit(main())
