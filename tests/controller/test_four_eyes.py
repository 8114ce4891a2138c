"""Four eyes: the approver differs from everybody behind the proposal; and which roles may see passwords."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.api.routes import ROUTES
from controller.broker.process import RunningBroker
from controller.clock import stamp
from controller.config import Config, FleetConfig, StorageConfig
from controller.rollout.model import Rollout, person
from controller.state import State, open_state
from controller.trust.access import PERMISSIONS, Role
from controller.verbs import policies
from tests.controller.test_api import AUTH, call, meet, push

pytestmark = pytest.mark.usefixtures("conversions_kept")

PASSWORD = "s3cret-of-the-broker"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path)), fleet=FleetConfig(four_eyes=True)))
    yield made
    made.close()


def token(state: State, name: str, *roles: Role) -> dict[str, str]:
    made = state.tokens.create(name, roles, created_at=stamp(), expires_at=time.time() + 3600)[1]
    return {"Authorization": f"Bearer {made}"}


def approve(state: State, rollout: Rollout, name: str) -> str:
    """Returns the code of an approval by `name`; empty if it was accepted."""
    body = {"plan_digest": rollout.plan_digest}
    headers = token(state, name, "approver")
    _, found = call(state, "POST", f"/v1/rollouts/{rollout.id}/approve", headers=headers, json=body)
    return str(found.get("code", ""))


def pushed_by(state: State, name: str) -> None:
    """The newest version, as if `name` had pushed it."""
    docs = {}
    for key, doc in state.store.all("versions").items():
        docs[key] = doc | {"lineage": doc["lineage"] | {"created_by": name}}
    state.store.put("versions", docs)


def test_an_approval_policy_checks_the_person_behind_each_token(state: State) -> None:
    push(state)
    pushed_by(state, "dora")
    meet(state, "a", "b")
    headers = token(state, "ada", "operator")
    call(state, "PUT", "/v1/models/m/deployment", headers=headers, json={"strategy": "all_at_once"})
    policies.start_due(state)
    (rollout,) = state.world.durable.rollouts.values()
    assert (rollout.status, rollout.created_by, rollout.people) == ("proposed", "policy of ada", ("ada", "dora"))
    assert approve(state, rollout, "ada") == "four_eyes", "she wrote the policy"
    assert approve(state, rollout, "dora") == "four_eyes", "she pushed the version"
    assert approve(state, rollout, "eve") == ""


def test_the_person_who_pushed_a_version_cannot_approve_its_rollout(state: State) -> None:
    push(state)
    pushed_by(state, "dora")
    meet(state, "a", "b")
    started = call(state, "POST", "/v1/rollouts", headers=token(state, "ada", "operator"), json={"model": "m"})[1]
    rollout = state.world.durable.rollouts[started["id"]]
    assert started["proposers"] == ["ada", "dora"]
    said = call(state, "GET", f"/v1/rollouts/{rollout.id}/explain")[1]["sentences"][0]
    assert "somebody other than ada and dora" in said
    assert [approve(state, rollout, name) for name in ("ada", "dora", "eve")] == ["four_eyes", "four_eyes", ""]


def test_the_controllers_own_token_does_not_hide_the_person(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    started = call(state, "POST", "/v1/rollouts", headers=AUTH, json={"model": "m"})[1]
    rollout = state.world.durable.rollouts[started["id"]]
    assert rollout.created_by == "local:ada"
    assert approve(state, rollout, "ada") == "four_eyes", "local:ada is ada"


def test_an_old_proposal_without_proposers_names_the_policys_author_too(state: State) -> None:
    old = Rollout(
        id="r-1", model="m", release=1, digest="d" * 64, strategy=policies.rollouts.STRATEGIES["all_at_once"],
        members=(), status="proposed", created_by="policy of ada",
    )  # fmt: skip
    state.save_rollouts(old)
    assert approve(state, old, "ada") == "four_eyes"
    assert [person(each) for each in ("policy of local:ada", "local:ada", "ada")] == ["ada"] * 3


@pytest.fixture
def secretive(state: State) -> State:
    state.broker = RunningBroker(f"mqtt://edgeward:{PASSWORD}@127.0.0.1:1883", "mosquitto")
    meet(state, "a")
    return state


def test_a_viewer_cannot_read_the_brokers_password_anywhere(secretive: State) -> None:
    for role in ("viewer", "approver"):
        headers = token(secretive, role, role)  # type: ignore[arg-type]
        for route in ROUTES:
            path = re.sub(r"{\w+}", "a", route.path)
            if route.method != "GET" or path in ("/v1/events", "/v1/live"):
                continue
            _, body = call(secretive, "GET", path, headers=headers) if route.returns is not bytes else (0, "")
            assert PASSWORD not in json.dumps(body), (role, route.path)


def test_a_role_that_may_enrol_devices_may_read_what_it_needs(secretive: State) -> None:
    status, refused = call(secretive, "GET", "/v1/enrolment", headers=token(secretive, "eve", "viewer"))
    assert (status, refused["code"]) == (403, "forbidden")
    for role in ("operator", "admin"):
        status, found = call(secretive, "GET", "/v1/enrolment", headers=token(secretive, role, role))  # type: ignore[arg-type]
        assert status == 200
        assert PASSWORD in found["broker_url"]
    assert "device" not in PERMISSIONS["viewer"] | PERMISSIONS["approver"]


def times_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from times_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from times_in(each)
    elif isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        yield value


def test_times_have_one_format_everywhere_in_the_api(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    call(state, "POST", "/v1/rollouts", json={"model": "m"})
    call(state, "PUT", "/v1/models/m/deployment", json={"strategy": "all_at_once"})
    call(state, "POST", "/v1/tokens", json={"name": "bob", "roles": ["viewer"], "days": 1})
    call(state, "POST", "/v1/models/m/versions/1/withdraw", json={"reason": "r"})
    seen = 0
    for route in ROUTES:
        if route.method != "GET" or route.path in ("/v1/events", "/v1/live", "/v1/stick") or route.returns is bytes:
            continue
        path = route.path.replace("{model}", "m").replace("{release}", "1").replace("{device}", "a")
        _, body = call(state, "GET", path)
        if route.path == "/v1/trust":
            body = body["roles"]  # its files are signed as they are
        for found in times_in(body):
            seen += 1
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found), (route.path, found)
    assert seen > 8
