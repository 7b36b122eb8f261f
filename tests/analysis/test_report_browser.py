"""The report in a real browser: it opens, sorts, filters, darkens, fits a phone, needs no net."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic import write_sweep

from analysis.report import write_report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("b") / "sweep"
    return write_report(write_sweep(folder, trials=200, n_dialogues=100, failing=(3,)))


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.faults, page.asked = [], []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert page.faults == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.asked)
    context.close()


def scroll_through(page: Any) -> None:
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelectorAll('.plot:not(.drawn)').length === 0")


def test_the_leaderboard_stands_before_the_figures(browser: Any, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri(), wait_until="domcontentloaded")
    assert page.locator("#board tbody tr").count() == 200
    assert page.locator(".plot:not(.drawn)").count() > 0
    page.close()


def test_all_figures_are_drawn(page: Any) -> None:
    scroll_through(page)
    assert page.locator(".plot.drawn .main-svg").count() >= 11
    assert page.locator(".plot .parcoords").count() == 1


def test_sorting_by_keyboard(page: Any) -> None:
    header = page.locator("#board th", has_text="Bleu")
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    column = header.evaluate("cell => cell.cellIndex")
    values = page.evaluate(
        "c => [...document.querySelectorAll('#board tbody tr')]"
        ".map(row => +row.cells[c].dataset.value)",
        column,
    )
    assert values == sorted(values, reverse=True)
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"


def test_filtering_by_words(page: Any) -> None:
    page.get_by_label("Filter").fill("pruned attention")
    shown = page.locator("#board tbody tr:visible")
    assert 0 < shown.count() < 200
    assert f"{shown.count()} of 200 shown" == page.locator("#shown").inner_text()
    for text in shown.all_inner_texts():
        assert "attention" in text and "pruned" in text


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("success > 30 and lora_rank <= 8", lambda v: v["Success"] > 30 and v["lora_rank"] <= 8),
        ("state = pruned or not lora_modules ~ ff", lambda v: v["state"] == "PRUNED"),
        ('(turns >= 8192) "all-linear"', lambda v: v["turns"] >= 8192),
    ],
)
def test_filtering_by_expressions(page: Any, asked: str, kept: Any) -> None:
    page.get_by_label("Filter").fill(asked)
    rows = page.evaluate(VALUES)
    assert 0 < len(rows) < 200
    assert all(kept(row) or "or" in asked.split() for row in rows)


VALUES = """[...document.querySelectorAll('#board tbody tr:not([hidden])')].map(row =>
    Object.fromEntries([...document.querySelectorAll('#board th')].map((head, i) => {
        const value = row.cells[i].dataset.value;
        return [head.dataset.name, value === '' || isNaN(value) ? value : +value];
    })))"""


def test_a_filter_that_cannot_be_read_says_why_and_hides_nothing(page: Any) -> None:
    shown = page.locator("#board tbody tr:visible").count()
    for asked, why in (("sucess > 3", "no column sucess"), ("success >", "a value is missing")):
        page.get_by_label("Filter").fill(asked)
        assert why in page.locator("#shown").inner_text()
        assert page.locator("#board tbody tr:visible").count() == shown


def test_lines_between_levels_follow_the_order(page: Any) -> None:
    lines = "document.querySelectorAll('#board tr.first').length"
    before = page.evaluate(lines)
    assert before == 3  # three rungs and the untuned base
    page.locator("#board th", has_text="Bleu").locator("button").click()
    assert page.evaluate(lines) == 0
    page.locator("#board th", has_text="rank").first.locator("button").click()
    assert page.evaluate(lines) == before


def test_a_row_opens_its_trial(page: Any, report: Path) -> None:
    page.locator("#board tbody tr").nth(2).locator("td").nth(3).click()
    name = page.locator("#board tbody tr").nth(2).locator("button.open").inner_text()
    window = page.get_by_role("dialog")
    window.get_by_text(f"Trial {name}").first.wait_for()
    assert "tune.clone sweep" in window.inner_text()
    window.locator(".curve .main-svg").first.wait_for()
    page.keyboard.press("Escape")
    page.wait_for_function("!location.hash")
    page.goto(f"{report.as_uri()}#trial-0003")
    page.reload()
    page.get_by_role("dialog").get_by_text("the loss is not finite").first.wait_for()


def test_printing_draws_every_figure(page: Any) -> None:
    page.pdf(format="A4")
    assert (
        page.locator(".plot").count() == page.locator(".plot.drawn .main-svg:first-child").count()
    )
    assert page.evaluate("document.documentElement.dataset.theme") is None  # as it was


def test_a_board_wider_than_the_sheet_is_folded_on_paper(page: Any) -> None:
    board = page.locator("#board")
    before, rows = board.inner_html(), board.locator("tbody tr").count()
    page.add_style_tag(content="#board { min-width: 1200px }")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not board.locator("th.field").first.is_visible()
    below = board.locator("tr.below").all_inner_texts()
    assert len(below) == rows and "learning_rate 0.0" in below[0]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert board.inner_html() == before


def test_axe_finds_nothing_once_figures_are_drawn(browser: Any, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="extra: test")
    page = browser.new_page()
    page.goto(write_report(write_sweep(tmp_path / "sweep", trials=16, failing=(3,))).as_uri())
    page.wait_for_function("document.querySelectorAll('.plot:not(.drawn)').length === 0")
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], len(v["nodes"])) for v in found] == []
    page.close()


def test_dark_mode_reaches_the_figures(page: Any) -> None:
    scroll_through(page)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    ink = page.evaluate("document.getElementById('figure-curves').layout.font.color")
    assert ink == "#e6e9ec"


def test_a_phone_scrolls_in_one_direction(browser: Any, report: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = context.new_page()
    page.goto(report.as_uri())
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


def test_a_reader_by_ear_finds_names(page: Any) -> None:
    assert page.get_by_role("navigation", name="Sections").count() == 1
    assert page.locator("h1").count() == 1
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, [role=group], [role=region]')].filter(e =>"
        " !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"
    )
    assert unnamed == 0
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_the_configuration_can_be_copied(browser: Any, report: Path) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(report.as_uri())
    page.locator("#configuration button.copy").first.click(no_wait_after=True)
    page.locator("button.copy", has_text="Copied").wait_for()
    assert '"learning_rate"' in page.evaluate("navigator.clipboard.readText()")
    context.close()
