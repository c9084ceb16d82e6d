"""Install a wheel into fresh environments and use it: python release/try_wheel.py dist/edgedet-*.whl [--export]

The first environment gets the wheel alone, as a device does, and must detect, measure and test itself; with
--export a second one gets ``[export]`` and must export the sample detector and agree with PyTorch. Edgedet's
other wheels come from the same folder, other packages from PyPI; the commands run outside the checkout, which only
lends them the files they are tried on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CARDS = ROOT / "tests" / "edgedet" / "artifacts" / "cards"
"""Graphs of earlier versions, and what they found in ``frame.png``."""

GRAPH = CARDS / "0.1.0-f532f52" / "yolo.onnx"

SAMPLE = ROOT / "examples" / "sample" / "camera_phone_ssdlite320.pt"
PHOTO = ROOT / "docs" / "images" / "sample.jpg"
ROOMS = ("calibration", "export", "datasets", "evaluate")
"""Of edgedet's other wheels, some that a device does without."""

NOT_ON_DEVICES = ("torch", "torchvision", "onnx", "matplotlib", "pycocotools")


class Wrong(Exception):
    """What the installed package should have done, and what it did."""


def main() -> int:
    """Make the environments, try everything, print a line for each step; 1 at the first that is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the wheel")
    parser.add_argument("--export", action="store_true", help="try [export], too: a large download")
    parser.add_argument("--keep", type=Path, help="folder for the environments, which are kept there")
    arguments = parser.parse_args()
    wheel = arguments.wheel.resolve()
    with tempfile.TemporaryDirectory(prefix="edgedet-wheel-") as place:
        kept = arguments.keep.resolve() if arguments.keep else Path(place)
        try:
            for extra, check in (("", try_device), ("export", try_export))[: 2 if arguments.export else 1]:
                python = make_environment(kept / (extra or "device"), f"{wheel}[{extra}]" if extra else str(wheel))
                files = Path(place) / f"files-{extra}"
                files.mkdir()
                for line in check(python, files):
                    print(line, flush=True)
        except Wrong as error:
            print(f"try_wheel: {error}", file=sys.stderr)
            return 1
    return 0


def make_environment(folder: Path, requirement: str) -> Path:
    """A fresh virtual environment in which pip installed ``requirement``; its interpreter."""
    python = folder / "bin" / "python"
    # Without a pip of its own: a bill of materials made of it lists what the wheel brings, and nothing else.
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    # The other wheels of edgedet lie beside this one until all are on PyPI.
    beside = Path(requirement.partition("[")[0]).parent
    subprocess.run([*pip, "install", "--quiet", "--find-links", str(beside), requirement], check=True)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    return python


def try_device(python: Path, files: Path) -> Iterator[str]:
    """What a device does with the wheel alone, in the folder ``files``; a line for each thing that was right."""
    where = Path(run(python, files, "-c", "import edgedet; print(edgedet.__file__)").strip())
    if not where.is_relative_to(python.parents[1]):
        raise Wrong(f"edgedet is imported from {where}, expected a place in {python.parents[1]}")
    look = f"from importlib.util import find_spec; print(*filter(find_spec, {NOT_ON_DEVICES}))"
    if brought := run(python, files, "-c", look).split():
        raise Wrong(f"the wheel alone brought {', '.join(brought)}, which no device needs")
    there = f"from pathlib import Path; print(*(r for r in {ROOMS} if Path({str(where.parent)!r}, r).exists()))"
    if brought := run(python, files, "-c", there).split():
        raise Wrong(f"the wheel alone brought edgedet's {', '.join(brought)}, which are other wheels'")
    version = run(python, files, "-m", "edgedet", "--version").strip()
    yield f"installed: {version}, nothing of {', '.join(NOT_ON_DEVICES)}"

    tested = json.loads(edgedet(python, files, "selftest", "--json"))
    passed = [check["name"] for check in tested["checks"] if check["outcome"] == "pass"]
    if not tested["passed"] or not passed:
        raise Wrong(f"the self-test says {tested}")
    yield f"selftest: {', '.join(passed)}"

    (line,) = edgedet(python, files, "detect", GRAPH, CARDS / "frame.png").splitlines()
    found = json.loads(line)["detections"]
    if found != json.loads(GRAPH.with_name("found.json").read_text())["yolo.onnx"]:
        raise Wrong(f"detect finds {found}, expected what {GRAPH.with_name('found.json')} has")
    yield f"detect: {len(found)} box, the expected one"

    short = ["--seconds", "0.5", "--warmup", "3", "--min-frames", "10", "--cold-starts", "1"]
    edgedet(python, files, "bench", GRAPH, *short, "--batches", "none", "--streams", "none", "--json", "bench.json")
    measured = json.loads((files / "bench.json").read_text())
    yield f"bench: {len(measured['artifacts'])} artifact measured"


def try_export(python: Path, files: Path) -> Iterator[str]:
    """What the exporting machine does with ``[export]``, in the folder ``files``; a line for each right thing."""
    edgedet(python, files, "export", SAMPLE, "-o", "model.onnx", "--json")
    yield f"export: {(files / 'model.onnx').stat().st_size:,} bytes"
    agreed = json.loads(edgedet(python, files, "parity", SAMPLE, "model.onnx", "--frames", PHOTO, "--json"))
    yield f"parity: {agreed['matched']} of {agreed['reference_count']} boxes are PyTorch's"
    if not json.loads(edgedet(python, files, "selftest", "model.onnx", "--json"))["passed"]:
        raise Wrong("the golden input of what was exported does not give what it gave")
    yield "selftest model.onnx: passed"


def edgedet(python: Path, files: Path, *arguments: str | Path) -> str:
    """What the installed command prints."""
    return run(python.with_name("edgedet"), files, *arguments)


def run(program: Path, files: Path, *arguments: str | Path) -> str:
    """What a program prints in ``files``, without anything of the environment that leads back to the checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(program), *map(str, arguments)],
        cwd=files,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout)[-2000:]
        raise Wrong(f"{program.name} {' '.join(map(str, arguments))} ended with {done.returncode}:\n{said}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
