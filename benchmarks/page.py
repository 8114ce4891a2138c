"""The page with a large fleet: bytes and time to first paint, answers to filters, and the load of readers of the
stream.

A child process serves the real API over real sockets, with a heartbeat of every device each 30 s folded in meanwhile.
EDGEWARD_PAGE_DEVICES is the number of devices; the default is 100,000. Results: benchmarks/results/page.md.
"""

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from benchmarks.devices_api import fill, heartbeat
from benchmarks.first_screen import first_screens
from benchmarks.table import Row
from controller.api.app import make_app
from controller.api.door import opened
from controller.cli import collect_rarely
from controller.config import ApiConfig, Config, StorageConfig
from controller.reconcile.fold import fold
from controller.state import State, open_state

DEVICES = int(os.environ.get("EDGEWARD_PAGE_DEVICES", "100000"))
TOKEN = "edg_of_the_benchmark"
LISTED = 10_000
"""Devices behind the command line."""
BEAT_S = 30.0
READERS = 200
WATCH_S = 20.0
QUESTIONS = (
    "/v1/devices?limit=25&sort=health", "/v1/devices?limit=25&sort=health&health=failing",
    "/v1/devices?limit=25&sort=health&presence=silent", "/v1/devices?limit=25&sort=health&q=00123",
    "/v1/devices?limit=25&sort=health&label=site%3Ds7", "/v1/devices?limit=25&sort=seen&model=weather&version=1",
)  # fmt: skip
"""The requests of the page when a person filters."""
WHOLE = ("/v1/fleet", "/v1/fleet/cells", "/v1/changes?hours=24")
"""The requests that the page makes once, besides the table."""
ROUNDS = 20
LOADS = 5


def measure() -> list[Row]:
    """Measures everything with one fleet."""
    with _served(LISTED) as (_, url):
        screens = first_screens(url, TOKEN, LISTED)
    with _served(DEVICES) as (process, url):
        answers = asyncio.run(_answers(url))
        readers = asyncio.run(_readers(process, url))
        return [*_looks(url), *screens, *answers, *readers]


@contextmanager
def _served(devices: int) -> Iterator[tuple[psutil.Process, str]]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as directory:
        child = context.Process(target=_serve, args=(theirs, directory, devices), daemon=True)
        child.start()
        assert ours.poll(600), "the child did not begin to serve"
        url = ours.recv()
        yield psutil.Process(child.pid), url
        child.kill()
        child.join()


def _serve(pipe: Connection, directory: str, devices: int) -> None:
    api = ApiConfig(port=0, max_connections=1024, max_connections_per_address=1024)
    state = open_state(Config(storage=StorageConfig(data_dir=str(Path(directory) / "data")), api=api))
    fill(state, devices, time.time())
    collect_rarely()  # as the controller does: else a search through 100,000 devices falls into one answer or another
    asyncio.run(_serve_on(pipe, state, devices))


async def _serve_on(pipe: Connection, state: State, devices: int) -> None:
    async with opened(make_app(state, TOKEN), state.config.api) as (host, port):
        pipe.send(f"http://{host}:{port}")
        seq, number, each = 10, 0, max(1, int(devices / BEAT_S / 20))
        while True:  # every device except the silent tenth, evenly
            await asyncio.sleep(0.05)
            for _ in range(each):
                number = (number + 1) % devices
                seq += number == 0
                if number % 10:
                    fold(state.world, f"pump-{number:06}", heartbeat(number, seq), time.time())


async def _answers(url: str) -> list[Row]:
    """Measures times of answers at a client, one after another."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(url, headers=headers, auto_decompress=False) as session:
        filters = [await _ask(session, question) for _ in range(ROUNDS) for question in QUESTIONS]
        whole = {question: [await _ask(session, question) for _ in range(4)] for question in WHOLE}
        await asyncio.sleep(0.1)
    times = [ms for ms, _ in filters]
    p95 = statistics.quantiles(times, n=20)[-1]
    rows = [Row(f"a filter, {DEVICES:,} devices, p95", p95, 200.0, "ms", "the goal", 1.0)]
    rows.append(Row("one page of devices", max(size for _, size in filters) / 1e3, 50.0, "kB", "not packed"))
    for question, found in whole.items():
        rows.append(Row(f"{question}, slowest of 4", max(ms for ms, _ in found), 1000.0, "ms", "a second"))
    cells = max(size for _, size in whole["/v1/fleet/cells"])
    return [*rows, Row("cells of all devices, gzip", cells / 1e3, 60.0, "kB", "the goal", 1.0)]


async def _ask(session: aiohttp.ClientSession, question: str) -> tuple[float, int]:
    began = time.perf_counter()
    async with session.get(question, headers={"Accept-Encoding": "gzip"}) as answer:
        body = await answer.read()
        assert answer.status == 200, (question, body[:200])
    return (time.perf_counter() - began) * 1e3, len(body)


async def _readers(process: psutil.Process, url: str) -> list[Row]:
    """Measures the additional CPU of the child while so many pages are open."""
    alone = await _cpu_ratio(process)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    heard = 0

    async def read(session: aiohttp.ClientSession) -> None:
        nonlocal heard
        async with session.get("/v1/live") as stream:
            async for line in stream.content:
                heard += line.startswith(b"event")

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, headers=headers, connector=connector, timeout=timeout) as session:
        reading = [asyncio.create_task(read(session)) for _ in range(READERS)]
        await asyncio.sleep(3.0)
        heard = 0
        together = await _cpu_ratio(process)
        told = heard / READERS / WATCH_S
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return [
        Row(f"{READERS} readers of the stream", 100 * (together - alone), 10.0, "% of a core", "the goal", 1.0),
        Row("messages to each reader", told, 1.0, "/s", "at most one", 1.0),
    ]


async def _cpu_ratio(process: psutil.Process) -> float:
    before, began = process.cpu_times(), time.perf_counter()
    await asyncio.sleep(WATCH_S)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.perf_counter() - began)


def _looks(url: str) -> list[Row]:
    """Measures what a browser loads and how soon it paints, each time with an empty cache."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium here: bytes and paint are not measured (apt-get install chromium)")
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        found = [_look(browser, url) for _ in range(LOADS)]
        browser.close()
    paints, rows, sizes, others, nodes = (list(column) for column in zip(*found, strict=True))
    return [
        Row("first page, all files, gzip", max(sizes) / 1e3, 120.0, "kB", "the goal", 1.0),
        Row("requests to others", float(sum(others)), 0.0, "", "none", 0.0),
        Row(f"first paint, {DEVICES:,} devices, slowest of {LOADS}", max(paints) / 1e3, 1.0, "s", "the goal", 1.0),
        Row("rows of the table are there", max(rows) / 1e3, 1.0, "s", "a second"),
        Row("elements of the page", float(max(nodes)), 2500.0, "", "the goal", 1.0),
    ]


def _look(browser: Any, url: str) -> tuple[float, float, int, int, int]:
    """(first paint in ms, table in ms, bytes, requests to others, elements)."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    sizes: dict[str, int] = {}
    others = 0

    def note(answer: Any) -> None:
        nonlocal others
        others += not answer.url.startswith(url)
        if "/static/" in answer.url or answer.url.startswith(f"{url}/fleet"):
            sizes[answer.url] = int(answer.headers.get("content-length", 0))

    page.on("response", note)
    page.goto(f"{url}/fleet#token={TOKEN}")
    page.wait_for_selector("#devices tbody tr td a")
    table_ms = page.evaluate("performance.now()")
    paint_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    nodes = page.evaluate("document.querySelectorAll('*').length")
    context.close()
    return paint_ms, table_ms, sum(sizes.values()), others, nodes
