"""Write what a release says of others' work: python release/papers.py --environments DIR --everything PYTHON

``dist/NAME.cdx.json``: a bill of materials (CycloneDX 1.6, by cyclonedx-bom) of each environment NAME in DIR, which
``try_wheel.py --keep DIR`` made with the wheel. ``docs/third-party.md``: the licences (by pip-licenses) of all that
edgedet and its extras bring, as the environment of PYTHON has them. ``make papers`` runs this with both tools.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "third-party.md"
EXTRAS = ("", "export", "hf", "openvino", "tensorrt", "tensorrt-rtx", "gpu", "ray", "report")
"""Those that a user installs; the first is edgedet alone. ``dev`` and ``docs`` are tools of the repository."""

HEAD = """\
# Licences of others

edgedet is Apache-2.0, and its wheel holds nothing but its own files. What it needs is installed beside it from its
makers' own wheels, under their licences. This is all of it, by what brings it, as `make papers` found it installed
on Linux with an x86-64 processor. A release's bills of materials (`device.cdx.json` and `export.cdx.json`,
CycloneDX) list the same for machines.

Wheels hold further libraries, whose licences lie in them: OpenCV's FFmpeg (LGPL-2.1) and others
(`LICENSE-3RD-PARTY.txt`), NumPy's OpenBLAS (BSD-3-Clause) and GCC's runtime (GPL-3.0 with the exception for runtime
libraries), ONNX Runtime's (`ThirdPartyNotices.txt`), PyTorch's (`third_party` among its licences). NVIDIA's
packages are proprietary: read their terms before you pass them on.

Ultralytics' package (AGPL-3.0) is none of them. edgedet imports it only to export a checkpoint of yours, where you
installed it yourself.
"""
GRAPH = """
import json
from importlib.metadata import distributions
print(json.dumps({d.metadata["Name"]: d.requires or [] for d in distributions()}))
"""


def main() -> int:
    """Write all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, help="folder of try_wheel.py --keep")
    parser.add_argument("--everything", type=Path, help="interpreter of an environment with every extra")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the bills of materials (dist)")
    arguments = parser.parse_args()
    if arguments.environments:
        for folder in sorted(path for path in arguments.environments.iterdir() if path.is_dir()):
            print(write_bill(folder, arguments.out))
    if arguments.everything:
        PAGE.write_text(HEAD + licence_tables(arguments.everything))
        print(PAGE)
    return 0


def write_bill(environment: Path, out: Path) -> Path:
    """The bill of materials of one environment."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{environment.name}.cdx.json"
    tool = Path(sys.executable).with_name("cyclonedx-py")
    subprocess.run(
        [str(tool), "environment", "--pyproject", str(ROOT / "pyproject.toml"), "--mc-type", "library",
         "--output-reproducible", "--spec-version", "1.6", "-o", str(path), str(environment / "bin" / "python")],
        check=True,
    )  # fmt: skip
    return path


def licence_tables(python: Path) -> str:
    """A table for edgedet alone and for each extra, of what the ones before do not bring."""
    tool = Path(sys.executable).with_name("pip-licenses")
    listed = output([str(tool), "--python", str(python), "--from=mixed", "--format=json", "--with-urls"])
    licences = {canonical(each["Name"]): each for each in json.loads(listed)}
    requires = {canonical(name): lines for name, lines in json.loads(output([str(python), "-c", GRAPH])).items()}
    text, seen = "", {"edgedet"}
    for extra in EXTRAS:
        fresh = closure("edgedet", extra, requires) - seen
        seen |= fresh
        title = f"edgedet[{extra}]" if extra else "edgedet alone, on a device"
        rows = [licences[name] for name in sorted(fresh & licences.keys())]
        text += f"\n## {title}\n"
        if absent := sorted(direct(extra, requires) - requires.keys()):
            text += f"Not installed where this list was made: {', '.join(f'`{name}`' for name in absent)}.\n\n"
        elif not rows:
            text += "Nothing that is not above.\n"
        if not rows:
            continue
        text += "| package | version | licence |\n|---|---|---|\n"
        for row in rows:
            address = row["URL"].replace("http://", "https://")
            name = f"[{row['Name']}]({address})" if address.startswith("https") else row["Name"]
            text += f"| {name} | {row['Version']} | {one_line(row['License'])} |\n"
    return text


def closure(name: str, extra: str, requires: Mapping[str, Sequence[str]]) -> set[str]:
    """Packages that ``name[extra]`` brings, those that it brings through others among them."""
    from packaging.requirements import Requirement

    found: set[str] = set()
    todo = [(name, extra)]
    done: set[tuple[str, str]] = set()
    while todo:
        package, asked = todo.pop()
        if (package, asked) in done:
            continue
        done.add((package, asked))
        found.add(package)
        for line in requires.get(package, ()):
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": asked}):
                below = canonical(requirement.name)
                todo += [(below, "")] + [(below, each) for each in requirement.extras]
    return found & requires.keys()


def direct(extra: str, requires: Mapping[str, Sequence[str]]) -> set[str]:
    """What edgedet itself asks for with ``extra``."""
    from packaging.requirements import Requirement

    asked = (Requirement(line) for line in requires["edgedet"])
    chosen = (each for each in asked if each.marker is None or each.marker.evaluate({"extra": extra}))
    return {canonical(each.name) for each in chosen}


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def one_line(licence: str) -> str:
    """Some put the whole text where its name belongs."""
    first = licence.strip().splitlines()[0] if licence.strip() else "UNKNOWN"
    first = "not stated in its metadata" if first == "UNKNOWN" else first
    return first if len(first) <= 100 else f"{first[:100]}…"


def output(command: Sequence[str]) -> str:
    """What a command prints."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout


if __name__ == "__main__":
    sys.exit(main())
