"""Runs, data sets, filtered alerts, pushes under way, files of tables, and mistyped addresses, in a real browser."""

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.convert.under_way import UnderWay
from tests.controller.page_training_worlds import FIRST, RUNS, SECOND, fill_with_trainings
from tests.controller.page_worlds import ROLLOUT
from tests.integration.page_browser import (
    NEEDS_CHROMIUM,
    PHONE,
    Look,
    Served,
    until,
    wider_than_the_screen,
)
from tests.integration.page_states import settle
from tests.integration.test_page_accessibility import DRAWS, check, draw

pytestmark = NEEDS_CHROMIUM
PAGES = ("/runs", f"/runs/{FIRST}?with={SECOND}", "/data", "/data/weather?version=2&against=1", "/alerts", "/models")
TABLES = ("/fleet", "/rollouts", f"/rollouts/{ROLLOUT}", *PAGES[:4], "/models", "/models/m", "/audit")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("trainings"), fill_with_trainings)
    yield made
    made.close()


@pytest.fixture
def look(browser: Any, served: Served) -> Iterator[Look]:
    made = Look(browser, served)
    made.expected = ("/drift", "/rollouts")
    made.enter()
    yield made
    made.close()


def words(look: Look) -> str:
    return " ".join(str(look.page.inner_text("main")).split())


def saved(look: Look, button: str) -> list[list[str]]:
    """The rows of the file that a button gives."""
    with look.page.expect_download() as came:
        look.page.get_by_role("button", name=button, exact=True).click()
    return list(csv.reader(io.StringIO(Path(came.value.path()).read_text())))


@pytest.mark.soak
def test_runs_are_searched_sorted_and_paged_by_the_controller_and_the_address_keeps_it(look: Look) -> None:
    look.go("/runs", "text=1 to 25 of 32 runs")
    look.page.get_by_label("Name, parameter, tag, data set, commit or sender").fill("depth=8 jonas")
    look.page.wait_for_url(lambda url: "q=depth%3D8+jonas" in url)
    rows = look.page.locator("main tbody tr")
    until(lambda: 0 < rows.count() < 25)
    look.page.get_by_label("Order").select_option("-metric.accuracy")
    look.page.wait_for_url(lambda url: "sort=-metric.accuracy" in url)
    other = look.context.new_page()
    other.goto(look.page.url)
    until(lambda: other.locator("main tbody tr").all_inner_texts() == rows.all_inner_texts())
    look.page.get_by_label("Name, parameter, tag, data set, commit or sender").fill("nobody")
    look.page.get_by_role("button", name="Take all filters off").click()
    look.page.wait_for_selector("text=1 to 25 of 32 runs")


def test_two_runs_are_compared_by_keyboard_and_their_numbers_lie_in_one_plot_with_a_table(look: Look) -> None:
    look.go("/runs", "main tbody tr")
    for run in (SECOND, FIRST):
        look.page.get_by_label(f"Compare {run}").focus()
        look.page.keyboard.press("Space")
    button = look.page.get_by_role("button", name="Compare 2 of 2")
    button.focus()
    look.page.keyboard.press("Enter")
    look.page.wait_for_url(f"**/runs/{FIRST}?with={SECOND}")
    look.page.wait_for_selector("figure[aria-label='accuracy over steps'] canvas")
    shown = words(look)
    for part in ("param depth", "code commit", "weather@1", "m v2", "Haswell", "confusion.png", "train.py"):
        assert part in shown, part
    look.page.get_by_role("button", name="loss", exact=True).click()
    look.page.wait_for_selector("figure[aria-label='loss over steps'] canvas")
    assert "metric=loss" in look.page.url
    look.page.locator("summary:has-text('table of loss')").click()
    row = look.page.locator("figure tbody tr:nth-child(30)")
    row.wait_for()
    cells = row.locator("td").all_inner_texts()
    assert (cells[0], cells[2]) == ("30", "\u2013"), "a number that is none stays a gap"


@pytest.mark.soak
def test_a_data_set_says_what_it_is_who_was_trained_on_it_and_what_differs(look: Look) -> None:
    look.go("/data?q=weather", "text=weather@2")
    assert look.page.locator("main tbody tr").count() == 2
    look.page.get_by_role("link", name="weather@1").click()
    look.page.wait_for_selector("text=Trained on it")
    look.page.wait_for_selector("a:has-text('m v2')")
    assert "site" in look.page.inner_text("section[aria-label='Retention and privacy']")
    look.page.get_by_label("Version", exact=True).select_option("2")
    look.page.get_by_label("The other version").select_option("1")
    look.page.wait_for_selector("text=label rain")
    assert "version=2&against=1" in look.page.url
    assert "its rows are deleted by themselves" in words(look)


@pytest.mark.soak
def test_alerts_are_filtered_by_the_controller_and_the_counts_follow(look: Look) -> None:
    look.go("/alerts", "li.alert")
    look.page.get_by_label("severity").select_option("critical")
    until(lambda: look.page.locator("li.alert").count() == 1)
    look.page.get_by_label("Device, whole name").fill("ostley-003")
    look.page.wait_for_url(lambda url: "device=ostley-003" in url)
    assert look.page.locator("li.alert").count() == 1
    look.page.get_by_label("Search alerts").fill("nothing says this")
    look.page.wait_for_selector("text=No alert fits")
    assert "firing 0" in " ".join(look.page.inner_text(".legend").split())


@pytest.mark.soak
def test_a_list_is_saved_whole_as_the_filters_leave_it_and_no_cell_is_a_formula(look: Look) -> None:
    look.go("/runs", "text=1 to 25 of 32 runs")
    rows = saved(look, "CSV of Runs")
    assert len(rows) == 1 + RUNS
    assert rows[1][0] == FIRST
    look.go("/fleet?health=offline", "#devices tbody tr")
    offline = saved(look, "CSV of Devices")
    assert {row[1] for row in offline[1:]} == {"offline"}
    look.go(f"/runs/{FIRST}", "text=Parameters")
    assert saved(look, "CSV of Parameters")[:2] == [["parameter", "value"], ["depth", "4"]]
    written = look.page.evaluate("import('/static/csv.js').then(m => m.written([['=1+1', '-2', 'a,\"b\"']]))")
    assert written == '\'=1+1,-2,"a,""b"""\r\n'


@pytest.mark.soak
def test_every_table_of_every_page_can_be_had_as_a_file(look: Look) -> None:
    for address in TABLES:
        look.go(address, "main table tbody tr")
        look.page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true; })")
        bare = look.page.evaluate(
            "[...document.querySelectorAll('main table')]"
            ".filter(e => !e.closest('section')?.querySelector('button.csv')).map(e => e.outerHTML.slice(0, 80))"
        )
        assert bare == [], address


@pytest.mark.soak
def test_a_push_under_way_shows_its_share_and_step_and_goes_when_it_ends(look: Look, served: Served) -> None:
    look.go("/models", "main table")
    push = UnderWay("weather", "local:mara", time.time() - 12, time.monotonic)
    push.enter("convert")
    served.on_loop(lambda: (served.state.pushing.all.append(push), setattr(served.state.pushing, "changes", 1)))
    bar = look.page.get_by_role("progressbar", name="Push of weather")
    bar.wait_for()
    assert bar.get_attribute("aria-valuenow") == "25"
    assert "step 4 of 8: converting it" in words(look)
    served.on_loop(lambda: push.enter("gates"))
    until(lambda: bar.get_attribute("aria-valuenow") == "85")
    served.on_loop(lambda: (served.state.pushing.all.clear(), setattr(served.state.pushing, "changes", 2)))
    bar.wait_for(state="detached")


@pytest.mark.soak
@pytest.mark.parametrize("address", ["/flet", "/runs/a/b", "/constructor", "/100%25/x"])
def test_a_mistyped_address_is_said_with_every_way_back(look: Look, address: str) -> None:
    look.expected += ("404",)
    look.go(address, "text=There is no page at this address")
    look.page.get_by_role("link", name="Runs").last.click()
    look.page.wait_for_selector("text=1 to 25 of 32 runs")


@pytest.mark.soak
def test_what_was_never_sent_or_made_is_said_in_words(look: Look) -> None:
    look.expected += ("404",)
    look.go("/runs/20200101-1")
    assert "edgeward run send 20200101-1" in words(look)
    look.go("/data/nothing")
    assert "There is no data set nothing" in words(look)


@pytest.mark.soak
def test_runs_are_reached_by_two_keys_and_nothing_is_wider_than_a_phone(look: Look) -> None:
    look.page.keyboard.press("g")
    look.page.keyboard.press("n")
    look.page.wait_for_url("**/runs")
    for address in PAGES:
        look.go(address, "main h1")
        for width in (320, PHONE["width"], 1280):
            look.page.set_viewport_size({"width": width, "height": 844})
            until(lambda: not wider_than_the_screen(look), 20)


@pytest.mark.soak
@pytest.mark.parametrize("address", [*PAGES, "/flet"])
def test_axe_finds_nothing_on_any_of_these_pages(look: Look, address: str) -> None:
    look.expected += ("404",)
    look.go(address, "main h1")
    settle(look)
    check(look)


@pytest.mark.skipif(not DRAWS, reason="EDGEWARD_PICTURES=1 draws the pictures of docs/pictures anew")
@pytest.mark.parametrize(
    ("name", "address", "there"),
    [
        ("run-light", f"/runs/{FIRST}?with={SECOND}", ".plot canvas"),
        ("data-light", "/data/weather?version=2&against=1", "text=label rain"),
    ],
)
def test_pictures_of_the_docs_are_drawn(look: Look, name: str, address: str, there: str) -> None:
    look.page.set_viewport_size({"width": 1280, "height": 860})
    look.go(address, there)
    draw(look, name)


def test_the_search_finds_runs_and_data_sets_by_the_controller(look: Look) -> None:
    look.go("/fleet")
    look.page.keyboard.press("/")
    search = look.page.get_by_label("Search devices, rollouts, models, runs, data sets")
    search.fill(FIRST)
    look.page.locator("#found li .kind", has_text="run").first.wait_for()
    search.fill("weather@2".partition("@")[0])
    look.page.locator("#found li .kind", has_text="data set").first.wait_for()
    look.page.locator("#found li", has_text="weather@2").click()
    look.page.wait_for_url("**/data/weather?version=2")
