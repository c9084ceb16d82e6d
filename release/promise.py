"""Write down the public names: python release/promise.py

``tests/release/promised.json`` lists what SUPPORT.md promises to keep: every public name with its parameters,
fields and methods, every command with its options. Run before a release; what has gone is an error, unless
``--drop`` says that its time has come.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PROMISED = ROOT / "tests" / "release" / "promised.json"
DOORS = (
    "edgedet",
    "edgedet.bench",
    "edgedet.calibration",
    "edgedet.datasets",
    "edgedet.evaluate",
    "edgedet.export",
    "edgedet.watching",
)

Promise = dict[str, list[str]]
"""A name or command, and its parameters, fields or options."""


def main() -> int:
    """Write the file; 1 where something of it has gone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drop", action="store_true", help="leave out what has gone, after its time (SUPPORT.md)")
    drop = parser.parse_args().drop
    found = public_names() | commands()
    gone = missing(json.loads(PROMISED.read_text()) if PROMISED.exists() else {}, found)
    for name in gone:
        print(f"gone: {name}", file=sys.stderr)
    if gone and not drop:
        return 1
    lines = (f"{json.dumps(name)}: {json.dumps(parts)}" for name, parts in sorted(found.items()))
    PROMISED.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


def missing(promised: Promise, found: Promise) -> list[str]:
    """What was promised and is not there."""
    gone = sorted(promised.keys() - found.keys())
    for name in sorted(promised.keys() & found.keys()):
        gone += [f"{name}: {part}" for part in promised[name] if part not in found[name]]
    return gone


def public_names() -> Promise:
    """Every public name of every door with its parameters, and the methods and fields of classes."""
    found: Promise = {}
    for door in DOORS:
        module = importlib.import_module(door)
        for name in module.__all__:
            thing = getattr(module, name)
            found[f"{door}.{name}"] = _parameters(thing)
            if inspect.isclass(thing) and thing.__module__.startswith("edgedet"):
                found |= {f"{door}.{name}.{key}": value for key, value in _members(thing).items()}
    return found


def _members(kind: type) -> Promise:
    """Public methods with their parameters; properties, fields and annotated attributes without."""
    found: Promise = {}
    for base in reversed([each for each in kind.__mro__ if each.__module__.startswith("edgedet")]):
        names = [*vars(base), *inspect.get_annotations(base)]
        found |= {name: _parameters(getattr(kind, name, None)) for name in names if not name.startswith("_")}
    return found


def _parameters(thing: Any) -> list[str]:
    if not callable(thing) or getattr(thing, "__module__", "").startswith("typing"):
        return []
    try:
        names = inspect.signature(thing).parameters
    except (TypeError, ValueError):
        return []
    return [name for name in names if name not in ("self", "cls")]


def commands() -> Promise:
    """Every command with its options and arguments."""
    from edgedet.cli import COMMANDS

    found: Promise = {}
    for command, (module, _) in COMMANDS.items():
        parser = argparse.ArgumentParser()
        importlib.import_module(module).add_arguments(parser)
        found[f"edgedet {command}"] = [
            f"{name} {choice}".strip()
            for action in parser._actions
            if action.dest != "help"
            for name in action.option_strings or [action.dest]
            for choice in ("", *(action.choices or ()))
        ]
    return found


if __name__ == "__main__":
    sys.exit(main())
