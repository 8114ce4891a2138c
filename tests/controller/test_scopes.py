"""Attack table: a token for a part of the fleet changes nothing elsewhere, by any route; it may read everything."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract.errors import BadInput, Code
from controller.api.app import make_app
from controller.api.routes import ROUTES
from controller.api.scopes import REACHES
from controller.clock import stamp_of
from controller.config import Config, StorageConfig
from controller.reconcile.decisions import reconcile
from controller.rollout.model import Member, Rollout, Strategy, Wave
from controller.state import State, open_state
from controller.trust.access import Role
from controller.trust.scope import EVERYWHERE, Scope
from controller.verbs import tokens
from tests.controller.page_worlds import MODEL, SECOND, digest, heartbeat, steady

HERE, THERE, BUSY, OLD = "aldern-001", "holm-001", "aldern-002", "aldern-003"
"""A device inside the scope, one elsewhere, one inside that has another model too, and one that is to be removed."""
SITE = Scope(labels={"site": "aldern"})
PUMPS = Scope(models=(MODEL,))
BOTH = Scope(labels=SITE.labels, models=(MODEL,))
SHARED = {
    ("POST", "/v1/data/{name}"), ("DELETE", "/v1/data/{name}/versions/{version}"), ("POST", "/v1/deletions"),
    ("POST", "/v1/stick"), ("POST", "/v1/silences"), ("DELETE", "/v1/silences/{silence}"),
    ("POST", "/v1/alert-receivers/{receiver}/test"), ("PUT", "/v1/selectors/{selector}"),
    ("DELETE", "/v1/selectors/{selector}"), ("GET", "/v1/enrolment"),
}  # fmt: skip
"""Commands that change what everybody shares: refused to every token with a scope."""


def rollout(name: str, selector: dict[str, str], *, model: str = MODEL, **changed: Any) -> Rollout:
    made = Rollout(
        id=name, model=model, release=13, digest=digest(13), strategy=Strategy("all", (Wave(percent=100),)),
        members=(Member(HERE, 0, "", 12, digest(12)),), selector=selector, created_at=stamp_of(time.time()),
    )  # fmt: skip
    return replace(made, **changed)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path_factory.mktemp("scopes")))))
    two = (steady(MODEL, 12), steady(SECOND, 5))
    heard = [
        (HERE, heartbeat(HERE, 0, two[:1])),
        (THERE, heartbeat(THERE, 1, two[:1])),
        (BUSY, heartbeat(BUSY, 2, two)),
    ]
    reconcile(made.world, [*heard, (OLD, heartbeat(OLD, 1, two[:1]))], time.time())
    made.save_rollouts(
        rollout("r-here", {"site": "aldern"}),
        rollout("r-all", {}, status="completed"),
        rollout("r-other", {"site": "aldern"}, model=SECOND),
        rollout("r-again", {}, status="completed", retry_of="r-here", among=(HERE,)),
    )
    yield made
    made.close()


Call = Callable[..., Awaitable[tuple[int, Any]]]


def talk(state: State, scope: Scope, script: Callable[[Call], Awaitable[Any]], *roles: Role) -> Any:
    held = roles or ("operator",)
    _, token = tokens.create_token(state, "mara", held, days=1, actor="admin", scope=scope)

    async def run() -> Any:
        async with TestClient(TestServer(make_app(state, "edg_local"))) as client:

            async def call(method: str, path: str, body: Any = None) -> tuple[int, Any]:
                headers = {"Authorization": f"Bearer {token}"}
                answer = await client.request(method, path, json=body, headers=headers)
                return answer.status, await answer.json()

            return await script(call)

    return asyncio.run(run())


def ends(state: State, scope: Scope, *calls: tuple[Any, ...], roles: tuple[Role, ...] = ("operator",)) -> list[str]:
    """Returns the error code of each call; empty for a call that succeeded."""

    async def script(call: Call) -> list[str]:
        answers = [await call(*each) for each in calls]
        return [body.get("code", "") if isinstance(body, dict) and status >= 400 else "" for status, body in answers]

    found: list[str] = talk(state, scope, script, *roles)
    return found


def start(selector: dict[str, str], model: str = MODEL) -> tuple[Any, ...]:
    return "POST", "/v1/rollouts", {"model": model, "selector": selector}


def test_every_command_says_what_it_reaches_or_is_refused_to_scopes() -> None:
    deeds = {(each.method, each.path) for each in ROUTES if each.needs not in ("nothing", "view", "admin")}
    assert deeds - set(REACHES) == SHARED
    assert set(REACHES) <= deeds


def test_a_rollout_starts_only_on_devices_and_models_in_the_scope(state: State) -> None:
    inside, wider, other = {"site": "aldern", "gateway": "gw-1"}, {"gateway": "gw-1"}, {"site": "holm"}
    tried = [start({}), start(wider), start(other), start(inside)]
    assert ends(state, SITE, *tried) == ["outside_scope"] * 3 + ["unknown_model"]  # inside: it gets as far as anybody
    assert ends(state, PUMPS, start({}), start({}, SECOND)) == ["unknown_model", "outside_scope"]
    assert ends(state, BOTH, start(inside, SECOND), start({}), start(inside)) == ["outside_scope"] * 2 + [
        "unknown_model"
    ]
    assert ends(state, EVERYWHERE, start({})) == ["unknown_model"]


@pytest.mark.parametrize("verb", ["pause", "resume", "promote", "abort", "rollback", "retry", "judge"])
def test_a_rollout_outside_the_scope_cannot_be_controlled(state: State, verb: str) -> None:
    outside = [("POST", f"/v1/rollouts/{name}/{verb}", {}) for name in ("r-all", "r-other")]
    assert ends(state, BOTH, *outside) == ["outside_scope"] * 2
    assert state.world.durable.rollouts["r-all"].status == "completed"
    inside = [("POST", f"/v1/rollouts/{name}/{verb}", {}) for name in ("r-here", "r-again")]
    assert "outside_scope" not in ends(state, BOTH, *inside)


def test_an_approver_cannot_approve_outside_the_scope(state: State) -> None:
    state.save_rollouts(rollout("r-asked", {}, status="proposed"), rollout("r-mine", SITE.labels, status="proposed"))
    plan = {"plan_digest": ""}
    tried = [("POST", f"/v1/rollouts/{name}/approve", plan) for name in ("r-asked", "r-mine")]
    assert ends(state, SITE, *tried, roles=("approver",)) == ["outside_scope", ""]


def test_bulk_commands_are_refused_completely_if_one_device_is_outside(state: State) -> None:
    wide, mine = {"devices": [OLD, THERE]}, {"devices": [OLD]}
    bulk = ["retire", "replace", "adopt", "unquarantine"]
    assert set(ends(state, SITE, *(("POST", f"/v1/devices/{each}", wide) for each in bulk))) == {"outside_scope"}
    by_label = {"selector": {"gateway": "gw-2"}}
    assert ends(state, SITE, ("POST", "/v1/devices/retire", by_label)) == ["outside_scope"]
    tuned = {"config": {"version": 1, "heartbeat_s": 20}}
    assert ends(state, SITE, ("POST", "/v1/devices/tune", wide | tuned)) == ["outside_scope"]
    assert set(state.world.durable.twins) == {HERE, THERE, BUSY, OLD}
    assert ends(state, SITE, ("POST", "/v1/devices/unquarantine", mine)) == [""]
    assert ends(state, SITE, ("POST", "/v1/devices/retire", mine)) == [""]
    assert set(state.world.durable.twins) == {HERE, THERE, BUSY}


def test_a_device_with_other_models_is_outside_of_a_scope_of_models(state: State) -> None:
    note = {"text": "by the pump"}
    tried = [("PUT", f"/v1/devices/{each}/note", note) for each in (HERE, BUSY, THERE, "newcomer")]
    assert ends(state, BOTH, *tried) == ["", "outside_scope", "outside_scope", "outside_scope"]


def test_a_person_cannot_move_a_device_into_or_out_of_their_scope(state: State) -> None:
    def label(device: str, **labels: Any) -> tuple[Any, ...]:
        return "POST", "/v1/devices/label", {"devices": {device: labels}}

    tried = [label(THERE, site="aldern"), label(HERE, site="holm"), label(HERE, site=None), label(THERE, shift="night")]
    assert ends(state, SITE, *tried, label(HERE, shift="night")) == ["outside_scope"] * 4 + [""]
    assert state.world.durable.twins[THERE].labels["site"] == "holm"


def test_a_command_for_a_model_on_all_devices_needs_a_scope_without_labels(state: State) -> None:
    gates = ("PUT", f"/v1/models/{MODEL}/gates", {})
    push = ("POST", f"/v1/models/{MODEL}/versions", {})
    other = ("PUT", f"/v1/models/{SECOND}/gates", {})
    assert ends(state, BOTH, gates, push) == ["outside_scope"] * 2
    assert ends(state, PUMPS, other) == ["outside_scope"]
    assert "outside_scope" not in ends(state, PUMPS, gates, push)


def test_a_policy_outside_the_scope_cannot_be_set_replaced_or_ended(state: State) -> None:
    def deploy(selector: dict[str, str], model: str = MODEL) -> tuple[Any, ...]:
        return "PUT", f"/v1/models/{model}/deployment", {"strategy": "canary", "selector": selector}

    assert ends(state, BOTH, deploy({}), deploy(SITE.labels, SECOND)) == ["outside_scope"] * 2
    assert ends(state, BOTH, deploy(SITE.labels)) == ["unknown_model"]
    strategy = {"name": "all", "waves": [{"percent": 100}]}
    state.store.put("deployments", {MODEL: {"strategy": strategy, "selector": {}}})
    end = ("DELETE", f"/v1/models/{MODEL}/deployment")
    assert ends(state, BOTH, deploy(SITE.labels), end) == ["outside_scope"] * 2


def test_reading_is_not_limited(state: State) -> None:
    looks = [("GET", path) for path in ("/v1/devices", "/v1/rollouts", f"/v1/devices/{THERE}", "/v1/audit")]
    assert ends(state, BOTH, *looks) == [""] * 4


def test_the_refusal_names_the_scope_of_the_token_and_what_to_do(state: State) -> None:
    async def script(call: Call) -> list[str]:
        return [
            (await call(*each))[1]["detail"] for each in (start({}), ("PUT", f"/v1/devices/{THERE}/note", {"text": ""}))
        ]

    assert talk(state, SITE, script) == [
        "your token is for site=aldern, and it would include devices elsewhere, now or later: add --select site=aldern",
        f"your token is for site=aldern, and it reaches {THERE}",
    ]


def test_the_page_gets_the_reason_why_a_button_is_disabled(state: State) -> None:
    async def script(call: Call) -> list[Any]:
        asked = ["rollout=r-all", "rollout=r-here", f"device={THERE}", f"device={HERE}", f"model={MODEL}"]
        answers = [(await call("GET", f"/v1/me/refusal?{each}"))[1]["words"] for each in asked]
        return [(await call("GET", "/v1/me"))[1]["scope"], *answers]

    assert talk(state, BOTH, script) == [
        f"site=aldern, model {MODEL}",
        f"your token is for site=aldern, model {MODEL}, and r-all is about every device",
        "",
        f"your token is for site=aldern, model {MODEL}, and it reaches {THERE}",
        "",
        f"your token is for site=aldern, model {MODEL}, and it is about {MODEL} on every device of the fleet",
    ]


def test_the_audit_names_the_scope_of_created_used_and_refused_tokens(state: State) -> None:
    ends(state, SITE, ("PUT", f"/v1/devices/{HERE}/note", {"text": "x"}), start({}))
    entries = {each["action"]: each for each in reversed(state.journal.audit_entries(4))}
    assert entries["token create"]["detail"] == "operator; only for site=aldern"
    assert (entries["scope"]["actor"], entries["scope"]["subject"]) == ("mara", "site=aldern")
    assert entries["scope"]["detail"] == f"PUT /v1/devices/{HERE}/note"
    assert entries["refused"]["detail"] == "POST /v1/rollouts; the token is for site=aldern"


def test_a_session_of_the_page_has_the_permissions_of_its_token(state: State) -> None:
    _, token = tokens.create_token(state, "mara", ("operator",), days=1, actor="admin", scope=SITE)

    async def run() -> int:
        async with TestClient(TestServer(make_app(state, "edg_local"))) as client:
            ours = {"X-Edgeward-Page": "1"}
            await client.post("/v1/session", json={"token": token}, headers=ours)
            return (await client.post("/v1/rollouts/r-all/rollback", json={}, headers=ours)).status

    assert asyncio.run(run()) == 403


@pytest.mark.parametrize(
    ("roles", "scope"),
    [
        (("viewer",), SITE),
        (("operator", "admin"), SITE),
        (("operator",), Scope(labels={"a=b": "c"})),
        (("operator",), Scope(models=("no name",))),
        (("operator",), Scope(labels={f"k{n}": "v" for n in range(17)})),
    ],
)
def test_a_scope_without_limits_or_meaning_is_refused(state: State, roles: tuple[Role, ...], scope: Scope) -> None:
    with pytest.raises(BadInput) as refused:
        tokens.create_token(state, "mara", roles, days=1, actor="admin", scope=scope)
    assert refused.value.code in (Code.REQUEST_INVALID, Code.NAME_INVALID)


def test_a_command_that_is_not_in_the_table_is_refused_to_scopes(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(REACHES, ("PUT", "/v1/devices/{device}/note"))
    tried = ("PUT", f"/v1/devices/{HERE}/note", {"text": "x"})
    assert ends(state, SITE, tried) == ["outside_scope"]
    assert ends(state, EVERYWHERE, tried) == [""]


def test_a_dry_run_is_refused_like_the_start_and_leaves_no_audit_entry(state: State) -> None:
    def dry(selector: dict[str, str]) -> tuple[str, str, Any]:
        return "POST", "/v1/rollouts/dry-run", {"model": MODEL, "selector": selector}

    before = len(state.journal.audit_entries(1_000))
    assert ends(state, SITE, dry({}), dry({"site": "aldern"})) == ["outside_scope", "unknown_model"]
    told = state.journal.audit_entries(1_000)
    assert [each["action"] for each in told[: len(told) - before]] == ["refused", "token create"]


def test_a_preview_of_a_step_names_the_missing_permission(state: State) -> None:
    async def script(call: Call) -> list[Any]:
        asked = [f"r-all/preview?verb={verb}" for verb in ("rollback", "approve")]
        return [(await call("POST", f"/v1/rollouts/{each}", {}))[1] for each in asked]

    rollback, approve = talk(state, SITE, script)
    assert (rollback["allowed"], rollback["code"]) == (False, "outside_scope")
    assert rollback["refusal"] == "your token is for site=aldern, and r-all is about every device"
    assert (approve["allowed"], approve["code"]) == (False, "forbidden")
    assert "needs the role approver" in approve["refusal"]


def test_a_missing_role_is_reported_before_a_confirmation(state: State) -> None:
    async def script(call: Call) -> list[Any]:
        asked = ["POST /v1/tokens", "POST /v1/devices/retire", "POST /v1/nothing"]
        return [(await call("GET", f"/v1/me/refusal?deed={deed}&device={THERE}"))[1]["code"] for deed in asked]

    assert talk(state, SITE, script) == ["forbidden", "outside_scope", "forbidden"]


def test_the_audit_names_the_attempt_of_a_known_person_and_only_the_route_of_a_stranger(state: State) -> None:
    ends(state, SITE, ("PUT", f"/v1/devices/{THERE}/note", {"text": "x"}))
    newest = state.journal.audit_entries(1)[0]
    assert newest["detail"] == f"PUT /v1/devices/{THERE}/note; the token is for site=aldern"

    async def stranger() -> int:
        async with TestClient(TestServer(make_app(state, "edg_local"))) as client:
            return (await client.get("/v1/devices/guessed-1")).status

    assert asyncio.run(stranger()) == 401
    assert state.journal.audit_entries(1)[0]["detail"] == "GET /v1/devices/{device}"
