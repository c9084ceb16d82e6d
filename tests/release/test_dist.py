"""What is released: the same bytes every time, small, and whole without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email import message_from_string
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from edgedet.uninstalled_rooms import WHEELS
from release import compare, dist, split, try_wheel

ROOT = Path(__file__).resolve().parents[2]
EPOCH = 1_700_000_000


@pytest.fixture(scope="module")
def files() -> list[Path]:
    pytest.importorskip("setuptools", minversion="77")
    try:
        return dist.tracked_files(ROOT)
    except dist.BuildError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def built(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Source archive and wheel of edgedet, then of each part, compressed by zlib."""
    return dist.build(files, ROOT, tmp_path_factory.mktemp("dist"), epoch=EPOCH, smallest=False)


def test_twice_built_elsewhere_is_the_same(
    files: list[Path], built: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TZ", "SOURCE_DATE_EPOCH"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    mask = os.umask(0o022)
    try:
        compare.disturb(files, ROOT, tmp_path / "elsewhere")
        again = dist.build(files, tmp_path / "elsewhere", tmp_path / "out", epoch=EPOCH, smallest=False)
    finally:
        os.umask(mask)
    assert [compare.difference(*pair) for pair in zip(built, again, strict=True)] == [None] * 6


def test_a_difference_is_named(built: tuple[Path, ...], tmp_path: Path) -> None:
    """Of content, and of a time alone."""
    for path, content, name in (
        (built[1], b"# changed\n", "edgedet/__init__.py"),
        (built[0], None, "edgedet-0.1.0/Makefile"),
    ):
        other = tmp_path / path.name
        if content is not None:
            with zipfile.ZipFile(path) as read, zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as written:
                for entry in read.infolist():
                    written.writestr(entry, read.read(entry) + (content if entry.filename == name else b""))
        else:
            with tarfile.open(path) as archive, tarfile.open(other, "w:gz") as written_tar:
                for member in archive.getmembers():
                    member.mtime += member.name == name
                    written_tar.addfile(member, archive.extractfile(member))
        assert compare.difference(path, other) == f"{name} is not the same"


def test_the_wheels_are_pure_python(built: tuple[Path, ...]) -> None:
    for wheel in built[1::2]:
        assert wheel.name.endswith("-py3-none-any.whl")
        with zipfile.ZipFile(wheel) as archive:
            assert archive.testzip() is None
            suffixes = {Path(name).suffix for name in archive.namelist()}
            assert not suffixes & {".so", ".pyd", ".dll", ".dylib", ".pyc", ".pt", ".trt"}
            assert {entry.date_time[:3] for entry in archive.infolist()} == {(2023, 11, 14)}
            assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}
            large = {entry.filename for entry in archive.infolist() if entry.compress_size > 8_000}
        # The weights of the self-test, and the list of all files: what else grows so large is looked at first.
        assert large <= {"edgedet/selftest.onnx", f"{wheel.name.rpartition('-py3')[0]}.dist-info/RECORD"}


def test_each_wheel_is_within_its_limit(built: tuple[Path, ...]) -> None:
    assert [path.name for path in built[1::2] if path.stat().st_size >= dist.MAX_BYTES] == []


def test_a_wheel_that_is_too_large_fails_the_build(
    built: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dist, "build", lambda *arguments, **options: built)
    monkeypatch.setattr(sys, "argv", ["dist.py", "--out", str(tmp_path)])
    assert dist.main() == 0
    monkeypatch.setattr(dist, "MAX_BYTES", built[3].stat().st_size)
    assert dist.main() == 1
    assert f"{built[3].name} has {built[3].stat().st_size:,} bytes" in capsys.readouterr().err


def modules_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheels_share_no_file_and_lack_none(built: tuple[Path, ...], files: list[Path]) -> None:
    device, *parts = (modules_of(wheel) for wheel in built[1::2])
    for part, inside in zip(split.PARTS, parts, strict=True):
        assert {name.split("/")[1] for name in inside} == set(part.rooms)
        assert not device & inside
    assert not parts[0] & parts[1]
    rooms = {"edgedet", "runtimes", "calibration", "export"}
    ours = {
        name.as_posix() if name.parts[0] == "edgedet" else f"edgedet/{name.as_posix()}"
        for name in files
        if name.parts[0] in rooms and name.suffix != ".md" and not (ROOT / name).is_symlink()
    }
    assert {name for name in device.union(*parts) if not name.endswith(".md")} == ours


def test_the_package_knows_what_lies_in_each_wheel() -> None:
    assert {part.name: set(part.rooms) for part in split.PARTS} == {
        name: set(wheel.rooms) for name, wheel in WHEELS.items()
    }


def test_each_part_comes_with_what_needs_it_in_the_same_version(built: tuple[Path, ...]) -> None:
    import edgedet
    import edgedet.datasets
    import edgedet.export

    version = edgedet.__version__
    assert edgedet.export.__version__ == edgedet.datasets.__version__ == version
    asked = [line for line in metadata_of(built[1]).get_all("Requires-Dist") if line.startswith("edgedet-")]
    assert sorted(asked) == sorted(
        f'{part.name}=={version}; extra == "{extra}"' for part in split.PARTS for extra in part.extras
    )
    export, report = (metadata_of(wheel) for wheel in built[3::2])
    assert export["Version"] == report["Version"] == version
    assert export.get_all("Requires-Dist") == [f"edgedet=={version}", f"edgedet-report=={version}"]
    assert report.get_all("Requires-Dist") == [f"edgedet=={version}"]


def test_zopfli_packs_the_same_content_smaller(built: tuple[Path, ...], tmp_path: Path) -> None:
    pytest.importorskip("zopfli", reason="needs zopfli (release/dist-requirements.txt)")
    from release.canonical import rewrite_wheel

    short = tmp_path / "short.whl"
    with zipfile.ZipFile(built[1]) as read, zipfile.ZipFile(short, "w") as written:
        for entry in read.infolist()[:12]:
            written.writestr(entry, read.read(entry))
    for name, smallest in (("large.whl", False), ("small.whl", True)):
        rewrite_wheel(short, tmp_path / name, epoch=EPOCH, smallest=smallest)
    with zipfile.ZipFile(tmp_path / "large.whl") as large, zipfile.ZipFile(tmp_path / "small.whl") as small:
        assert small.testzip() is None
        assert [(entry.filename, entry.CRC) for entry in small.infolist()] == [
            (entry.filename, entry.CRC) for entry in large.infolist()
        ]
    assert (tmp_path / "small.whl").stat().st_size < 0.99 * (tmp_path / "large.whl").stat().st_size


def test_the_archive_has_tests_and_documentation_and_no_links(built: tuple[Path, ...]) -> None:
    with tarfile.open(built[0]) as archive:
        members = archive.getmembers()
    assert all(member.isfile() and member.mtime == EPOCH and member.uid == 0 for member in members)
    names = {member.name.partition("/")[2] for member in members}
    wanted = {
        "Makefile",
        "docs/conf.py",
        "tests/release/test_dist.py",
        "release/dist.py",
        "CITATION.cff",
        ".ci/run",
    }
    assert wanted <= names
    assert {"export/pipeline.py", "calibration/ranges.py", "edgedet/detector.py"} <= names
    assert {"edgedet/onnx_graph/__init__.py", "edgedet/datasets/read.py", "edgedet/report/style.css"} <= names
    assert not [name for name in names if name.startswith(("edgedet/export/", "edgedet/runtimes"))], (
        "each module once"
    )
    assert next(member for member in members if member.name.endswith(".ci/run")).mode == 0o755


def test_the_three_places_of_the_version_agree(built: tuple[Path, ...]) -> None:
    import edgedet

    metadata = metadata_of(built[1])
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert metadata["Version"] == edgedet.__version__
    assert f"\nversion: {edgedet.__version__}\n" in citation
    classifiers = metadata.get_all("Classifier") or []
    pythons = {
        line.rpartition(" ")[2] for line in classifiers if line.startswith("Programming Language :: Python :: 3.")
    }
    assert pythons == {"3.10", "3.11", "3.12", "3.13", "3.14"}


def metadata_of(wheel: Path):  # type: ignore[no-untyped-def]
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_string(archive.read(name).decode())


def closure(requirements: list[str], extra: str) -> Iterator[Distribution]:
    """Installed distributions that the requirements bring, each once."""
    from packaging.requirements import Requirement

    done: set[tuple[str, str]] = set()
    todo = [(Requirement(line), extra) for line in requirements]
    while todo:
        requirement, asked = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": asked}):
            continue
        try:
            found = distribution(requirement.name)
        except PackageNotFoundError:
            pytest.skip(f"needs {requirement}")
        for each in ("", *requirement.extras):
            if (found.name, each) not in done:
                if not any(name == found.name for name, _ in done):
                    yield found
                done.add((found.name, each))
                todo += [(Requirement(line), each) for line in found.requires or ()]


def environment(folder: Path, wheels: Sequence[Path], extra: str) -> Path:
    """A fresh environment with the wheels, and with what the first and ``extra`` bring, linked from this one in
    place of being downloaded; its interpreter."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    python = folder / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python), "install", "--quiet",
         "--no-index", "--no-deps", *map(str, wheels)],
        check=True,
    )  # fmt: skip
    (site,) = folder.glob("lib/python*/site-packages")
    asked = metadata_of(wheels[0]).get_all("Requires-Dist")
    for found in closure([line for line in asked if not line.startswith("edgedet-")], extra):
        for top in {Path(str(file)).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    return python


@pytest.fixture(scope="module")
def wheels(built: tuple[Path, ...]) -> tuple[Path, ...]:
    """Edgedet's, the exporter's and the report's."""
    pytest.importorskip("pip", reason="needs pip")
    pytest.importorskip("packaging", reason="needs packaging")
    return built[1::2]


@pytest.fixture(scope="module")
def device(wheels: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with edgedet's wheel."""
    return environment(tmp_path_factory.mktemp("device"), wheels[:1], "")


@pytest.fixture(scope="module")
def exporting(wheels: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with all wheels."""
    return environment(tmp_path_factory.mktemp("export"), wheels, "export")


@contextmanager
def changed(python: Path, name: str, change: Callable[[bytes], bytes] | None) -> Iterator[None]:
    """A file of the package that is installed for ``python`` is another meanwhile, or gone (None)."""
    (package,) = python.parents[1].glob("lib/python*/site-packages/edgedet")
    content = (package / name).read_bytes()
    (package / name).unlink()
    if change is not None:
        (package / name).write_bytes(change(content))
    try:
        yield
    finally:
        (package / name).write_bytes(content)


def test_a_device_works_with_the_wheel_alone(device: Path, tmp_path: Path) -> None:
    lines = list(try_wheel.try_device(device, tmp_path))
    assert [line.partition(":")[0] for line in lines] == ["installed", "selftest", "detect", "bench"]


@pytest.mark.parametrize(
    "command",
    ["export {sample} -o model.onnx", "export --help", "check {sample} --eval photos"],
    ids=lambda command: command.split()[0],
)
def test_a_device_says_how_to_get_the_exporter(device: Path, tmp_path: Path, command: str) -> None:
    words = command.format(sample=try_wheel.SAMPLE).split()
    with pytest.raises(try_wheel.Wrong, match=r"ended with 2:\nedgedet: error: this needs edgedet's exporter"):
        try_wheel.edgedet(device, tmp_path, *words)


def test_a_device_says_how_to_get_what_measures(device: Path, tmp_path: Path) -> None:
    said = (
        r"edgedet: error: this needs what reads datasets and measures accuracy, .*: pip install 'edgedet\[report\]'"
    )
    with pytest.raises(try_wheel.Wrong, match=rf"ended with 2:\n{said}\n?$"):
        try_wheel.edgedet(device, tmp_path, "eval", try_wheel.GRAPH, "data.json")
    with pytest.raises(try_wheel.Wrong, match=r"MissingWheelError: .*'edgedet\[report\]'\n?$"):
        try_wheel.run(device, tmp_path, "-c", "from edgedet.evaluate import evaluate")
    assert "COCO JSON" in try_wheel.edgedet(device, tmp_path, "eval", "--help")


def test_measuring_works_with_the_third_wheel_and_no_exporter(
    wheels: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    measuring = environment(tmp_path_factory.mktemp("report"), (wheels[0], wheels[2]), "report")
    frame = try_wheel.CARDS / "frame.png"
    (tmp_path / "annotation.txt").write_text(f"{frame},1,2,10,20,car\n")
    said = try_wheel.edgedet(measuring, tmp_path, "convert", "annotation.txt", "out", "--to", "coco")
    assert "(coco)" in said
    assert "Detector" in try_wheel.run(
        measuring,
        tmp_path,
        "-c",
        "import edgedet.report.page, edgedet.sweep.grid; "
        "from edgedet.reference import compare; from edgedet.evaluate import evaluate; print('Detector')",
    )


@pytest.mark.parametrize("module", ["datasets", "evaluate.evaluation", "reference", "report.collect", "sweep.grid"])
def test_a_measuring_part_of_another_version_is_refused(exporting: Path, tmp_path: Path, module: str) -> None:
    def later(content: bytes) -> bytes:
        return content.replace(b'__version__ = "', b'__version__ = "9.', 1)

    with (
        changed(exporting, "datasets/__init__.py", later),
        pytest.raises(try_wheel.Wrong, match=r"edgedet-report is 9\..* and edgedet is .*, expected the same"),
    ):
        try_wheel.run(exporting, tmp_path, "-c", f"import edgedet.{module}")


def test_export_works_with_the_wheel_and_its_extra(exporting: Path, tmp_path: Path) -> None:
    lines = list(try_wheel.try_export(exporting, tmp_path))
    assert [line.partition(":")[0] for line in lines] == ["export", "parity", "selftest model.onnx"]


def test_an_exporter_of_another_version_is_refused(exporting: Path, tmp_path: Path) -> None:
    def later(content: bytes) -> bytes:
        return content.replace(b'__version__ = "', b'__version__ = "9.', 1)

    with (
        changed(exporting, "export/__init__.py", later),
        pytest.raises(try_wheel.Wrong, match=r"edgedet-export is 9\..* and edgedet is .*, expected the same"),
    ):
        try_wheel.edgedet(exporting, tmp_path, "export", try_wheel.SAMPLE, "-o", "model.onnx")


def test_what_is_wrong_in_the_wheel_is_said(device: Path, tmp_path: Path) -> None:
    with (
        changed(device, "selftest.onnx", None),
        pytest.raises(try_wheel.Wrong, match="selftest"),
    ):
        list(try_wheel.try_device(device, tmp_path))
