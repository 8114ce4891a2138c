"""A real controller's API with a fleet behind it, and one Chromium that opens the page, for tests of the page."""

import asyncio
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web

from controller.api.app import make_app
from controller.config import AlertsConfig, Config, StorageConfig
from controller.state import State, open_state
from controller.trust.access import Role
from controller.verbs import tokens
from tests.controller.page_worlds import ALERT_RULES

T = TypeVar("T")
LOCAL_TOKEN = "edg_local_token_of_the_tests"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium (CI does)"),
]
SLOW_MS = 15_000
"""The longest wait for something on the page: two busy processors take some seconds."""


class Served:
    """A controller's state behind its real API, in a thread with an event loop of its own."""

    def __init__(self, directory: Path, fill: Callable[[State], None], **configured: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        self.port = 0
        (directory / "alerts.toml").write_text(ALERT_RULES)
        storage = StorageConfig(data_dir=str(directory / "data"))
        config = Config(storage=storage, alerts=AlertsConfig(file=str(directory / "alerts.toml")), **configured)
        self.state = self.on_loop(lambda: open_state(config))
        self.on_loop(lambda: fill(self.state))
        self.start()

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server again at the same port."""
        self.wait(self._start())

    def stop(self) -> None:
        """Stops the server; the state is kept."""
        assert self._runner is not None
        self.wait(self._runner.cleanup())

    def token(self, name: str, *roles: Role) -> tuple[str, str]:
        """Returns (id, token) of a new person with these roles."""
        kept, token = self.on_loop(lambda: tokens.create_token(self.state, name, roles, days=1, actor="test"))
        return kept.id, token

    def on_loop(self, deed: Callable[[], T]) -> T:
        """Runs a function in the thread of the controller."""

        async def do() -> T:
            return deed()

        return self.wait(do())

    def wait(self, work: Awaitable[T]) -> T:
        """Runs a coroutine on the controller's event loop and returns its result."""
        return asyncio.run_coroutine_threadsafe(_of(work), self._loop).result(60)

    def close(self) -> None:
        """Stops the server, the controller and the thread."""
        self.stop()
        self.on_loop(self.state.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._runner = web.AppRunner(make_app(self.state, LOCAL_TOKEN), shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self.state.api_port = self._runner.addresses[0][1]


async def _of(work: Awaitable[T]) -> T:
    return await work


@contextmanager
def chromium() -> Iterator[Any]:
    """Starts one browser; closes it at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Look:
    """A browser window on the page. It records what must not happen: error messages, and requests to other hosts."""

    def __init__(self, browser: Any, served: Served, **context: Any) -> None:
        self.served = served
        self.context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce"} | context)
        self.context.set_default_timeout(SLOW_MS)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of error messages that a test expects."""
        self.page.on("console", lambda message: self._note(message.type, message.text, message.location["url"]))
        self.page.on("pageerror", lambda error: self._note("error", str(error), ""))
        self.page.on("request", lambda request: self._ask(request.url))

    def enter(self, token: str = LOCAL_TOKEN, address: str = "/fleet") -> None:
        """Opens an address with a token behind the #, as `edgeward page` does."""
        self.page.goto(f"{self.served.url}{address}#token={token}&actor=mara")
        self.page.wait_for_selector("nav.nav")

    def search(self, words: str) -> None:
        """Opens the search by its key and types. Keys that come before its input has the focus would be lost."""
        self.page.keyboard.press("/")
        self.page.wait_for_function("document.activeElement?.getAttribute('role') === 'combobox'")
        self.page.keyboard.type(words)

    def go(self, address: str, waits_for: str = "main h1") -> None:
        """Opens an address in the present session and waits until `waits_for` is shown and nothing is loading."""
        self.page.goto(f"{self.served.url}{address}")
        self.page.wait_for_selector(waits_for, state="attached")
        self.page.wait_for_selector("[aria-busy=true]", state="detached")

    def close(self) -> None:
        """Closes the window; AssertionError if something happened that must not happen."""
        self.context.close()
        assert not self.wrong, self.wrong

    def _note(self, kind: str, text: str, url: str) -> None:
        if kind in ("error", "warning") and not any(part in f"{text} {url}" for part in self.expected):
            self.wrong.append(f"{text} {url}")

    def _ask(self, url: str) -> None:
        if not url.startswith((self.served.url, "data:", "blob:")):
            self.wrong.append(f"a request to {url}")


def wider_than_the_screen(look: Look) -> list[str]:
    """The beginnings of elements that reach beyond the right edge of the window, and do not scroll by themselves."""
    found: list[str] = look.page.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1"
        " && !e.closest('.scroll, .peek, .hide, .skip')).map(e => e.outerHTML.slice(0, 90)).slice(0, 3)"
    )
    return found


def until(holds: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits until a condition is true; AssertionError if it never is."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "the condition was never true"
        time.sleep(0.05)
