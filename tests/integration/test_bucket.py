"""Blobs in an S3-compatible bucket: a real client, moto's server in its own process, a real source of a device."""

import asyncio
import queue
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from aiohttp.test_utils import TestClient, TestServer

from agent.adapters.sources import Source
from agent.stimuli import MessageArrived, Stimulus
from contract.blobs import describe
from contract.errors import BadInput
from controller.api.app import make_app
from controller.config import Config, PublishConfig, StorageConfig
from controller.registry import bucket as bucket_room
from controller.registry.bucket import LOOK_AGAIN_S, RETRY_S, Bucket
from controller.state import State, open_state
from edgeward.demo.processes import Process, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
with_a_store = pytest.mark.soak
"""Its server is installed for these tests alone, which takes 20 seconds and a network."""
CHUNK = 4096
DATA = bytes(range(256)) * 100
BLOB = describe(DATA, CHUNK)
SERVER = ("moto==5.2.5", "flask==3.1.3", "flask-cors==6.0.5")
"""It has its own environment: boto3 would be imported by python-tuf's signers, 11 MB in each agent."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yields the address of an empty S3 store."""
    environment = tmp_path_factory.mktemp("moto")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-compile", *SERVER], check=True)  # it runs once
    command = [str(environment / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", "0"]
    log = environment / "log"
    process = Process("moto", command, log)
    process.start()
    found = wait_for("the store", lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()), process)
    yield found[0]
    process.kill()


@pytest.fixture
def endpoint(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in (("ACCESS_KEY_ID", "me"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    ask(f"{server}/moto-api/reset", "POST")
    ask(f"{server}/models", "PUT")
    return server


def ask(address: str, method: str = "GET", data: bytes | None = None) -> bytes:
    headers = {"Content-Type": "application/octet-stream"}
    with urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method), timeout=10) as answer:
        return bytes(answer.read())


def state_of(directory: Path, endpoint: str) -> State:
    publish = PublishConfig(bucket="s3://models/edge", bucket_endpoint=endpoint)
    made = open_state(Config(storage=StorageConfig(data_dir=str(directory)), publish=publish))
    made.blobs.put(DATA)
    return made


async def brought(bucket: Bucket) -> None:
    await asyncio.gather(*bucket._background.tasks)


@with_a_store
def test_the_first_request_is_served_by_the_controller_and_later_ones_are_redirected_to_the_bucket(
    tmp_path: Path, endpoint: str
) -> None:
    state = state_of(tmp_path, endpoint)

    async def script() -> tuple[int, int, str]:
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            first = await client.get(f"/v1/blobs/{BLOB.sha256}", allow_redirects=False)
            assert await first.read() == DATA
            assert state.bucket is not None
            await brought(state.bucket)
            second = await client.get(f"/v1/blobs/{BLOB.sha256}", allow_redirects=False)
            return first.status, second.status, second.headers["Location"]

    try:
        first, second, address = asyncio.run(script())
    finally:
        state.close()
    assert (first, second) == (200, 307)
    assert address.startswith(f"{endpoint}/models/edge/{BLOB.sha256}?")
    assert "X-Amz-Signature=" in address
    assert "X-Amz-Expires=3600" in address
    assert ask(address) == DATA


@with_a_store
def test_a_device_follows_the_redirect_for_every_part_and_asks_the_api_once(tmp_path: Path, endpoint: str) -> None:
    state = state_of(tmp_path, endpoint)
    ask(f"{endpoint}/models/edge/{BLOB.sha256}", "PUT", DATA)
    inbox: queue.Queue[Stimulus] = queue.Queue()
    asked: list[str] = []

    def fetch(url: str) -> list[Stimulus]:
        source = Source(f"{url}v1/blobs/{{sha256}}", inbox.put)
        found = []
        for part in ([0, 1], [2], [4, 5, 6]):
            source.ask(BLOB, part)
            found += [inbox.get(timeout=10) for _ in part]
        return found

    async def script() -> list[Stimulus]:
        app = make_app(state, "edg_test")
        app.on_response_prepare.append(_noting(asked))
        async with TestServer(app) as server:
            assert state.bucket is not None
            state.bucket.address(BLOB.sha256, state.blobs.path(BLOB.sha256))
            await brought(state.bucket)
            return await asyncio.to_thread(fetch, str(server.make_url("/")))

    try:
        found = asyncio.run(script())
    finally:
        state.close()
    payloads = [message.payload for message in found if isinstance(message, MessageArrived)]
    assert payloads == [DATA[i * CHUNK : (i + 1) * CHUNK] for i in (0, 1, 2, 4, 5, 6)]
    assert asked == ["307"]


def _noting(asked: list[str]) -> Any:
    async def note(_request: Any, response: Any) -> None:
        asked.append(str(response.status))

    return note


class Time:
    """A monotonic clock that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@with_a_store
def test_a_missing_bucket_causes_no_redirect_and_is_tried_again(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blob").write_bytes(DATA)
    time = Time()
    said: list[tuple[Any, ...]] = []
    monkeypatch.setattr(bucket_room._log, "warning", lambda *words: said.append(words))

    async def script() -> tuple[str | None, str | None, str | None]:
        bucket = Bucket("s3://absent", endpoint, time)
        bucket.address(BLOB.sha256, tmp_path / "blob")
        await brought(bucket)
        refused = bucket.address(BLOB.sha256, tmp_path / "blob")
        assert [words[1] for words in said] == ["s3://absent"]
        ask(f"{endpoint}/absent", "PUT")
        time.now += RETRY_S
        again = bucket.address(BLOB.sha256, tmp_path / "blob")
        await brought(bucket)
        return refused, again, bucket.address(BLOB.sha256, tmp_path / "blob")

    refused, again, there = asyncio.run(script())
    assert (refused, again) == (None, None)
    assert there is not None


@with_a_store
def test_a_deleted_object_is_uploaded_again_when_it_is_requested(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "blob").write_bytes(DATA)
    time = Time()

    async def script() -> str | None:
        bucket = Bucket("s3://models", endpoint, time)
        bucket.address(BLOB.sha256, tmp_path / "blob")
        await brought(bucket)
        address = bucket.address(BLOB.sha256, tmp_path / "blob")
        assert address is not None
        obstore.delete(bucket._store, BLOB.sha256)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(address)
        time.now += LOOK_AGAIN_S
        bucket.address(BLOB.sha256, tmp_path / "blob")
        await brought(bucket)
        return bucket.address(BLOB.sha256, tmp_path / "blob")

    address = asyncio.run(script())
    assert address is not None
    assert ask(address) == DATA


def test_without_the_client_library_the_configuration_error_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(BadInput, match=r"pip install 'edgeward\[controller,s3\]'"):
        Bucket("s3://models", "", Time())
