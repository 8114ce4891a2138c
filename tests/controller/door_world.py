"""A controller on a real socket, and raw connections to it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from controller.api.app import make_app
from controller.api.door import opened
from controller.clock import stamp
from controller.config import ApiConfig, Config, StorageConfig
from controller.state import State, open_state
from controller.verbs import refusals

LOCAL = "edg_local"
MIB = 1024 * 1024
Script = Callable[[State, "Callers"], Awaitable[Any]]


class Callers:
    """Raw connections to one controller."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, raw: bytes, limit_s: float = 10.0) -> bytes:
        """Returns all bytes that arrive until the controller closes the connection."""
        reader, writer = await self.connect()
        try:
            writer.write(raw)
            with suppress(ConnectionError):
                await writer.drain()
            found = b""
            with suppress(ConnectionError):
                while part := await asyncio.wait_for(reader.read(65536), limit_s):
                    found += part
            return found
        finally:
            writer.close()

    async def status(self, method: str, path: str, body: bytes = b"", token: str = "", **headers: str) -> int:
        given = {"Authorization": f"Bearer {token}"} if token else {}
        return int((await self.ask(head(method, path, len(body), **given, **headers) + body)).split(b" ")[1])


def head(method: str, path: str, length: int, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def talk(data_dir: Path, script: Script, **api: Any) -> Any:
    async def run() -> Any:
        config = Config(storage=StorageConfig(data_dir=str(data_dir)), api=ApiConfig(port=0, **api))
        state = open_state(config)
        try:
            async with opened(make_app(state, LOCAL), config.api) as (_, port):
                return await script(state, Callers(port))
        finally:
            state.close()

    return asyncio.run(run())


def token(state: State, name: str, days: float = 1.0) -> str:
    return state.tokens.create(name, ("viewer",), created_at=stamp(), expires_at=time.time() + days * 86_400)[1]


def refused(state: State) -> list[tuple[str, str, str]]:
    refusals.audit(state, state.refusals.rest())
    entries = state.journal.audit_entries()
    return [(each["actor"], each["subject"], each["detail"]) for each in entries if each["action"] == "refused"]
