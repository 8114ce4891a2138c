"""Attack table: the page's session. A token becomes a cookie once; the cookie allows no more than its token."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from controller.api.app import make_app
from controller.api.auth import PAGE_HEADER
from controller.clock import stamp
from controller.config import ApiConfig, Config, StorageConfig
from controller.state import State, open_state
from controller.trust.access import Role
from controller.trust.sessions import LOCAL, MAX_SESSION_S, Session, Sessions
from controller.verbs import tokens

SECRET = "edg_local"
OURS = {PAGE_HEADER: "1"}
Script = Callable[[TestClient], Awaitable[Any]]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    api = ApiConfig(public_url="https://fleet.example")
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path)), api=api))
    yield made
    made.close()


def talk(state: State, script: Script) -> Any:
    async def run() -> Any:
        async with TestClient(TestServer(make_app(state, SECRET))) as client:
            return await script(client)

    return asyncio.run(run())


def token(state: State, name: str, *roles: Role, days: float = 1.0) -> tuple[str, str]:
    kept, made = state.tokens.create(name, roles, created_at=stamp(), expires_at=time.time() + days * 86_400)
    return kept.id, made


async def log_in(client: TestClient, secret: str, **headers: str) -> ClientResponse:
    return await client.post("/v1/session", json={"token": secret, "actor": "mara"}, headers={**OURS, **headers})


def test_a_token_becomes_a_cookie_that_scripts_other_sites_and_other_paths_cannot_read(state: State) -> None:
    async def script(client: TestClient) -> tuple[str, str]:
        plain = await log_in(client, SECRET)
        by_tls = await log_in(client, SECRET, Origin="https://fleet.example")
        return plain.headers["Set-Cookie"], by_tls.headers["Set-Cookie"]

    plain, by_tls = talk(state, script)
    for said in ("HttpOnly", "SameSite=Strict", "Path=/v1"):
        assert said in plain
        assert said in by_tls
    assert "Secure" in by_tls
    assert "Secure" not in plain
    assert SECRET not in plain


def test_the_session_has_name_roles_and_end(state: State) -> None:
    async def script(client: TestClient) -> tuple[Any, Any, Any]:
        nobody = await (await client.get("/v1/session")).json()
        await log_in(client, token(state, "ada", "viewer", "approver", days=0.1)[1])
        return nobody, await (await client.get("/v1/session")).json(), await (await client.get("/v1/me")).json()

    nobody, session, me = talk(state, script)
    assert nobody is None
    assert session == me
    assert (me["name"], me["roles"], me["permissions"]) == ("ada", ["approver", "viewer"], ["approve", "view"])
    assert me["approves"] is True
    assert me["session_ends_at"] <= me["token_ends_at"]


def test_the_local_token_acts_under_the_name_of_its_holder_and_may_not_approve(state: State) -> None:
    async def script(client: TestClient) -> Any:
        return await (await log_in(client, SECRET)).json()

    me = talk(state, script)
    assert (me["name"], me["approves"], me["token_ends_at"]) == ("local:mara", False, "")


def test_a_wrong_token_gets_no_cookie_and_counts_as_a_guess(state: State) -> None:
    async def script(client: TestClient) -> list[int]:
        answers = [await log_in(client, f"edg_wrong_{number}") for number in range(22)]
        assert all("Set-Cookie" not in answer.headers for answer in answers)
        return [answer.status for answer in answers]

    found = talk(state, script)
    assert found[0] == 401
    assert found[-1] == 429


def test_a_page_of_another_site_can_neither_log_in_nor_change_anything(state: State) -> None:
    async def script(client: TestClient) -> list[int]:
        forged = await client.post("/v1/session", json={"token": SECRET})
        await log_in(client, SECRET)
        read = await client.get("/v1/fleet")
        written = await client.post("/v1/devices/unquarantine", json={"devices": ["a"]})
        ours = await client.post("/v1/devices/unquarantine", json={"devices": ["a"]}, headers=OURS)
        return [forged.status, read.status, written.status, ours.status]

    assert talk(state, script) == [403, 200, 403, 404], (
        "404: the page's own request is accepted, and the device is unknown"
    )


def test_a_session_has_the_permissions_of_its_token_and_the_api_checks_them_too(state: State) -> None:
    async def script(client: TestClient) -> list[int]:
        await log_in(client, token(state, "reader", "viewer")[1])
        read = await client.get("/v1/fleet")
        written = await client.post("/v1/devices/unquarantine", json={"devices": ["a"]}, headers=OURS)
        return [read.status, written.status]

    assert talk(state, script) == [200, 403]


def test_a_revoked_token_ends_its_session_and_its_stream(state: State) -> None:
    async def script(client: TestClient) -> tuple[bytes, int]:
        number, made = token(state, "brief", "viewer")
        await log_in(client, made)
        stream = await client.get("/v1/live")
        first = await stream.content.readline()
        assert first == b": hello\n"
        tokens.revoke_token(state, number, actor="test")
        rest = await asyncio.wait_for(stream.content.read(), 10)
        return rest, (await client.get("/v1/fleet")).status

    rest, status = talk(state, script)
    assert b"event: live" in rest
    assert status == 401


def test_a_session_survives_a_restart_of_the_controller(state: State) -> None:
    async def enter(client: TestClient) -> str:
        return (await log_in(client, SECRET)).headers["Set-Cookie"].partition(";")[0]

    cookie = talk(state, enter)

    async def again(client: TestClient) -> int:
        return (await client.get("/v1/fleet", headers={"Cookie": cookie})).status

    assert talk(state, again) == 200


def test_an_ended_session_is_deleted_in_the_browser(state: State) -> None:
    async def script(client: TestClient) -> list[int]:
        await log_in(client, SECRET)
        ended = await client.delete("/v1/session", headers=OURS)
        return [ended.status, (await client.get("/v1/fleet")).status]

    assert talk(state, script) == [200, 401]


def test_a_changed_forged_or_expired_cookie_is_refused() -> None:
    sessions, now = Sessions(SECRET), 1000.0
    made = Session(token=LOCAL, actor="mara", expires_at=now + 10)
    cookie = sessions.seal(made)
    assert sessions.read(cookie, now) == made
    assert sessions.read(cookie, now + 10) is None
    body, _, sign = cookie.partition(".")
    longer = sessions.seal(replace(made, expires_at=now + 1e9)).partition(".")[0]
    for other in (f"{longer}.{sign}", f"{body}.{body}", body, "", ".", "é.é", cookie + "A" * 600):
        assert sessions.read(other, now) is None
    assert Sessions("another").read(cookie, now) is None
    assert Sessions("another").cookie != sessions.cookie


def test_no_session_is_longer_than_a_working_day_or_its_token(state: State) -> None:
    async def script(client: TestClient) -> list[Any]:
        made = {"brief": 0.001, "long": 90.0}
        days = [await log_in(client, token(state, name, "viewer", days=d)[1]) for name, d in made.items()]
        return [await answer.json() for answer in days]

    brief, long = talk(state, script)
    assert brief["session_ends_at"] == brief["token_ends_at"]
    assert long["session_ends_at"] < long["token_ends_at"]
    assert MAX_SESSION_S == 12 * 3600
