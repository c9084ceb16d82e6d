"""The site of ``make docs``: whole, quiet, readable on a desk and on a phone, searchable without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, pages
from tests.edgedet.report.browser import Chromium

PATIENCE_SECONDS = 60


class Page(HTMLParser):
    """Places that can be linked to, and links. ``dead``: text that was to be a link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.dead = 0
        self._within = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids |= {value for key, value in found.items() if key in ("id", "name") and value}
        if tag == "a":
            self._within += 1
            self.links += [found["href"]] if found.get("href") else []
        elif tag in ("script", "img", "link"):
            self.loaded += [value for key in ("src", "href") if (value := found.get(key))]
        elif tag == "span" and not self._within and {"xref", "myst"} <= set((found.get("class") or "").split()):
            self.dead += 1

    def handle_endtag(self, tag: str) -> None:
        self._within -= tag == "a"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="needs edgedet[docs]")
    out = tmp_path_factory.mktemp("site")
    options = re.search(r"-m sphinx (.*?) docs build/docs", (ROOT / "Makefile").read_text("utf-8"))
    assert options is not None
    # Without the rooms beside docs/ in the way of what is installed.
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            *options[1].split(),
            "-d",
            str(out / "doctrees"),
            "docs",
            str(out / "html"),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[1:])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.fixture(scope="module")
def parsed(site: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_page_of_the_folder_is_a_page_of_the_site(site: Path) -> None:
    wanted = {
        page.relative_to(ROOT / "docs").with_suffix(".html") for page in pages() if ROOT / "docs" in page.parents
    }
    assert {page for page in wanted if not (site / page).exists()} == set()
    assert len([page for page in wanted if page.parts[0] == "tutorials"]) == 6


def test_every_link_of_the_site_leads_somewhere(parsed: dict[Path, Page]) -> None:
    broken = []
    for path, page in parsed.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target.exists() and (
                not parts.fragment or target not in parsed or unquote(parts.fragment) in parsed[target].ids
            )
            broken += [] if known else [f"{path.name}: {link}"]
    assert broken == []
    assert {path.name: page.dead for path, page in parsed.items() if page.dead} == {}


def test_nothing_is_loaded_from_elsewhere(parsed: dict[Path, Page]) -> None:
    assert [link for page in parsed.values() for link in page.loaded if urlsplit(link).netloc] == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_page_overflows_or_complains(browser: Chromium, site: Path, width: int, scheme: str) -> None:
    wrong = []
    for page in sorted(site.rglob("*.html")):
        if "_modules" in page.parts:
            continue
        visit = browser.visit(page, width=width, height=844, scheme=scheme)
        away = [address for address in visit.requests if not address.startswith("file:")]
        if visit.width > width or visit.errors or away:
            wrong.append((page.name, visit.width, visit.errors, away))
    assert wrong == []


def test_a_page_that_overflows_is_seen(browser: Chromium, tmp_path: Path) -> None:
    (tmp_path / "wide.html").write_text("<meta name=viewport content='width=device-width'><pre>" + "x" * 500)
    assert browser.visit(tmp_path / "wide.html", width=390, height=844).width > 390


def test_dark_and_light_differ(browser: Chromium, site: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        browser.visit(site / "index.html", width=390, height=844, scheme=scheme)
        grounds.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(grounds)) == 2


def test_the_search_works_without_a_network(browser: Chromium, site: Path) -> None:
    browser.visit(site / "search.html", width=390, height=844)
    browser.call("Page.navigate", url=f"{(site / 'search.html').as_uri()}?q=letterbox")
    end = time.monotonic() + PATIENCE_SECONDS
    found: list[str] = []
    while "The files, byte for byte" not in found and time.monotonic() < end:
        time.sleep(0.2)
        found = browser.evaluate(
            "[...document.querySelectorAll('#search-results li a')].map(each => each.innerText)"
        )
    assert "The files, byte for byte" in found
