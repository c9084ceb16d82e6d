"""The repository's pages, taken apart: headings, links, blocks of code, code within sentences."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^ *(```+)([^\n`]*)\n(.*?)^ *\1 *$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\[\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


def pages() -> list[Path]:
    """Every page of the repository, without those that lie about or are filled in when they are written."""
    folders = (ROOT, *(ROOT / name for name in (".github", "docs", "examples", "release", "tests", "findings")))
    found = set(ROOT.glob("*.md")) | {path for folder in folders[1:] for path in folder.rglob("*.md")}
    return sorted(found)


def name_of(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


@dataclass(frozen=True)
class Block:
    """A block of code. ``language``: what stands behind the fence, empty for commands; ``line``: its first line."""

    page: Path
    language: str
    text: str
    line: int

    @property
    def name(self) -> str:
        """Page and line."""
        return f"{name_of(self.page)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of code of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(page, match[2].strip(), match[3], text[: match.start()].count("\n") + 2)
        for match in FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """A page without its blocks of code and comments."""
    return COMMENT.sub("", FENCE.sub("", page.read_text("utf-8")))


def spans(page: Path) -> list[str]:
    """Code within sentences and tables, line breaks as spaces."""
    return [" ".join(match[2].split()) for match in SPAN.finditer(prose(page))]


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead."""
    return LINK.findall(SPAN.sub("code", prose(page)))


def anchors(page: Path) -> set[str]:
    """What ``page.md#…`` may name: headings as GitHub and MyST turn them into anchors."""
    found: set[str] = set()
    for title in re.findall(r"^#{1,6} +(.+?) *#*$", prose(page), re.MULTILINE):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number, free = 0, slug
        while free in found:
            number += 1
            free = f"{slug}-{number}"
        found.add(free)
    return found


def commands(block: Block) -> Iterator[str]:
    """The commands of a block, continued lines joined, without what is said behind them."""
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        command = re.split(r"\s+#(?:\s|$)|\s+->\s", line.strip())[0]
        if command and not command.startswith("#"):
            yield command


def tracked() -> set[str]:
    """Files that git tracks, or would, and their folders; empty where there is no clone."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    files = {Path(line) for line in done.stdout.splitlines()}
    return {path.as_posix() for path in files} | {path.as_posix() for file in files for path in file.parents}
