"""The fleet's page in a real browser, served by the controller's real API."""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

from contract.messages import Hardware, Heartbeat, ModelState, Progress, VersionRef
from controller.api.app import make_app
from controller.config import Config, StorageConfig
from controller.reconcile import reconcile
from controller.service import Service

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here: apt-get install chromium (CI does)"),
]
TOKEN = "edg_test"
HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
QUIET = "--no-first-run --disable-background-networking --disable-component-update --disable-sync --disable-quic"
SHOWN_MS = 4000
"""Of the browser's own time: the page has asked once by then."""


def seen(directory: Path, fragment: str, name: str = "pi-1") -> str:
    """What the page holds in a browser while a device of this name is in the middle of a fetch."""
    service = Service(Config(storage=StorageConfig(data_dir=str(directory / "controller"))))
    old, new = VersionRef(release=1, digest="1" * 64), VersionRef(release=2, digest="2" * 64)
    half = Progress(done_bytes=250, total_bytes=1000)
    state = ModelState(
        model="m", phase="fetching", generation=2, stable=old, target=new, progress=half, serving=old.digest
    )
    heartbeat = Heartbeat(protocol=1, device=name, boot=1, seq=1, uptime_s=1, hardware=HARDWARE, models=(state,))
    reconcile(service.world, [(name, heartbeat)], time.time())

    async def serve() -> str:
        async with TestServer(make_app(service, TOKEN)) as server:
            return await asyncio.to_thread(_dom, f"{server.make_url('/')}{fragment}", directory / "browser")

    try:
        return asyncio.run(serve())
    finally:
        service.close()


def _dom(url: str, profile: Path) -> str:
    flags = f"--headless --no-sandbox --disable-gpu {QUIET} --virtual-time-budget={SHOWN_MS} --user-data-dir={profile}"
    ended = subprocess.run(
        ["chromium", *flags.split(), "--dump-dom", url], capture_output=True, text=True, timeout=90, check=True
    )
    return ended.stdout


def test_a_reader_with_a_token_sees_how_far_a_transfer_is(tmp_path: Path) -> None:
    page = seen(tmp_path, f"#token={TOKEN}")
    assert "as of" in page
    assert "250 B of 1.0 kB" in page
    assert "m v2" in page


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
