"""Build twice and compare byte for byte: python release/compare.py [--quick]

The second time from a copy in another folder, with other times and modes, made in another order, under another user
mask and time zone. Exit code 1 and the first difference where the two are not the same.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from release.dist import ROOT, BuildError, build, build_time, tracked_files


def main() -> int:
    """Build and compare; prints one line per file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="compress by zlib")
    smallest = not parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="edgedet-twice-") as place:
        folder = Path(place)
        try:
            names, epoch = tracked_files(ROOT), build_time()
            first = build(names, ROOT, folder / "first", epoch=epoch, smallest=smallest)
            disturb(names, ROOT, folder / "elsewhere")
            second = build(names, folder / "elsewhere", folder / "second", epoch=epoch, smallest=smallest)
        except BuildError as error:
            print(f"compare: {error}", file=sys.stderr)
            return 2
        differences = [difference(*pair) for pair in zip(first, second, strict=True)]
        for path, found in zip(first, differences, strict=True):
            print(f"{path.name}: {found or 'twice the same bytes'}")
        return int(any(differences))


def disturb(names: Sequence[Path], root: Path, target: Path) -> None:
    """Copy the files ``names`` to ``target``, with all that must not matter different from what it is in ``root``;
    this process's own mask and time zone, too."""
    os.umask(0o077)
    os.environ |= {"TZ": "Pacific/Chatham", "SOURCE_DATE_EPOCH": "1"}
    for number, name in enumerate(reversed(names)):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, place, follow_symlinks=False)
        if not place.is_symlink():
            place.chmod(0o700 if (root / name).stat().st_mode & 0o100 else 0o600)
            os.utime(place, (1_000_000_000 + number, 1_000_000_000 + number))


def difference(first: Path, second: Path) -> str | None:
    """What is different, in words; None where the two are the same bytes."""
    if first.name != second.name:
        return f"the other is {second.name}"
    if first.read_bytes() == second.read_bytes():
        return None
    one, other = _entries(first), _entries(second)
    for name in one | other:
        if one.get(name) != other.get(name):
            return f"{name} is not the same"
    return "the same entries, packed otherwise"


def _entries(path: Path) -> dict[str, bytes]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            return {entry.filename: archive.read(entry) + str(entry).encode() for entry in archive.infolist()}
    found = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            found[member.name] = (file.read() if file else b"") + str(member.get_info()).encode()
    return found


if __name__ == "__main__":
    sys.exit(main())
