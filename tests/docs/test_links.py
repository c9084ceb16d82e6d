"""Every link of every page leads somewhere: files and headings are looked up, addresses read."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docs.pages import ROOT, anchors, links, name_of, pages, spans, tracked

PATHS = re.compile(
    r"(?:\.ci|\.github|benchmarks|calibration|docker|docs|edgedet|examples|export|findings|release|runtimes|tests)"
    r"/[\w./-]*\w"
)

WRITTEN_BY_READERS = {
    "edgedet/cli/count.py",
    "edgedet/datasets/createml.py",
    "export/families/split.py",
    "runtimes/nothing.py",
}
"""Files that a page has its reader write."""


def complaint(page: Path, link: str, files: set[str]) -> str | None:
    """What is wrong with a link of a page, or None."""
    parts = urlsplit(link)
    if parts.scheme:
        if parts.scheme not in ("https", "mailto"):
            return f"{link}: expected https"
        good = re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.netloc) and " " not in link
        return None if good else f"{link} is no address"
    target = (page.parent / parts.path).resolve() if parts.path else page
    if not target.exists():
        return f"{link}: there is no {target}"
    if files and target.relative_to(ROOT).as_posix() not in files:
        return f"{link} is not in the repository"
    if parts.fragment and target.suffix == ".md" and parts.fragment not in anchors(target):
        return f"{link}: {target.name} has no such heading"
    return None


@pytest.fixture(scope="module")
def files() -> set[str]:
    return tracked()


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_link_leads_somewhere(page: Path, files: set[str]) -> None:
    assert [each for link in links(page) if (each := complaint(page, link, files))] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_files_that_are_named_are_there(page: Path) -> None:
    """In code marks, from the top of the repository."""
    named = {span for span in spans(page) if PATHS.fullmatch(span)}
    assert {path for path in named if not (ROOT / path).exists() and path not in WRITTEN_BY_READERS} == set()


def test_enough_is_looked_at() -> None:
    found = [link for page in pages() for link in links(page)]
    assert len(pages()) > 35 and len(found) > 170
    assert len([link for link in found if "#" in link]) > 25


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("nowhere.md", "there is no"),
        ("docs/int8.md#no-such-heading", "has no such heading"),
        ("#no-such-heading", "has no such heading"),
        ("http://example.com", "expected https"),
        ("https://exa mple", "is no address"),
        ("docs/int8.md#measured", None),
        ("LICENSE", None),
    ],
)
def test_a_broken_link_is_seen(link: str, message: str | None) -> None:
    found = complaint(ROOT / "README.md", link, set())
    assert found is None if message is None else found is not None and message in found
