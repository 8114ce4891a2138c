"""The fleet's page in a real browser, served by the controller's real API."""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer
from msgspec.structs import replace

from contract.messages import SensorState
from controller.api.app import make_app
from controller.config import Config, StorageConfig
from controller.reconcile.decisions import reconcile
from controller.state import open_state
from tests.controller.test_fleet_page import fetching

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here: apt-get install chromium (CI does)"),
]
TOKEN = "edg_test"
QUIET = "--no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-quic"
SHOWN_MS = 4000
"""Of the browser's own time: the page has asked once by then."""


def seen(directory: Path, fragment: str, name: str = "pi-1") -> str:
    """What the page holds in a browser while a device of this name is in the middle of a fetch, without its port."""
    state = open_state(Config(storage=StorageConfig(data_dir=str(directory / "controller"))))
    lost = SensorState(name="serial-1", kind="serial", model="m", state="waiting", error="no such port")
    reconcile(state.world, [(name, replace(fetching(name, 250), sensors=(lost,)))], time.time())

    async def serve() -> str:
        async with TestServer(make_app(state, TOKEN)) as server:
            return await asyncio.to_thread(_dom, f"{server.make_url('/')}{fragment}", directory / "browser")

    try:
        return asyncio.run(serve())
    finally:
        state.close()


def _dom(url: str, profile: Path) -> str:
    flags = f"--headless --no-sandbox --disable-gpu {QUIET} --virtual-time-budget={SHOWN_MS}"
    command = ["chromium", *flags.split(), f"--user-data-dir={profile}", "--dump-dom", url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return ended.stdout


def test_a_reader_with_a_token_sees_how_far_a_transfer_is(tmp_path: Path) -> None:
    page = seen(tmp_path, f"#token={TOKEN}")
    assert "as of" in page
    assert "250 B of 1.0 kB" in page
    assert "m v2" in page
    assert "1 waiting" in page
    assert "sensor serial-1" in page
    assert "no such port" in page


def test_a_name_that_is_markup_stays_text(tmp_path: Path) -> None:
    page = seen(tmp_path, f"#token={TOKEN}", name="<img src=x onerror=alert(1)>")
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img" not in page


def test_who_has_no_token_is_asked_for_one_and_shown_nothing(tmp_path: Path) -> None:
    page = seen(tmp_path, "")
    assert "who are you?" in page
    assert "250 B" not in page


def test_a_wrong_token_is_forgotten_and_the_reason_is_shown(tmp_path: Path) -> None:
    page = seen(tmp_path, "#token=edg_wrong")
    assert "unauthenticated" in page
    assert "250 B" not in page
