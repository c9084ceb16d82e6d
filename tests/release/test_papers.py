"""The papers beside the code: licences of others, workflows, and what they call."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs PyYAML (edgedet[export])")

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def steps() -> list[Any]:
    found = []
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            found += [pytest.param(job, step, id=f"{path.stem}-{name}-{n}") for n, step in enumerate(job["steps"])]
    return found


def test_every_requirement_s_licence_is_listed() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    page = (ROOT / "docs" / "third-party.md").read_text("utf-8").lower().replace("_", "-")
    asked = re.search(r"^dependencies = \[.*?^docs = ", project, re.MULTILINE | re.DOTALL)
    assert asked is not None
    names = set(re.findall(r'"([\w.-]+?)(?:\[[\w,-]+\])?>=', asked[0]))
    assert {"numpy", "torch", "openvino"} <= names
    # On Python 3.10 alone: tomli. PyPI's name of a package that was not installed there stands in code marks.
    assert {name for name in names if f"[{name.lower()}]" not in page and f"`{name}`" not in page} <= {"tomli"}


def test_no_licence_of_others_binds_a_product() -> None:
    rows = re.findall(r"^\| (.*?) \| .*? \| (.*?) \|$", (ROOT / "docs" / "third-party.md").read_text("utf-8"), re.M)
    assert len(rows) > 40
    assert [row for row in rows if re.search(r"AGPL|(?<!L)GPL(?!.*exception)|SSPL", row[1])] == []


@pytest.mark.parametrize(("job", "step"), steps())
def test_a_workflow_calls_what_there_is(job: Any, step: Any) -> None:
    if "uses" in step:
        # By commit: a tag can be moved to another one. The version beside it is what dependabot reads.
        assert re.fullmatch(r"[\w-]+/[\w.-]+@[0-9a-f]{40}", step["uses"])
        return
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for target in re.findall(r"\bmake (?:PYTHON=\w+ )?([a-z][\w-]*)(?![\w/-])", step["run"]):
        assert target in targets, target
    for script in re.findall(r"(?<![\w/])((?:release|benchmarks|\.ci)/[\w./]+)", step["run"]):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_no_more_than_it_must(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        allowed = {"publish": {"id-token", "attestations", "artifact-metadata"}, "page": {"contents"}}
        assert writes <= allowed.get(name, set()), name
        for step in job["steps"]:
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
        if name in allowed:
            assert "tag" in job["if"]
        # What a stranger's pull request writes must not become part of a command.
        assert not [
            step for step in job["steps"] if re.search(r"\$\{\{ *github\.(head|event)", step.get("run", ""))
        ]


def test_the_pythons_of_the_workflows_are_those_that_are_promised() -> None:
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    first, last = classifiers[0], classifiers[-1]
    assert f"| Python | {first} to {last} |" in (ROOT / "SUPPORT.md").read_text("utf-8")
    for path, job in ((WORKFLOWS[0], "try"), (WORKFLOWS[1], "tests")):
        pythons = load(path)["jobs"][job]["strategy"]["matrix"]["python"]
        assert pythons[0] == first and pythons[-1] == last and "3.12" in pythons


def test_every_uses_names_its_version() -> None:
    for path in WORKFLOWS:
        for line in re.findall(r"uses: .*", path.read_text("utf-8")):
            assert re.search(r"# v\d+\.\d+\.\d+$", line), line


def test_bills_that_are_attested_are_written() -> None:
    """papers.py names a bill after its environment, try_wheel.py the environments."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert set(re.findall(r"sbom-path: bills/(\w+)\.cdx\.json", text)) == {"device", "export"}


def test_dependabot_looks_where_there_is_something() -> None:
    for entry in load(ROOT / ".github" / "dependabot.yml")["updates"]:
        folder = ROOT / entry["directory"].strip("/")
        pattern = {"docker": "*Dockerfile", "pip": "*requirements.txt", "github-actions": ".github/workflows/*.yml"}
        found = [*folder.glob(pattern[entry["package-ecosystem"]]), *folder.glob("pyproject.toml")]
        assert found, entry


def test_pinned_tools_have_hashes() -> None:
    for path in (ROOT / "release").glob("*-requirements.txt"):
        entries = re.split(r"\n(?=[a-z])", path.read_text("utf-8"))
        pinned = [entry for entry in entries if re.match(r"[\w.-]+==", entry)]
        assert pinned and all("--hash=sha256:" in entry for entry in pinned)
        assert {line for line in path.with_suffix(".in").read_text("utf-8").split()} <= {
            entry.partition("==")[0] for entry in pinned
        }


def test_what_commits_are_held_to_is_what_lint_holds_them_to() -> None:
    hooks = [hook for repo in load(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    entries = {hook["entry"].split()[0] for hook in hooks if "entry" in hook}
    assert entries == {".venv/bin/ruff", ".venv/bin/mypy"}
