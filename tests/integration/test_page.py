"""The page in a real browser, served by the controller's real API: what an operator does there, by keyboard alone."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import Presence
from controller.reconcile.decisions import reconcile
from controller.state import State
from controller.verbs import device_labels, devices, selectors, tokens
from tests.controller.page_worlds import ROLLOUT, STAR, fill, heartbeat, steady
from tests.integration.page_browser import NEEDS_CHROMIUM, PHONE, Look, Served, until, wider_than_the_screen

pytestmark = NEEDS_CHROMIUM
DEVICES = 120
HOSTILE = "<img src=x onerror=alert(1)>"


def _fill(state: State) -> None:
    fill(state, time.time(), DEVICES)
    bad = heartbeat("ostley-900", 3, (steady("pump-vibration", 12),))
    reconcile(state.world, [(HOSTILE, replace(bad, device=HOSTILE))], time.time())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("controller"), _fill)
    yield made
    made.close()


@pytest.fixture
def look(browser: Any, served: Served) -> Iterator[Look]:
    made = Look(browser, served)
    yield made
    made.close()


def rows(look: Look) -> list[str]:
    """Returns the names in the table of devices."""
    return [str(text) for text in look.page.locator("#devices tbody tr td:first-child a").all_inner_texts()]


def tab_to(look: Look, words: str, most: int = 80) -> None:
    """Presses Tab until the focused element has these words in its name or its text."""
    said = (
        "(e => e.matches('a, button, input, canvas') ?"
        " (e.getAttribute('aria-label') || '') + ' ' + (e.innerText || '') + ' ' + (e.placeholder || '') : '')"
        "(document.activeElement)"
    )
    for _ in range(most):
        look.page.keyboard.press("Tab")
        if words in look.page.evaluate(said):
            return
    raise AssertionError(f"{words!r} is not reached by Tab")


def test_a_token_in_the_address_is_removed_at_once_and_becomes_a_cookie_that_no_script_can_read(look: Look) -> None:
    look.enter(address="/audit")
    assert look.page.url == f"{look.served.url}/audit"
    cookie, *others = look.context.cookies(f"{look.served.url}/v1/me")
    assert not others
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/v1")
    assert look.page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"


def test_the_address_with_a_token_opens_the_page_in_a_tab_with_the_sign_in_form(look: Look) -> None:
    look.expected += ("401",)
    look.page.goto(f"{look.served.url}/fleet")
    look.page.wait_for_selector("text=Who are you?")
    look.enter()
    assert "#" not in look.page.url


def test_a_person_without_a_token_is_asked_for_one_and_signs_in_by_the_form(look: Look) -> None:
    look.expected += ("401",)
    look.page.goto(f"{look.served.url}/devices/{STAR}")
    look.page.get_by_label("Token").fill("edg_wrong")
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("text=this token is wrong, revoked or expired")
    assert look.page.evaluate("document.activeElement.id") == "token"
    _, token = look.served.token("ada", "viewer")
    look.page.keyboard.type(token)
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector(f"h1:has-text('{STAR}')")


def test_a_revoked_token_ends_its_page_within_seconds(look: Look) -> None:
    look.expected += ("401",)
    number, token = look.served.token("brief", "viewer")
    look.enter(token)
    look.served.on_loop(lambda: tokens.revoke_token(look.served.state, number, actor="test"))
    look.page.wait_for_selector("text=Who are you?")
    assert "Your session has ended" in look.page.inner_text("main")


def test_a_viewer_sees_every_button_disabled_with_the_reason_and_reaches_it_by_keyboard(look: Look) -> None:
    _, token = look.served.token("reader", "viewer")
    look.enter(token)
    assert "You are reading" in look.page.inner_text("aside")
    look.go(f"/devices/{STAR}")
    tab_to(look, "Revoke")
    button = look.page.locator(":focus")
    assert button.get_attribute("aria-disabled") == "true"
    reason = look.page.locator(f"#{button.get_attribute('aria-describedby')}").inner_text()
    assert reason == (
        "Your token has the role viewer. This needs the role operator or admin: ask an administrator for another token."
    )
    button.press("Enter")
    assert look.page.locator("dialog[open]").count() == 0


def test_the_vitals_of_a_device_are_drawn_and_listed_in_tables(look: Look) -> None:
    look.enter()
    look.go(f"/devices/{STAR}")
    for label in ("CPU of a core", "Memory", "Temperature"):
        look.page.wait_for_selector(f"figure[aria-label='{label}'] canvas")
    plot = look.page.locator("figure[aria-label='Temperature']")
    plot.locator("summary").click()
    newest = plot.locator("tbody tr").nth(1).inner_text()
    assert "°C [" in newest, "the mean with the lowest and the highest value"


def test_task_find_the_silent_devices_and_what_they_have_in_common(look: Look) -> None:
    look.enter()
    look.go("/fleet", "#devices tbody tr")
    tab_to(look, "silent")
    look.page.keyboard.press("Enter")
    world = look.served.state.world
    names = look.served.on_loop(
        lambda: [n for n, t in world.durable.twins.items() if (t.seen_at or 0) < time.time() - 90]
    )
    silent = sorted(names)
    until(lambda: rows(look) == silent)
    assert len(silent) == 6
    other = look.context.new_page()
    other.goto(look.page.url)
    shown = other.locator("#devices tbody tr td:first-child a")
    until(lambda: shown.all_inner_texts() == silent)
    tab_to(look, silent[0])
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector(f"h1:has-text('{silent[0]}')")
    assert "gateway=gw-3" in look.page.inner_text("p.meta")


def test_task_find_why_a_device_runs_its_version(look: Look) -> None:
    look.enter()
    look.search(STAR)
    look.page.wait_for_selector(f"#found-0:has-text('{STAR}')")
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("ol.story li.now")
    said = " ".join(look.page.inner_text("ol.story").split())
    for item in look.served.on_loop(lambda: devices.explain_items(look.served.state, STAR)):
        assert " ".join(item.text.split()) in said
    tab_to(look, ROLLOUT)
    look.page.keyboard.press("Enter")
    look.page.wait_for_url(f"**/rollouts/{ROLLOUT}")


def test_task_read_what_changed_yesterday_and_by_whom(look: Look) -> None:
    look.enter()
    look.page.keyboard.press("g")
    look.page.keyboard.press("u")
    look.page.wait_for_selector("text=Unbroken")
    tab_to(look, "yesterday")
    look.page.keyboard.press("Enter")
    day = (datetime.now(UTC) - timedelta(days=1)).strftime("%m-%d")
    entries = look.page.locator("#entries tbody tr")
    until(lambda: all(day in text for text in entries.all_inner_texts()))
    known = look.served.on_loop(lambda: look.served.state.journal.audit_entries())
    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    assert entries.count() == sum(entry["at"].startswith(yesterday) for entry in known)


def test_task_revoke_a_device_after_its_name_was_typed_and_find_the_actor_in_the_audit(look: Look) -> None:
    look.enter()
    look.go("/devices/ivel-003")
    tab_to(look, "Revoke")
    look.page.keyboard.press("Enter")
    assert look.page.locator("dialog[open] :focus").inner_text() == "Leave it as it is"
    look.page.keyboard.press("Shift+Tab")
    look.page.keyboard.type("ivel-003")
    look.page.keyboard.press("Tab")
    look.page.keyboard.press("Tab")
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("text=0 certificates revoked")
    newest = look.served.on_loop(lambda: look.served.state.journal.audit_entries(1))[0]
    assert (newest["actor"], newest["action"], newest["subject"]) == ("local:mara", "device revoke", "ivel-003")


def test_task_silence_an_alert_with_a_reason_and_find_the_person_who_did_it(look: Look) -> None:
    look.enter()
    look.page.keyboard.press("g")
    look.page.keyboard.press("a")
    look.page.wait_for_selector("text=A device cannot write to its disk")
    tab_to(look, "Silence")
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("dialog[open]")

    look.page.get_by_label("Why, for those who come after you").fill("the card is being replaced")
    tab_to(look, "Silence for 2 h")
    look.page.keyboard.press("Enter")
    look.page.wait_for_selector("text=Silenced for 2 h")
    newest = look.served.on_loop(lambda: look.served.state.journal.audit_entries(1))[0]
    assert newest["actor"] == "local:mara"
    assert "the card is being replaced" in newest["detail"]


def test_arrow_keys_move_between_devices_and_enter_opens_the_announced_one(look: Look) -> None:
    look.enter()
    look.go("/fleet", "canvas.heat")
    tab_to(look, "Every device as a cell")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown"):
        look.page.keyboard.press(key)
    said = look.page.inner_text("#heat-says")
    look.page.keyboard.press("Enter")
    name = said.partition(":")[0]
    look.page.wait_for_selector(f"h1:has-text('{name}')")
    assert name.startswith("aldern-")


def test_numbers_are_updated_without_a_reload_and_rows_wait_for_the_reader(look: Look) -> None:
    look.enter()
    look.go("/fleet", "#devices tbody tr")
    before = int(look.page.locator(".num:has-text('offline') dd").inner_text())
    world = look.served.state.world
    gone = Presence(protocol=1, device="holm-002", online=False)
    look.served.on_loop(lambda: reconcile(world, [("holm-002", gone)], time.time()))
    look.page.wait_for_selector("text=1 changed, show")
    assert int(look.page.locator(".num:has-text('offline') dd").inner_text()) == before + 1


def test_filters_are_in_the_address_and_the_back_button_returns_to_the_last_page(look: Look) -> None:
    look.served.on_loop(lambda: selectors.save(look.served.state, "holm", {"site": "holm"}, actor="mara"))
    look.enter()
    look.page.get_by_label("selector", exact=True).select_option("holm")
    until(lambda: all(name.startswith("holm-") for name in rows(look)))
    assert look.page.url.endswith("/fleet?selector=holm")
    look.go("/fleet?health=failing", "#devices tbody tr")
    assert rows(look) == [STAR]
    look.page.locator(f"#devices a:has-text('{STAR}')").click()
    look.page.wait_for_url("**/devices/*")
    look.page.go_back()
    look.page.wait_for_selector("#devices tbody tr")
    assert look.page.url.endswith("/fleet?health=failing")
    until(lambda: rows(look) == [STAR])


def test_devices_with_a_quarantined_version_are_found_and_the_page_names_it(look: Look) -> None:
    look.enter()
    look.go("/fleet", "#devices tbody tr")
    look.page.get_by_role("button", name="quarantined").click()
    until(lambda: rows(look) == [STAR])
    assert look.page.url.endswith("/fleet?quarantined=true")
    look.go(f"/devices/{STAR}")
    look.page.get_by_role("button", name="Lift quarantine").click()
    look.page.wait_for_selector("ul.will >> text=May be offered again: pump-vibration v13.")


def test_a_name_that_contains_markup_is_shown_as_text(look: Look) -> None:
    look.enter()
    look.go("/fleet?q=onerror", "#devices tbody tr")
    assert rows(look) == [HOSTILE]
    assert look.page.locator("main img").count() == 0
    look.page.locator("#devices tbody a").first.click()
    look.page.wait_for_selector("h1:has-text('onerror')")
    assert look.page.locator("main img").count() == 0


def test_an_unreachable_controller_is_reported_and_the_last_data_stay_until_it_returns(look: Look) -> None:
    look.expected += ("ERR_", "Failed to load")
    look.enter()
    look.go("/fleet", "#devices tbody tr")
    look.served.stop()
    look.page.wait_for_selector("text=The controller has not answered since")
    assert len(rows(look)) == 25
    look.served.start()
    look.page.get_by_text("Ask now").click()
    look.page.wait_for_selector(".live.live")
    assert look.page.locator(".notice[role=alert]").count() == 0


def test_an_answer_that_arrives_before_the_first_drawing_is_still_shown(look: Look) -> None:
    look.page.add_init_script(
        "const soon = setTimeout; requestAnimationFrame = (draw) => soon(draw, 700);"
        "setTimeout = (deed, wait_ms = 0) => soon(deed, Math.max(700, wait_ms));"
    )
    look.enter()
    look.go("/fleet", "#devices tbody tr")


def test_seven_tabs_get_answers_although_a_browser_allows_six_connections(look: Look) -> None:
    look.enter()
    tabs = [look.context.new_page() for _ in range(6)]
    for tab in tabs:
        tab.add_init_script("Object.defineProperty(document, 'hidden', {get: () => self.unseen === true})")
        tab.clock.install()
        tab.goto(f"{look.served.url}/audit")
        tab.wait_for_selector(".live.live")
        tab.evaluate("self.unseen = true; document.dispatchEvent(new Event('visibilitychange'))")
        tab.clock.fast_forward(11_000)
    look.go("/fleet", "#devices tbody tr")
    with tabs[0].expect_request("**/v1/live"):
        tabs[0].evaluate("self.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")


def test_a_first_run_says_what_to_do_and_updates_itself(browser: Any, tmp_path: Path) -> None:
    empty = Served(tmp_path, lambda state: None)
    look = Look(browser, empty)
    try:
        look.enter()
        look.page.wait_for_selector("text=No device has reported yet")
        assert "edgeward model push" in look.page.inner_text("main")
        first = heartbeat("aldern-001", 1, ())
        empty.on_loop(lambda: reconcile(empty.state.world, [("aldern-001", first)], time.time()))
        look.page.wait_for_selector("#devices tbody a:has-text('aldern-001')")
        look.close()
    finally:
        empty.close()


def test_a_failed_answer_shows_its_code_and_what_to_do(look: Look) -> None:
    look.expected += ("500",)
    body = '{"code": "store_corrupt", "detail": "table quarantine.json cannot be read"}'
    look.page.route("**/v1/fleet", lambda route: route.fulfill(status=500, body=body, content_type="application/json"))
    look.enter()
    look.page.wait_for_selector("text=The controller could not answer this")
    words = look.page.inner_text("main")
    assert "store_corrupt" in words
    assert "restore it from a backup" in words


def test_an_unknown_device_is_reported_in_words(look: Look) -> None:
    look.expected += ("404",)
    look.enter()
    look.go("/devices/nobody")
    assert "There is no device nobody" in look.page.inner_text("main")


def test_a_plot_is_read_by_arrow_keys_and_has_a_table_of_the_same_numbers(look: Look) -> None:
    look.enter()
    look.go(f"/devices/{STAR}", ".plot canvas")
    look.page.locator(".plot .canvas").first.focus()
    rates = look.page.locator(".plot .keys").nth(1)
    newest = rates.inner_text()
    for _ in range(3):
        look.page.keyboard.press("ArrowLeft")
    until(lambda: rates.inner_text() != newest)
    look.page.locator(".plot summary").first.click()
    until(lambda: look.page.locator(".plot table tbody tr").count() > 20)


def test_a_device_shows_its_note_and_its_log_on_request(look: Look) -> None:
    state, lines = look.served.state, {"device": STAR, "lines": ["probe: ready"], "left_out": 0}
    look.served.on_loop(lambda: device_labels.write_note(state, STAR, "its fan is loud", actor="mara"))
    look.expected = ("503",)
    look.enter(address=f"/devices/{STAR}")
    look.page.get_by_text("its fan is loud").wait_for()
    look.page.get_by_role("button", name="Newest log lines").click()
    look.page.get_by_role("alert").filter(has_text="broker_unreachable").wait_for()
    look.page.route("**/logs", lambda route: route.fulfill(json=lines))
    look.page.get_by_role("button", name="Newest log lines").click()
    look.page.get_by_role("region", name="What it answered").get_by_text("probe: ready").wait_for()


def test_nothing_is_wider_than_the_screen_on_any_screen(look: Look) -> None:
    look.enter()
    for address in ("/fleet", f"/devices/{STAR}", "/audit"):
        look.go(address, "main table tbody tr")
        for width in (320, PHONE["width"], 768, 1280, 1920):
            look.page.set_viewport_size({"width": width, "height": 844})
            until(lambda: not wider_than_the_screen(look))  # canvases follow their box some frames later
            assert look.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_reader_who_prefers_reduced_motion_gets_none(look: Look) -> None:
    look.enter()
    look.go("/fleet", "#devices tbody tr")
    assert look.page.evaluate("document.getAnimations().length") == 0
