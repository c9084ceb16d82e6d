"""Every command the documentation shows is one the command line takes."""

from __future__ import annotations

import argparse
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from edgedet.cli import COMMANDS
from edgedet.cli.signature_option import add_signature_option

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def shown_commands(page: Path) -> list[str]:
    """Lines of code blocks that call edgedet, without what follows a comment or a pipe."""
    blocks = re.findall(r"```(?:\w*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    called = [re.split(r"\s+#|\s+->|\s+\|\s", line.strip())[0] for line in lines]
    return [line for line in called if line.startswith("edgedet ")]


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one command, which raises where the real one leaves."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    import_module(COMMANDS[command][0]).add_arguments(parser)
    add_signature_option(parser, command)
    return parser


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_shown_exist(page: Path) -> None:
    for line in shown_commands(page):
        _, command, *arguments = shlex.split(line)
        assert command in COMMANDS, line
        try:
            parser_of(command).parse_args(arguments)
        except (SystemExit, argparse.ArgumentError) as error:
            pytest.fail(f"{page.name}: {line}: {error}")


def test_the_board_s_page_shows_commands() -> None:
    assert len(shown_commands(ROOT / "docs" / "jetson.md")) >= 8


def test_options_the_board_s_page_explains_exist() -> None:
    rows = re.findall(r"^\| `(--[a-z-]+)", (ROOT / "docs" / "jetson.md").read_text("utf-8"), re.MULTILINE)
    known = {option for action in parser_of("export")._actions for option in action.option_strings}
    assert len(rows) >= 6 and set(rows) <= known
