"""The report in a browser, on a desk and on a phone, light and dark: nothing overflows, fails or is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.cli import main
from tests.edgedet.report.browser import Chromium
from tests.edgedet.report.results import write_sweep


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    main(["report", str(write_sweep(folder / "sweep")), "-o", str(folder / "report.html"), "--budget-ms", "15"])
    return folder / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_the_page_fits_is_quiet_and_fetches_nothing(browser: Chromium, page: Path, width: int, scheme: str) -> None:
    visit = browser.visit(page, width=width, height=844, scheme=scheme)
    assert visit.width <= width
    assert visit.overflowing == []
    assert visit.errors == []
    assert visit.requests == []


def test_dark_and_light_differ_and_one_plot_is_shown(browser: Chromium, page: Path) -> None:
    grounds, plots = set(), set()
    for width, scheme in ((1280, "light"), (1280, "dark"), (390, "dark")):
        browser.visit(page, width=width, height=844, scheme=scheme)
        grounds.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
        shown = "[...document.querySelectorAll('svg')].filter(e => e.getBoundingClientRect().width > 0)"
        plots.add(browser.evaluate(f"{shown}.map(e => e.classList.value).join()"))
    assert len(grounds) == 2
    assert plots == {"plot wide", "plot narrow"}


def test_a_click_on_a_column_sorts_by_number_with_gaps_last(browser: Chromium, page: Path) -> None:
    browser.visit(page, width=1280, height=844)
    read = "[...document.querySelectorAll('table.sortable')[0].tBodies[0].rows].map(r => r.cells[1].dataset.value)"
    click = "document.querySelectorAll('table.sortable')[0].querySelectorAll('th button')[1].click()"
    for direction in (1, -1):
        browser.evaluate(click)
        values = browser.evaluate(read)
        numbers = [float(value) for value in values if value]
        assert values[-1] == "", "the row without accuracy comes last either way"
        assert numbers == sorted(numbers, reverse=direction < 0)
        assert len(numbers) == 10


def test_the_checks_notice_a_page_that_breaks_the_rules(browser: Chromium, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<main><div style='width:5000px'>x</div></main><img src='http://127.0.0.1:9/x.png'><script>nonsense()</script>"
    )
    visit = browser.visit(bad, width=390, height=844)
    assert visit.width >= 5000
    assert visit.overflowing
    assert visit.requests == ["http://127.0.0.1:9/x.png"]
    assert visit.errors
