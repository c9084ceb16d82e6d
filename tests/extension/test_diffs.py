"""What an extension costs, by real changes: each is kept as a diff, counted, applied to a copy and used there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, links, spans
from tests.rectangle_detector import frame_with_rectangle, save_rectangle_graph
from tests.test_layers import EXPORT_LAYERS, LAYERS, MAPPED, arrows, circles, mapped_absolute, modules, upward

HERE = Path(__file__).parent
PRODUCT = ("edgedet", *MAPPED, "pyproject.toml")
BESIDE = ("tests/rectangle_detector.py", "tests/extension/proofs")
"""What proofs need besides the product."""

MAX_FILES = {"runtime": 2, "family": 4, "dataset_format": 2, "command": 2, "detection_array": 5}
"""Extension to the number of product files that it may touch."""

PAGE = ROOT / "docs" / "extending.md"


def diff_of(name: str) -> Path:
    return HERE / "diffs" / f"{name}.diff"


def touched(diff: str) -> list[str]:
    """Paths of the files that a diff changes, makes or takes away."""
    return re.findall(r"^diff --git a/\S+ b/(\S+)$", diff, re.MULTILINE)


def product_files(diff: str) -> list[str]:
    return [path for path in touched(diff) if path.split("/")[0] in PRODUCT]


def copied(target: Path) -> Path:
    """The product, and what proofs need, in a folder of its own."""
    for name in (*PRODUCT, *BESIDE):
        source, place = ROOT / name, target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    for room in MAPPED:
        if not (target / "edgedet" / room).exists():  # a source archive has no links
            (target / "edgedet" / room).symlink_to(Path("..", room))
    return target


def apply(diff: Path, tree: Path) -> None:
    """Change a tree by a diff, whole or not at all."""
    if shutil.which("git") is None:
        pytest.skip("needs git, which applies the diffs")
    # Within another repository's folder, git would look for the paths from that one's top, and find nothing to do.
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(tree.parent)}
    command = ["git", "apply", str(diff)]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = "; ".join(done.stderr.splitlines())
        kept = f"tests/extension/diffs/{diff.name}"
        raise AssertionError(
            f"{kept} no longer fits the product ({said}). Make it anew in a clean clone: "
            f"`git apply --reject {kept}` makes the change but for what it leaves in .rej files; put that in by "
            f"hand and delete them; then `git add -A && git diff --cached -U1 > /tmp/{diff.name}; "
            f"git reset --hard; mv /tmp/{diff.name} {kept}`"
        )


def proved(name: str, tree: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a proof with a tree's product, in an empty folder."""
    folder.mkdir()
    paths = os.pathsep.join(filter(None, (str(tree), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, "-m", f"tests.extension.proofs.{name}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", MAX_FILES)
def test_an_extension(name: str, tmp_path: Path) -> None:
    """It touches few files, and works."""
    files = product_files(diff_of(name).read_text("utf-8"))
    assert len(files) <= MAX_FILES[name], (
        f"{name} touches {len(files)} product files, {MAX_FILES[name]} at most: {files}"
    )
    tree = copied(tmp_path / "tree")
    apply(diff_of(name), tree)
    done = proved(name, tree, tmp_path / "work")
    assert done.returncode == 0, done.stderr


def test_together_they_keep_the_order_of_the_layers(tmp_path: Path) -> None:
    tree = copied(tmp_path)
    for name in MAX_FILES:
        apply(diff_of(name), tree)
    files = modules(tree)
    assert {"edgedet.runtimes.nothing", "edgedet.export.families.split"} <= set(files)
    found = arrows(files)
    assert upward(found, LAYERS) + upward(found, EXPORT_LAYERS, "edgedet.export") + circles(found) == []
    assert mapped_absolute(files) == []


def test_a_further_array_touches_no_product_file() -> None:
    """The card names it, and all else goes by the card: the diff is that of the graph's own exporter."""
    diff = diff_of("detection_array").read_text("utf-8")
    assert (product_files(diff), touched(diff)) == ([], ["tests/rectangle_detector.py"])


def test_a_graph_that_names_no_array_gives_none(tmp_path: Path) -> None:
    from edgedet import Detector

    save_rectangle_graph(tmp_path / "plain.onnx")
    with Detector(tmp_path / "plain.onnx") as plain:
        assert plain.detect(frame_with_rectangle(64, 64, (10, 10, 30, 30))).data == {}


def test_every_diff_is_proved_and_on_the_page() -> None:
    """With the files that it touches."""
    assert {path.stem for path in (HERE / "diffs").iterdir()} == set(MAX_FILES)
    text, linked, named = PAGE.read_text("utf-8"), links(PAGE), set(spans(PAGE))
    for name, most in MAX_FILES.items():
        diff = diff_of(name).read_text("utf-8")
        assert f"/{name}.diff) | {len(product_files(diff))} | {most} |" in text, f"the row of {name} says otherwise"
        assert f"../tests/extension/diffs/{name}.diff" in linked
        assert set(touched(diff)) <= named
        assert f"python -m pytest tests/extension/test_diffs.py -k {name}" in named


def test_the_tutorial_s_family_is_the_diff_s() -> None:
    (block,) = (
        each.text
        for each in blocks(ROOT / "docs/tutorials/writing-a-family.md")
        if each.text.startswith("# export/")
    )
    where, _, module = block.partition("\n")
    _, _, added = diff_of("family").read_text("utf-8").partition(f"+++ b/{where[2:]}\n")
    assert [line[1:] for line in added.splitlines()[1:]] == module.splitlines()


def test_a_diff_that_no_longer_fits_says_how_it_is_made_anew(tmp_path: Path) -> None:
    """And leaves the tree as it was."""
    table = tmp_path / "runtimes" / "__init__.py"
    table.parent.mkdir()
    table.write_text("RUNTIMES = ()\n")
    with pytest.raises(
        AssertionError, match=r"runtime\.diff no longer fits .*patch failed.* Make it anew .*--reject"
    ):
        apply(diff_of("runtime"), tmp_path)
    assert [path.name for path in table.parent.iterdir()] == ["__init__.py"]


def test_files_outside_the_product_do_not_count() -> None:
    diff = "".join(f"diff --git a/{path} b/{path}\n" for path in ("tests/a.py", "export/b.py", "docs/edgedet/c.md"))
    assert product_files(diff) == ["export/b.py"]
