"""The page for everybody: axe-core finds nothing in any state, in both themes. Pictures for the docs are drawn here."""

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from controller.state import State
from tests.controller.page_worlds import STAR, fill
from tests.integration.page_browser import NEEDS_CHROMIUM, PHONE, Look, Served

pytestmark = NEEDS_CHROMIUM
AXE = (Path(__file__).parents[1] / "data" / "axe" / "axe.min.js").read_text(encoding="utf-8")
COLOUR = ["color-contrast", "link-in-text-block"]
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (only) => {
    const found = await axe.run(document, {runOnly: only, resultTypes: ["violations"]});
    const words = node => node.html.slice(0, 120) + " " + node.failureSummary;
    return found.violations.map(each => each.id + ": " + each.nodes.map(words).join(" | "));
}"""
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
MAX_PICTURE_BYTES = 150_000
DRAWS = os.environ.get("EDGEWARD_PICTURES") == "1"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    def made_fleet(state: State) -> None:
        fill(state, time.time(), 300 if DRAWS else 60)
        state.broker = cast("Any", SimpleNamespace(kind="mosquitto", shown="mqtt://127.0.0.1", fault="", files=None))
        state.links = (cast("Any", SimpleNamespace(connected=True)),)

    made = Served(tmp_path_factory.mktemp("controller"), made_fleet)
    yield made
    made.close()


@pytest.fixture
def look(browser: Any, served: Served) -> Iterator[Look]:
    made = Look(browser, served)
    made.expected = ("/v1/", "Failed to load")
    yield made
    made.close()


def check(look: Look) -> None:
    """Fails for a violation: of any rule in the light theme, and of the rules on colour in the dark theme."""
    look.page.emulate_media(color_scheme="light")
    if not look.page.evaluate("typeof axe === 'object'"):
        look.page.evaluate(AXE)
    assert look.page.evaluate(RUN, {"type": "tag", "values": TAGS}) == []
    look.page.emulate_media(color_scheme="dark")
    assert look.page.evaluate(RUN, {"type": "rule", "values": COLOUR}) == []


@pytest.mark.parametrize(
    ("address", "there"),
    [
        ("/fleet", "#devices tbody tr"),
        pytest.param("/fleet?q=nobody", "text=No device fits", marks=pytest.mark.soak),
        (f"/devices/{STAR}", ".plot canvas"),
        pytest.param("/devices/nobody", "text=There is no device", marks=pytest.mark.soak),
        ("/audit", "#entries tbody tr"),
        ("/alerts", "li.alert"),
        pytest.param("/rollouts", "main h1", marks=pytest.mark.soak),
        pytest.param("/models", "main h1", marks=pytest.mark.soak),
    ],
)
def test_axe_finds_nothing_on_a_page_in_both_themes(look: Look, address: str, there: str) -> None:
    look.enter()
    look.go(address, there)
    check(look)


def opens_search(look: Look) -> None:
    look.search("aldern")
    look.page.wait_for_selector("#found li")


def opens_keys(look: Look) -> None:
    look.page.keyboard.press("?")
    look.page.wait_for_selector("dialog[open] kbd")


def opens_menu(look: Look) -> None:
    look.page.locator("button.who").click()
    look.page.wait_for_selector("#who:popover-open")


def opens_a_dialog(look: Look) -> None:
    look.go(f"/devices/{STAR}")
    look.page.get_by_role("button", name="Revoke").click()
    look.page.wait_for_selector("dialog[open] input")


def opens_the_tables(look: Look) -> None:
    look.page.evaluate("document.querySelectorAll('details.twin').forEach(e => { e.open = true; })")
    look.page.wait_for_selector("details table")


def loses_the_controller(look: Look) -> None:
    look.page.route("**/v1/**", lambda route: route.abort())
    look.page.evaluate("fetch('/v1/health').catch(() => {})")
    look.page.get_by_label("Name, label or code").fill("x")
    look.page.wait_for_selector(".notice[role=alert]")


@pytest.mark.parametrize(
    "state", [opens_search, opens_keys, opens_menu, opens_a_dialog, opens_the_tables, loses_the_controller]
)
def test_axe_finds_nothing_in_a_state_of_a_page(look: Look, state: Callable[[Look], None]) -> None:
    look.enter()
    look.go("/fleet", "#devices tbody tr")
    state(look)
    check(look)


def test_axe_finds_nothing_for_a_viewer_on_the_sign_in_page_and_on_a_phone(look: Look) -> None:
    look.page.goto(look.served.url)
    look.page.wait_for_selector("#token")
    check(look)
    look.page.set_viewport_size(PHONE)
    _, token = look.served.token("reader", "viewer")
    look.enter(token)
    look.go("/fleet", "#devices tbody tr")
    check(look)


def test_axe_finds_nothing_while_the_page_is_loading_and_when_an_answer_fails(look: Look) -> None:
    held: list[Any] = []
    look.page.route("**/v1/fleet", lambda route: held.append(route))
    look.enter()
    look.page.wait_for_selector("[aria-busy=true]", state="attached")
    check(look)
    held[0].fulfill(status=500, body='{"code": "internal", "detail": "x"}', content_type="application/json")
    look.page.wait_for_selector("text=The controller could not answer this")
    check(look)


@pytest.mark.skipif(not DRAWS, reason="EDGEWARD_PICTURES=1 draws the pictures of docs/pictures anew")
@pytest.mark.parametrize(
    ("picture", "address", "there"),
    [
        (("fleet-light", 1280, 860), "/fleet", "#devices tbody tr"),
        (("fleet-dark", 1280, 860), "/fleet", "#devices tbody tr"),
        (("fleet-phone", 390, 844), "/fleet", "#devices tbody tr"),
        (("device-light", 1280, 800), f"/devices/{STAR}", ".plot canvas"),
        (("alerts-light", 1280, 760), "/alerts", "li.alert"),
        (("audit-light", 1280, 620), "/audit", "#entries tbody tr"),
    ],
)
def test_pictures_for_the_docs_are_drawn(look: Look, picture: tuple[str, int, int], address: str, there: str) -> None:
    name, width, height = picture
    look.page.set_viewport_size({"width": width, "height": height})
    look.page.emulate_media(color_scheme="dark" if name.endswith("dark") else "light")
    look.enter()
    look.go(address, there)
    draw(look, name)


def draw(look: Look, name: str) -> None:
    """Saves the shown page as a picture for the docs; AssertionError if it is too large."""
    look.page.wait_for_timeout(500)
    PICTURES.mkdir(exist_ok=True)
    path = PICTURES / f"page-{name}.png"
    shot = Image.open(io.BytesIO(look.page.screenshot())).convert("RGB")
    shot.quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)  # a third of the bytes, the same to the eye
    assert path.stat().st_size <= MAX_PICTURE_BYTES
