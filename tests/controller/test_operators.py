"""Attack table: operator abuse. Tokens, roles, four eyes, guessing, and an audit that shows every change."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from contract import audit as chain
from contract import topics
from contract.errors import BadInput, Code
from contract.messages import Hardware, Heartbeat, Presence
from contract.wire import encode
from controller.api.app import make_app
from controller.api.auth import NEEDS
from controller.api.limits import MAX_BUCKETS, Limiter
from controller.api.routes import ROUTES
from controller.clock import stamp, today
from controller.config import Config, FleetConfig, StorageConfig
from controller.fleet.twin import Twin
from controller.reconcile.decisions import reconcile
from controller.registry.credentials import Credential
from controller.registry.journal import Journal
from controller.rollout.model import Member, Rollout, Strategy, Wave
from controller.state import State, open_state
from controller.trust.access import ALL_ROLES, PERMISSIONS, Role, Subject

LOCAL = "edg_local"
HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
Script = Callable[["Caller"], Awaitable[Any]]


class Caller:
    """Calls one controller with any token."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    async def __call__(self, token: str, method: str, path: str, **options: Any) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"}
        answer = await self._client.request(method, path, headers=headers, **options)
        if answer.content_type == "text/event-stream":  # it continues for as long as somebody listens
            answer.close()
            return answer.status, ""
        body = await answer.json()
        return answer.status, body.get("code", "") if isinstance(body, dict) else ""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    config = Config(storage=StorageConfig(data_dir=str(tmp_path)), fleet=FleetConfig(four_eyes=True))
    made = open_state(config)
    made.world.durable.twins["a"] = Twin("a", seen_at=time.time(), connected=True)
    yield made
    made.close()


def talk(state: State, script: Script) -> Any:
    async def run() -> Any:
        async with TestClient(TestServer(make_app(state, LOCAL))) as client:
            return await script(Caller(client))

    return asyncio.run(run())


def token(state: State, name: str, *roles: Role, days: float = 1.0) -> str:
    return state.tokens.create(name, roles, created_at=stamp(), expires_at=time.time() + days * 86_400)[1]


def proposed(state: State, by: str = "ada") -> Rollout:
    rollout = Rollout(
        id="r-1",
        model="m",
        release=1,
        digest="d" * 64,
        strategy=Strategy(name="s", waves=(Wave(percent=100),)),
        members=(Member(device="a", wave=0),),
        status="proposed",
        created_by=by,
    )
    state.save_rollouts(rollout)
    return rollout


@pytest.mark.parametrize("role", ALL_ROLES)
def test_each_role_may_call_what_its_permissions_say_and_nothing_else(state: State, role: Role) -> None:
    mine = token(state, "somebody", role)

    async def script(call: Caller) -> dict[str, str]:
        return {
            f"{route.method} {route.path}": (
                await call(mine, route.method, route.path.replace("{", "").replace("}", ""))
            )[1]
            for route in ROUTES
            if route.needs != "nothing"
        }

    codes = talk(state, script)
    for route in ROUTES:
        if route.needs == "nothing":
            continue
        allowed = route.needs in PERMISSIONS[role]
        assert (codes[f"{route.method} {route.path}"] != "forbidden") == allowed, (role, route.path)


def test_a_route_without_a_permission_is_refused_to_every_role(state: State) -> None:
    async def run() -> int:
        app = make_app(state, LOCAL)
        app[NEEDS].pop(("GET", "/v1/models"))
        async with TestClient(TestServer(app)) as client:
            return (await Caller(client)(LOCAL, "GET", "/v1/models"))[0]

    assert asyncio.run(run()) == 403


def test_an_admin_can_neither_start_nor_approve_a_rollout() -> None:
    admin = Subject("root", frozenset({"admin"}))
    assert not any(admin.may(permission) for permission in ("push", "rollout", "approve"))


def test_the_proposer_and_the_local_token_cannot_approve(state: State) -> None:
    digest = proposed(state, by="ada").plan_digest
    both = token(state, "ada", "operator", "approver")
    other = token(state, "bob", "approver")
    tokens = {"herself": both, "local": LOCAL, "another": other, "again": other}

    async def script(call: Caller) -> dict[str, str]:
        path = "/v1/rollouts/r-1/approve"
        changed = (await call(other, "POST", path, json={"plan_digest": "0" * 64}))[1]
        body = {"plan_digest": digest}
        found = {name: (await call(each, "POST", path, json=body))[1] for name, each in tokens.items()}
        return found | {"changed": changed}

    assert talk(state, script) == {
        "herself": "four_eyes",
        "local": "four_eyes",
        "another": "",
        "again": "rollout_conflict",
        "changed": "plan_changed",
    }
    assert state.world.durable.rollouts["r-1"].status == "running"
    approvals = [entry for entry in state.journal.audit_entries() if entry["action"] != "refused"]
    assert (approvals[0]["actor"], approvals[0]["detail"]) == ("bob", digest)
    assert state.world.durable.rollouts["r-1"].approved_by == "bob"


def test_a_proposed_rollout_makes_no_offers(state: State) -> None:
    proposed(state)
    beat = Heartbeat(protocol=1, device="a", boot=1, seq=1, uptime_s=1, hardware=HARDWARE)
    changes = reconcile(state.world, [("a", beat)], time.time())
    assert (changes.redesired, changes.rollouts) == (frozenset(), ())


def test_wrong_revoked_and_expired_tokens_get_the_same_refusal(state: State) -> None:
    good, ended = token(state, "ada", "viewer"), token(state, "bob", "viewer", days=-1)
    revoked = token(state, "eve", "viewer")
    state.tokens.revoke(revoked[4:12])
    forged = good[:-2] + ("aa" if good[-2:] != "aa" else "bb")

    async def script(call: Caller) -> list[tuple[int, str]]:
        return [await call(each, "GET", "/v1/models") for each in (good, ended, revoked, forged, "", "edg_", "ä")]

    found = talk(state, script)
    assert found[0][0] == 200
    assert set(found[1:]) == {(401, "unauthenticated")}


def test_tokens_are_kept_as_hashes(state: State, tmp_path: Path) -> None:
    mine = token(state, "ada", "viewer")
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert mine.encode() not in kept
    assert mine[13:].encode() not in kept


def test_guessing_tokens_is_slowed_down_and_a_valid_token_still_works(state: State) -> None:
    mine = token(state, "ada", "viewer")

    async def script(call: Caller) -> tuple[list[int], list[int]]:
        guesses = [(await call(f"edg_{number:08d}_x", "GET", "/v1/models"))[0] for number in range(60)]
        return guesses, [(await call(mine, "GET", path))[0] for path in ("/v1/models", "/v1/fleet")]

    guesses, honest = talk(state, script)
    assert guesses[:20] == [401] * 20
    assert guesses.count(429) >= 35
    assert honest == [200, 200]


def test_guessing_claims_is_slowed_down_too(state: State) -> None:
    async def script(call: Caller) -> list[int]:
        body = {"token": "edc_x", "csr": "none"}
        return [(await call("", "POST", "/v1/enrol", json=body))[0] for _ in range(40)]

    assert talk(state, script).count(429) >= 15


def test_a_bucket_refills_with_time_and_the_number_of_buckets_is_limited() -> None:
    limiter = Limiter(per_s=1.0, burst=2)
    assert [limiter.allows("a", 0.0) for _ in range(3)] == [True, True, False]
    assert limiter.allows("b", 0.0)
    assert limiter.allows("a", 1.5)
    assert limiter.spent("a", 1.5)
    for number in range(MAX_BUCKETS + 10):
        limiter.allows(str(number), 2.0)
    assert len(limiter._buckets) == MAX_BUCKETS


def written(path: Path, count: int = 5) -> Journal:
    journal = Journal(path / "journal.sqlite")
    for number in range(count):
        journal.audit(f"2026-01-0{number + 1}", "ada", "push", f"m v{number}")
    return journal


def test_an_unchanged_audit_is_valid(tmp_path: Path) -> None:
    journal = written(tmp_path)
    assert chain.faults(journal.whole_audit(), [journal.checkpoint(), f"0:{chain.FIRST}"]) == []


def test_a_changed_or_removed_entry_breaks_the_chain(tmp_path: Path) -> None:
    entries = written(tmp_path).whole_audit()
    changed = [*entries[:2], {**entries[2], "actor": "eve"}, *entries[3:]]
    assert "entry 3" in chain.faults(changed)[0]
    assert "entry 3" in chain.faults([*entries[:2], *entries[3:]])[0]


def test_a_truncated_and_a_rewritten_audit_are_found_by_the_checkpoint(tmp_path: Path) -> None:
    journal = written(tmp_path)
    entries, witness = journal.whole_audit(), journal.checkpoint()
    assert chain.faults(entries[:-2]) == [], "the chain alone does not see it"
    assert "cut off" in chain.faults(entries[:-2], [witness])[0]
    (tmp_path / "other").mkdir()
    forged = Journal(tmp_path / "other" / "journal.sqlite")
    for number in range(5):
        forged.audit(f"2026-01-0{number + 1}", "nobody", "push", f"m v{number}")
    assert chain.faults(forged.whole_audit()) == []
    assert "written again" in chain.faults(forged.whole_audit(), [witness])[0]


def test_signed_metadata_contains_the_checkpoint_for_every_device(state: State) -> None:
    state.journal.audit(stamp(), "ada", "push", "m v1")
    before = state.journal.checkpoint()
    state.trust_metadata._keep(state.trust_metadata._signed(state.trust_metadata.files, today()))
    assert state.trust_metadata.audit_witness() == before
    assert chain.faults(state.journal.whole_audit(), [before]) == []


def test_an_unknown_token_cannot_be_revoked(state: State) -> None:
    with pytest.raises(BadInput) as caught:
        state.tokens.revoke("nothing")
    assert caught.value.code == Code.UNKNOWN_TOKEN


def test_a_stick_carries_only_messages_that_the_device_itself_could_send(state: State) -> None:
    def words(device: str, claims: str) -> dict[str, Any]:
        beat = Heartbeat(protocol=1, device=claims, boot=9, seq=1, hardware=HARDWARE, uptime_s=1)
        return {"topic": topics.heartbeat(device), "text": encode(beat).decode()}

    state.credentials.add_certificate(Credential(1, "enrolled", "-", time.time() + 60, None))
    sent = [
        words("b", "b"),
        words("b", "c"),
        words("enrolled", "enrolled"),
        {"topic": topics.presence("c"), "text": encode(Presence(protocol=1, device="c", online=False)).decode()},
        {"topic": topics.desired("b"), "text": "{}"},
        {"topic": "edgeward/v1/d/b/up/report", "text": "{"},
    ]

    async def script(call: Caller) -> None:
        body = {"messages": sent}
        viewer = token(state, "eve", "viewer")
        assert await call(viewer, "POST", "/v1/stick", json=body) == (403, "forbidden")
        assert (await call(LOCAL, "POST", "/v1/stick", json=body))[0] == 200
        assert await call(LOCAL, "POST", "/v1/stick", json={"messages": [{}]}) == (422, "message_malformed")
        assert await call(LOCAL, "GET", "/v1/stick?device=nobody") == (404, "unknown_device")

    talk(state, script)
    assert [device for device, _ in state.inbox.take()[0]] == ["b"]
    assert state.inbox.counts == {"wrong_device": 1, "unsigned": 1, "malformed": 1, "wrong_name": 1}
