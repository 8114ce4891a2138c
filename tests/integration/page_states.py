"""Every state in which a page of the controller can be: made by routed answers, by other readers, and by what is open.

Decides which states there are. Refuses to judge them: tests look at each.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.integration.page_browser import Look

DIALOG_S = 2.0
"""Seconds that a dialog may take to open on a busy machine. A button that opens no dialog takes the same time."""
MOST_DIALOGS = 12
"""The most buttons of a page that are pressed to find a dialog: more than any page has."""


def answers_again(look: Look) -> None:
    """Removes every changed answer."""
    look.page.unroute_all(behavior="ignoreErrors")


def loading(look: Look, address: str) -> None:
    """No answer has arrived yet."""
    look.page.route("**/v1/**", lambda route: None if _is_asked(route) else route.continue_())
    look.page.goto(f"{look.served.url}{address}")
    look.page.wait_for_selector("[aria-busy=true]", state="attached")


def failing(look: Look, address: str) -> None:
    """The controller answers with its own fault."""
    _refused(look, address, 500, "store_corrupt", "table quarantine.json cannot be read")


def forbidden(look: Look, address: str) -> None:
    """The reader has no permission to see it."""
    _refused(look, address, 403, "forbidden", "needs the role operator")


def missing(look: Look, address: str) -> None:
    """There is nothing of this name."""
    _refused(look, address, 404, "unknown_device", "nobody has this name")


def parts_missing(look: Look, address: str) -> None:
    """The page itself is loaded, and all its other requests fail."""
    body = json.dumps({"code": "internal", "detail": "a fault of the controller; its log has the trace"})
    first = address.partition("?")[0]

    def answer(route: Any) -> None:
        path = route.request.url.removeprefix(look.served.url).partition("?")[0]
        if _is_asked(route) and path not in (f"/v1{first}", f"/v1{first.removesuffix('s')}"):
            route.fulfill(status=500, body=body, content_type="application/json")
        else:
            route.continue_()

    look.page.route("**/v1/**", answer)
    look.page.goto(f"{look.served.url}{address}")
    look.page.wait_for_selector("main h1, main [role=alert]")
    settle(look)


def unreachable(look: Look, address: str) -> None:
    """The page was loaded, and then the controller stopped."""
    look.go(address, "main h1")
    settle(look)
    look.page.route("**/v1/**", lambda route: route.abort())
    look.page.evaluate(
        "import('/static/store.js').catch(() => null).then(s => s && s.api('/v1/health').catch(() => 0))"
    )
    look.page.wait_for_selector(".notice[role=alert]")


def answered(look: Look, address: str, change: Callable[[Any], Any], path: str) -> None:
    """The page with one changed answer."""

    def answer(route: Any) -> None:
        found = route.fetch()
        route.fulfill(status=200, body=json.dumps(change(found.json())), content_type="application/json")

    look.page.route(lambda url: url.removeprefix(look.served.url).partition("?")[0] == path, answer)
    look.go(address, "main h1")
    settle(look)


def dialogs(look: Look) -> Iterator[str]:
    """Opens one dialog of the page after another and yields its title; each is closed before the next."""
    buttons = look.page.locator("main .acts button:not([aria-disabled])")
    for place in range(min(buttons.count(), MOST_DIALOGS)):
        button = buttons.nth(place)
        button.click()
        opened = look.page.locator("dialog[open]")
        if appears(opened):
            settle(look)
            yield str(opened.get_attribute("aria-label"))
            look.page.keyboard.press("Escape")
            opened.wait_for(state="detached")


def appears(wanted: Any) -> bool:
    """Returns whether an element appears within the time limit."""
    end = time.monotonic() + DIALOG_S
    while not wanted.count() and time.monotonic() < end:
        time.sleep(0.05)
    return bool(wanted.count())


def settle(look: Look) -> None:
    """Waits until no request is open and nothing is loading."""
    look.page.wait_for_selector("[aria-busy=true]", state="detached")
    look.page.wait_for_timeout(150)


def _refused(look: Look, address: str, status: int, code: str, detail: str) -> None:
    body = json.dumps({"code": code, "detail": detail})
    said = {"status": status, "body": body, "content_type": "application/json"}
    look.page.route("**/v1/**", lambda route: route.fulfill(**said) if _is_asked(route) else route.continue_())
    look.page.goto(f"{look.served.url}{address}")
    look.page.wait_for_selector("main h1")
    settle(look)


def _is_asked(route: Any) -> bool:
    """Returns whether a request is of a page and not of the frame around it."""
    path = route.request.url.partition("/v1/")[2].partition("?")[0]
    frame = ("me", "session", "live", "session/ways")
    return path not in frame and not (path == "alerts" and "state=firing" in route.request.url)
