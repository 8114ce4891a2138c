"""Callers of the API: host names, pages of other sites, viewers, and callers that disconnect or never read."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from controller.state import State
from tests.controller.door_world import LOCAL, MIB, Callers, data_dir, head, refused, talk

__all__ = ["data_dir"]


def test_a_web_page_cannot_read_the_controller_by_dns_rebinding(data_dir: Path) -> None:
    own = ("127.0.0.1:8470", "[::1]:8470", "Controller.Lan", "edgeward.example.org", "")
    foreign = ("evil.example", "localhost.evil.example:80")

    async def script(state: State, callers: Callers) -> None:
        for host in (*own, *foreign):
            lines = ["GET / HTTP/1.0", *([f"Host: {host}"] if host else [])]
            found = await callers.ask(("\r\n".join(lines) + "\r\n\r\n").encode())
            assert (host, int(found.split(b" ")[1])) == (host, 421 if host in foreign else 200)
            assert (b"name it in api.names" in found) == (host in foreign)
        assert [subject for _, subject, _ in refused(state)] == ["host_unknown"] * 2

    talk(data_dir, script, names=("controller.lan",), public_url="https://edgeward.example.org")


def test_a_page_of_another_site_changes_nothing_even_with_a_token(data_dir: Path) -> None:
    own = ("http://localhost", "https://edgeward.example.org")

    async def script(_: State, callers: Callers) -> None:
        for origin in ("https://evil.example", "null", *own):
            status = await callers.status("POST", "/v1/devices/cam-1/claim", token=LOCAL, Origin=origin)
            assert (origin, status) == (origin, 200 if origin in own else 403)

    talk(data_dir, script, public_url="https://edgeward.example.org")


def test_metrics_need_the_viewer_role_unless_they_are_public(data_dir: Path) -> None:
    async def script(_: State, callers: Callers) -> list[int]:
        return [await callers.status("GET", "/metrics", token=token) for token in ("", LOCAL)]

    assert talk(data_dir, script) == [401, 200]
    assert talk(data_dir, script, metrics="open") == [200, 200]


HALF_SENT = (
    head("GET", "/v1/openapi.json", 0).replace(b"Connection: close\r\n", b""),
    b"GET /v1/open",
    head("POST", "/v1/enrol", 1000) + b"abc",
    head("GET", "/v1/events", 0, Authorization=f"Bearer {LOCAL}"),
)


def test_callers_that_close_their_side_leave_no_connection_and_no_log_line(
    data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(_: State, callers: Callers) -> None:
        for sent in HALF_SENT:
            reader, writer = await callers.connect()
            writer.write(sent)
            writer.write_eof()
            with suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 20)
            writer.close()
        assert await callers.status("GET", "/v1/openapi.json") == 200, "all four places are free"

    talk(data_dir, script, max_connections=4, max_connections_per_address=4)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_requests_of_a_caller_that_reads_no_answers_are_read_no_further(data_dir: Path) -> None:
    asked = head("GET", "/v1/openapi.json", 0).replace(b"Connection: close\r\n", b"") * 1000

    async def script(_: State, callers: Callers) -> int:
        _, writer = await callers.connect()
        writer.transport.set_write_buffer_limits(0)
        sent = 0
        with suppress(TimeoutError):
            while sent < 50 * MIB:
                writer.write(asked)
                await asyncio.wait_for(writer.drain(), 0.5)
                sent += len(asked)
        writer.transport.abort()
        return sent

    assert talk(data_dir, script) < 50 * MIB, "the rest waits in the caller's own memory"
