"""What an operator and a data scientist do on the pages of rollouts and models, in a real browser, by keyboard too."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from controller.config import Config, StorageConfig
from controller.state import State, open_state
from controller.telemetry.store import TelemetryStore
from tests.controller.rollout_scene import play
from tests.controller.test_api import push
from tests.integration.page_browser import NEEDS_CHROMIUM, PHONE, Look, Served, until
from tests.integration.test_page_accessibility import DRAWS, check, draw

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("rollout_page")
    with ThreadPoolExecutor(1) as beside:  # a browser's library keeps an event loop in this thread
        beside.submit(_pushed, str(directory / "data")).result()
    found = Served(directory, _played)
    yield found
    found.close()


def _pushed(directory: str) -> None:
    first = open_state(Config(storage=StorageConfig(data_dir=directory)))
    assert [push(first, name="pump")[0] for _ in range(2)] == [200, 200]
    first.close()


def _played(state: State) -> None:
    play(state)


@pytest.fixture
def look(browser: Any, served: Served) -> Iterator[Look]:
    found = Look(browser, served)
    found.expected = ("/v1/alerts",)
    found.enter()
    yield found
    found.close()


def rollout_of(served: Served) -> str:
    return next(reversed(served.state.world.durable.rollouts))


def words(look: Look) -> str:
    return str(look.page.inner_text("main"))


def test_the_list_names_the_failed_devices_and_links_to_the_rollout(look: Look, served: Served) -> None:
    look.go("/rollouts", "main table")
    row = look.page.inner_text("tbody tr")
    assert "pump v2" in row
    assert "pump-020 (health_latency)" in row
    look.page.click("tbody a")
    look.page.wait_for_selector("text=Where it stands")
    assert look.page.url.endswith(rollout_of(served))


def test_a_rule_is_shown_with_its_interval_over_time_and_a_table_of_the_apis_numbers(
    look: Look, served: Served
) -> None:
    name = rollout_of(served)
    look.go(f"/rollouts/{name}", ".plot .uplot")
    shown = words(look)
    for part in ("Wave 2 of 3", "cannot be reached", "no data", "6 of 7", "1 failed", "pump-011", "device-hours"):
        assert part in shown, part
    look.page.click("figure.plot >> nth=0 >> summary")
    first = look.page.locator("figure.plot").nth(0).locator("tbody tr").first.inner_text()
    newest = served.on_loop(lambda: _newest(served.state.telemetry, name))
    assert f"{abs(newest['low'] * 100):.1f}, " in first
    look.page.keyboard.press("Escape")
    rule = look.page.get_by_role("button", name="failed_ratio")
    rule.focus()
    look.page.keyboard.press("Enter")
    until(lambda: "rule=3" in look.page.url)
    assert "1 of 11 decided devices failed" in words(look)


def _newest(store: TelemetryStore, name: str) -> dict[str, float]:
    found = [json.loads(body) for _, body in store.verdicts(name)]
    return next(
        each["figures"] for each in reversed(found) if each["rule"] == 0 and each["stratum"] == "aarch64/1024MB"
    )


def test_a_comment_that_names_a_person_is_shown_beside_the_rollout_and_sent(look: Look, served: Served) -> None:
    look.go(f"/rollouts/{rollout_of(served)}", "text=Discussion")
    look.page.get_by_label("Comment").fill("<b>slow</b> there, @jonas")
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("text=<b>slow</b> there")
    listener = served.on_loop(lambda: served.state.events.listen("1"))
    events = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
    assert [each.data.who for each in events if each.type == "dev.edgeward.mention"] == ["jonas"]  # type: ignore[union-attr]


def test_the_page_of_a_model_shows_versions_lineage_and_quality_and_fits_a_phone(browser: Any, served: Served) -> None:
    for size in (None, PHONE):
        look = Look(browser, served, **({"viewport": size} if size else {}))
        look.expected = ("/v1/alerts",)
        look.enter()
        look.go("/models/pump", ".plot .uplot")
        shown = words(look)
        for part in ("v2 rolling out", "Lineage", rollout_of(served), "10 devices", "LogisticRegression"):
            assert part in shown, part
        for address in ("/models", "/models/pump", "/rollouts", f"/rollouts/{rollout_of(served)}"):
            look.go(address)
            assert look.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, address
        look.close()


def test_axe_finds_nothing_on_pages_of_rollouts_and_models_nor_in_a_dialog(look: Look, served: Served) -> None:
    name = rollout_of(served)
    pages = (("/rollouts", "main table"), ("/models", "main table"), ("/models/pump", ".plot .uplot"))
    for address, waits_for in (*pages, (f"/rollouts/{name}", ".plot .uplot")):
        look.go(address, waits_for)
        check(look)
    look.page.get_by_role("button", name="Roll back").click()
    look.page.wait_for_selector("ul.will")
    check(look)


@pytest.mark.skipif(not DRAWS, reason="EDGEWARD_PICTURES=1 draws the pictures of docs/pictures anew")
@pytest.mark.parametrize(("name", "address"), [("rollout-light", "/rollouts/ROLLOUT"), ("model-light", "/models/pump")])
def test_pictures_of_rollouts_for_the_docs_are_drawn(look: Look, served: Served, name: str, address: str) -> None:
    look.page.set_viewport_size({"width": 1280, "height": 900})
    look.go(address.replace("ROLLOUT", rollout_of(served)), ".plot .uplot")
    draw(look, name)


def test_a_viewer_may_read_and_sees_which_role_is_needed(browser: Any, served: Served) -> None:
    look = Look(browser, served)
    look.expected = ("/v1/alerts",)
    look.enter(served.token("vera", "viewer")[1])
    look.go(f"/rollouts/{rollout_of(served)}", "text=Where it stands")
    button = look.page.get_by_role("button", name="Roll back")
    assert button.get_attribute("aria-disabled") == "true"
    assert "needs the role operator" in (look.page.text_content(f"#{button.get_attribute('aria-describedby')}") or "")
    look.close()


def test_a_rollout_is_paused_and_rolled_back_by_keyboard_alone_with_a_reason(look: Look, served: Served) -> None:
    name, page = rollout_of(served), look.page
    look.go(f"/rollouts/{name}", "text=Where it stands")
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.will")
    assert page.evaluate("document.activeElement.textContent") == "Leave it as it is"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    until(lambda: served.state.world.durable.rollouts[name].status == "paused")
    page.wait_for_selector("h1 >> text=paused")
    page.get_by_role("button", name="Roll back").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("ul.will")
    assert "12 devices go back to v1" in page.inner_text("ul.will")
    page.get_by_label("Why").fill("slow on pump-020")
    page.locator("dialog .btn.main").focus()
    page.keyboard.press("Enter")
    until(lambda: served.state.world.durable.rollouts[name].status == "rolling_back")
    newest = served.on_loop(lambda: served.state.journal.audit_entries(1))[0]
    assert (newest["action"], newest["actor"]) == ("rollout rollback", "local:mara")
    assert "slow on pump-020" in newest["detail"]
    page.wait_for_selector("text=slow on pump-020")
