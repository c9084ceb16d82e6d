"""Build source archives and wheels, the same bytes every time: python release/dist.py [--out dist]

What git tracks is copied and split in three (``split.py``), setuptools makes the source archive of each and the
wheel of the archive, and all are written again by ``canonical.py``. Their time is SOURCE_DATE_EPOCH, or that of
the last commit. ``make dist`` runs this with the versions of ``dist-requirements.txt``, which are part of what the
bytes depend on.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from release.canonical import rewrite_sdist, rewrite_wheel
from release.split import split

MAX_BYTES = 1_000_000
"""Maximum size of each wheel."""


class BuildError(Exception):
    """A reason not to build, as one sentence."""


def main() -> int:
    """Build into ``--out``; 1 where a wheel is too large, 2 where nothing can be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the files (dist)")
    parser.add_argument("--quick", action="store_true", help="compress by zlib: some 3 %% larger, no zopfli needed")
    arguments = parser.parse_args()
    try:
        if changed := git("status", "--porcelain", "--untracked-files=no"):
            print(f"with changes that are not committed:\n{changed}", file=sys.stderr)
        built = build(tracked_files(ROOT), ROOT, arguments.out, epoch=build_time(), smallest=not arguments.quick)
    except BuildError as error:
        print(f"dist: {error}", file=sys.stderr)
        return 2
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in built]
    (arguments.out / "SHA256SUMS").write_text("".join(f"{line}\n" for line in sums))
    for line, path in zip(sums, built, strict=True):
        print(f"{line}  {path.stat().st_size:,} bytes")
    large = [path for path in built if path.suffix == ".whl" and path.stat().st_size >= MAX_BYTES]
    for path in large:
        print(f"dist: {path.name} has {path.stat().st_size:,} bytes, of {MAX_BYTES:,} at most", file=sys.stderr)
    return int(bool(large))


def git(*arguments: str) -> str:
    """What git says of the repository."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"needs a clone and git: {done.stderr.strip()}")
    return done.stdout.rstrip("\n")


def tracked_files(root: Path) -> list[Path]:
    """Files and links that git tracks, relative to ``root``: nothing that lies about gets into a release."""
    names = [Path(name) for name in git("ls-files", "-z").split("\0") if name]
    return [name for name in names if (root / name).is_symlink() or (root / name).is_file()]


def build_time() -> int:
    """SOURCE_DATE_EPOCH, or the time of the last commit."""
    said = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")
    try:
        return int(said)
    except ValueError:
        raise BuildError(f"SOURCE_DATE_EPOCH is {said!r}, expected seconds since 1970") from None


def build(names: Sequence[Path], root: Path, out: Path, *, epoch: int, smallest: bool) -> tuple[Path, ...]:
    """Build the files ``names`` below ``root`` into ``out``; source archive and wheel of edgedet, then those of
    each of :data:`release.split.PARTS`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edgedet-dist-") as place:
        work = Path(place)
        for name in names:
            (work / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, work / "source" / name, follow_symlinks=False)
        trees = split(work / "source", work / "parts")
        made = work / "made"
        made.mkdir()
        pairs = [_both(tree, made / tree.name, out, epoch=epoch, smallest=smallest) for tree in trees]
        return tuple(path for pair in pairs for path in pair)


def _both(source: Path, work: Path, out: Path, *, epoch: int, smallest: bool) -> tuple[Path, Path]:
    """Source archive and wheel of the tree ``source``, made in ``work``."""
    work.mkdir()
    archive = _setuptools("build_sdist", source, work, epoch)
    sdist = out / archive.name
    rewrite_sdist(archive, sdist, epoch=epoch)
    # The wheel of what was in the archive: whoever builds from the archive gets this one.
    with tarfile.open(sdist) as packed:
        # "data" is there from 3.10.12 on; what is unpacked was packed two lines above.
        packed.extractall(work / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (unpacked,) = (work / "unpacked").iterdir()
    archive = _setuptools("build_wheel", unpacked, work, epoch)
    rewrite_wheel(archive, out / archive.name, epoch=epoch, smallest=smallest)
    return sdist, out / archive.name


def _setuptools(hook: str, source: Path, out: Path, epoch: int) -> Path:
    """Call a hook of setuptools' build backend in ``source``; the file it wrote into ``out``."""
    code = f"import sys; from setuptools.build_meta import {hook}; print({hook}(sys.argv[1]))"
    fixed = {"SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
    with _umask(0o022):
        done = subprocess.run(
            [sys.executable, "-c", code, str(out)],
            cwd=source,
            env=os.environ | fixed,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise BuildError(f"setuptools' {hook} failed:\n{done.stderr[-3000:]}")
    return out / done.stdout.splitlines()[-1]


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


if __name__ == "__main__":
    sys.exit(main())
