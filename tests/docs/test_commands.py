"""Every command that a page shows is one that there is, with the options it is shown with."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import pytest

from edgedet.cli import COMMANDS, OPENING
from edgedet.cli.signature_option import add_signature_option
from tests.docs.pages import ROOT, Block, blocks, commands, name_of, pages, spans

TARGETS = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
EXTRAS = set(
    re.findall(
        r"^([\w-]+) = \[",
        (ROOT / "pyproject.toml")
        .read_text("utf-8")
        .partition("[project.optional-dependencies]")[2]
        .partition("\n[")[0],
        re.MULTILINE,
    )
)
OTHERS = {
    ".", "apt", "convert", "curl", "docker", "export", "g++", "gh", "git", "openssl", "ray", "scp", "sha256sum",
    "ssh", "strace", "sudo",
}  # fmt: skip
"""Programs of others, whose options nobody here can look up."""

PREFIXES = {"edgedet artifact statement 1"}
"""Bytes that begin like a command."""

BUILT = {"./read_card", "./run_graph"}
"""Programs that a line above on the same page builds."""


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one command, which raises where the real one leaves."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    import_module(COMMANDS[command][0]).add_arguments(parser)
    if command in OPENING:
        add_signature_option(parser)
    return parser


def complaint(line: str) -> str | None:
    """What is wrong with a command, or None. What follows a pipe or ``&&`` is a command too."""
    for part in re.split(r"\s+(?:\||&&)\s+", line):
        words = shlex.split(part)
        if words and (found := _complaint(words)) is not None:
            return f"{part}: {found}"
    return None


def _complaint(words: list[str]) -> str | None:
    program, *arguments = words
    if program == "edgedet":
        if not arguments or arguments[0] not in COMMANDS:
            return "no such command"
        try:
            parser_of(arguments[0]).parse_args(arguments[1:])
        except (SystemExit, argparse.ArgumentError) as error:
            return str(error)
        return None
    if program == "make":
        named = [each for each in arguments if "=" not in each]
        return None if set(named) <= TARGETS else f"no target {set(named) - TARGETS}"
    if program in ("python", "python3") and arguments and arguments[0] != "-m":
        return _script_complaint(arguments[0], arguments[1:])
    if program == "pytest":
        missing = [each for each in arguments if not each.startswith("-") and not (ROOT / each).exists()]
        return f"no {missing}" if missing else None
    if program == "pip":
        asked = {
            extra for each in arguments for found in re.findall(r"\[(.*?)\]", each) for extra in found.split(",")
        }
        return None if asked <= EXTRAS else f"no extra {asked - EXTRAS}"
    if program.startswith("benchmarks/"):
        return _script_complaint(program, arguments)
    if program == "docker" and "-f" in arguments:
        named_file = arguments[arguments.index("-f") + 1]
        return None if (ROOT / named_file).is_file() else f"no {named_file}"
    return (
        None if program in OTHERS | BUILT | {"python3", "python"} else f"{program} is no program that is known here"
    )


def _script_complaint(script: str, arguments: list[str]) -> str | None:
    """A script of the repository: it and its options exist. A folder of the same name holds what it starts."""
    path = ROOT / script
    if not path.is_file():
        return f"no {script}"
    parts = [path, *path.with_suffix("").glob("*.py")]
    text = "".join(part.read_text("utf-8") for part in parts)
    options = {each.partition("=")[0] for each in arguments if each.startswith("--")}
    unknown = {each for each in options if not re.search(rf'["\s]{re.escape(each)}["\s)|]', text)}
    return f"no option {unknown}" if unknown else None


def span_complaint(span: str) -> str | None:
    """The same of code within a sentence, where names may stand for values, and arguments may be left out."""
    if not span.startswith("edgedet "):
        return complaint(span.replace("…", ""))
    for part in re.split(r"\s+&&\s+", span):
        words = part.split()
        if len(words) < 2 or words[0] != "edgedet":
            continue
        command = words[1]
        if command not in COMMANDS:
            return f"{part}: no such command"
        known = {option: action for action in parser_of(command)._actions for option in action.option_strings}
        if unknown := set(re.findall(r"(?<!\S)--[\w-]+", part)) - known.keys():
            return f"{part}: no option {unknown}"
        for place, word in enumerate(words):
            wanted = known[word].nargs if word in known else None
            given = len(list(takewhile(lambda each: not each.startswith("-"), words[place + 1 :])))
            if isinstance(wanted, int) and 0 < given < wanted:
                return f"{part}: {word} takes {wanted} values"
    return None


def shell_blocks(page: Path) -> list[Block]:
    """Blocks of commands; one of bash is a script of other programs, with its own grammar."""
    return [block for block in blocks(page) if block.language in ("", "sh")]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_that_are_shown_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.name == "writing-a-family.md":
        families = pytest.importorskip("edgedet.export.families", reason="needs edgedet[export]")
        monkeypatch.setitem(families.FOREIGN, "split", "split:SPLIT")
    shown = [(block.name, line) for block in shell_blocks(page) for line in commands(block)]
    assert [f"{place} {found}" for place, line in shown if (found := complaint(line)) is not None] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_commands_within_sentences_exist(page: Path) -> None:
    asked = re.compile(r"(?:edgedet|make|python|pytest|pip) [^|]*")
    shown = [span for span in set(spans(page)) - PREFIXES if asked.match(span) and not re.search(r"[<>]", span)]
    assert [found for span in shown if (found := span_complaint(span)) is not None] == []


def test_enough_is_looked_at() -> None:
    shown = [line for page in pages() for block in shell_blocks(page) for line in commands(block)]
    assert len([line for line in shown if line.startswith("edgedet ")]) > 45
    assert len(shown) > 90
    jetson = [line for block in shell_blocks(ROOT / "docs" / "jetson.md") for line in commands(block)]
    assert len([line for line in jetson if line.startswith("edgedet ")]) >= 8


@pytest.mark.parametrize(
    "line",
    [
        "edgedet nothing model.onnx",
        "edgedet export model.pt --nothing",
        "edgedet export model.pt --precision int4",
        "edgedet bench old.onnx --json a.json && edgedet compare --nothing",
        "make nothing",
        "python benchmarks/nothing.py",
        "python examples/render.py out --nothing 3",
        "benchmarks/gpu_day.sh DIR --nothing",
        "pip install 'edgedet[nothing]'",
        "pytest tests/nothing.py",
        "docker build -f docker/nothing.Dockerfile .",
        "nothing at all",
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    assert complaint(line) is not None


@pytest.mark.parametrize(
    "span", ["edgedet nothing", "edgedet export --nothing", "edgedet export --for triton=DIR", "make nothing"]
)
def test_code_within_a_sentence_that_does_not_exist_is_seen(span: str) -> None:
    assert span_complaint(span) is not None and span_complaint("edgedet export --for") is None


def test_options_the_board_s_page_explains_exist() -> None:
    rows = re.findall(r"^\| `(--[a-z-]+)", (ROOT / "docs" / "jetson.md").read_text("utf-8"), re.MULTILINE)
    known = {option for action in parser_of("export")._actions for option in action.option_strings}
    assert len(rows) >= 6 and set(rows) <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_of_the_help_exist(command: str) -> None:
    """They stand in columns: the command, two spaces, what it does."""
    lines = import_module(COMMANDS[command][0]).EXAMPLES.splitlines()[1:]
    shown = [re.split(r"\s{3,}|\s#", line.strip())[0] for line in lines if line.strip().startswith("edgedet ")]
    assert shown
    ours = [re.split(r"\s+(?:\||>)\s+", line)[0] for line in shown]
    assert [found for line in ours if (found := complaint(line)) is not None] == []
