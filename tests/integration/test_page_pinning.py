"""The page in a real browser: a device is pinned there, sentences stand once, and short plots can be read."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.controller.page_worlds import STAR, fill
from tests.integration.page_browser import NEEDS_CHROMIUM, Look, Served, until

pytestmark = NEEDS_CHROMIUM
DEVICES = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("controller"), lambda state: fill(state, time.time(), DEVICES))
    yield made
    made.close()


@pytest.fixture
def look(browser: Any, served: Served) -> Iterator[Look]:
    made = Look(browser, served)
    yield made
    made.close()


def test_a_device_is_pinned_with_what_will_happen_shown_before_and_the_pin_is_ended(look: Look) -> None:
    look.expected = ("dry-run",)
    look.enter(address="/devices/ostley-003")
    acts = look.page.get_by_role("group", name="Actions")
    acts.get_by_role("button", name="Pin").click()
    dialog = look.page.get_by_role("dialog")
    dialog.get_by_text("rollouts, roll backs and retries pass it by").wait_for()
    assert "It runs that version already." in dialog.inner_text()
    dialog.get_by_label("Version").fill("99")
    dialog.get_by_text("No model 'pump-vibration'").first.wait_for()
    assert dialog.get_by_role("button", name="Pin").get_attribute("aria-disabled") == "true", "with the reason"
    dialog.get_by_label("Version").fill("")
    dialog.get_by_label("Why").fill("a trial of the pump")
    dialog.get_by_text("It runs that version already.").wait_for()
    dialog.get_by_role("button", name="Pin").click()
    until(lambda: "pump-vibration" in look.served.state.world.durable.twins["ostley-003"].pins)
    twin = look.served.state.world.durable.twins["ostley-003"]
    assert twin.pins["pump-vibration"].reason == "a trial of the pump"
    acts.get_by_role("button", name="End pin").click()
    dialog.get_by_text("It keeps").wait_for()
    dialog.get_by_role("button", name="End the pin").click()
    until(lambda: not look.served.state.world.durable.twins["ostley-003"].pins)


def test_an_alert_has_its_sentence_once_and_every_tile_has_a_figure(look: Look) -> None:
    look.enter()
    look.page.locator(".alarm").first.wait_for()
    for shown in look.page.locator(".alarm").all():
        what, why = shown.locator(".what").inner_text(), shown.locator(".numbers").inner_text()
        assert what != why
    assert all(
        text.startswith("none") or any(map(str.isdigit, text))
        for text in look.page.locator("dl.numbers-row dd").all_inner_texts()
    )
    assert "since start" in look.page.locator("dl.numbers-row").inner_text()


def test_labels_of_a_short_plot_differ_from_each_other_and_are_not_cut(look: Look) -> None:
    look.enter(address=f"/devices/{STAR}")
    look.page.locator(".plot canvas").first.wait_for()
    drawn = look.page.evaluate(
        "import('/static/plot.js').then(({ brief, once }) => [[0, .05, .1, .15], [0, 25000, 50000], [99.1, 99.15]]"
        ".map((splits) => once(brief(splits))))"
    )
    assert drawn == [["0.00", "0.05", "0.10", "0.15"], ["0", "25k", "50k"], ["99.10", "99.15"]]
