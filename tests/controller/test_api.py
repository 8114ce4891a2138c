"""The HTTP edge without a broker: authentication, errors with codes, the OpenAPI document."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import FormData
from aiohttp.test_utils import TestClient, TestServer
from sklearn.linear_model import LogisticRegression

from contract.captured import Captured, CapturedRow
from contract.messages import (
    Hardware,
    Heartbeat,
    ModelInterval,
    ModelState,
    Report,
    Telemetry,
    UpdateOutcome,
    VersionRef,
)
from contract.samples import encode_sample
from controller.api.app import make_app
from controller.api.openapi import openapi
from controller.api.routes import ROUTES
from controller.config import Config, StorageConfig
from controller.reconcile.decisions import reconcile
from controller.state import State, open_state
from edgeward.encode import encode_model
from tests.controller.heard import hear

pytestmark = pytest.mark.usefixtures("conversions_kept")

TOKEN = "edg_test"
AUTH = {"Authorization": f"Bearer {TOKEN}", "X-Edgeward-Actor": "ada"}
HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


Talk = Callable[[TestClient], Awaitable[Any]]


def talk(state: State, script: Talk) -> Any:
    async def run() -> Any:
        async with TestClient(TestServer(make_app(state, TOKEN))) as client:
            return await script(client)

    return asyncio.run(run())


def call(
    state: State, method: str, path: str, headers: dict[str, str] | None = AUTH, **options: Any
) -> tuple[int, Any]:
    async def script(client: TestClient) -> tuple[int, Any]:
        answer = await client.request(method, path, headers=headers, **options)
        return answer.status, await answer.json()

    return talk(state, script)


ROWS = np.random.default_rng(0).normal(size=(200, 3))


@cache
def linear(number: int) -> tuple[str, bytes]:
    """A model as a client sends it, the same bytes each time: skops writes addresses of objects into its files."""
    return encode_model(LogisticRegression(C=1.0 + number).fit(ROWS, ROWS[:, 0] > 0))


def push(state: State, model: Any = None, name: str = "m", drop: str = "") -> tuple[int, Any]:
    kind, raw = encode_model(model) if model else linear(len(state.registry.registered.get(name, {})))
    form = FormData()
    for part, content in (("request", json.dumps({"kind": kind})), ("model", raw), ("sample", encode_sample(ROWS))):
        if part != drop:
            form.add_field(part, content, filename=part)
    return call(state, "POST", f"/v1/models/{name}/versions", data=form)


def deeds_of_people(state: State) -> list[str]:
    """Returns the actions in the audit that people requested, newest first."""
    return [each["action"] for each in call(state, "GET", "/v1/audit")[1] if each["actor"] != "controller"]


def meet(state: State, *names: str, labels: dict[str, str] | None = None) -> None:
    head = {"protocol": 1, "boot": 1, "seq": 1, "uptime_s": 1, "hardware": HARDWARE, "labels": labels or {}}
    hear(state, *(Heartbeat(device=name, **head) for name in names))


NO_TOKEN: tuple[dict[str, str], ...] = (
    {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}, {"Authorization": "Bearer ä"}
)  # fmt: skip


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_but_health_enrolment_sessions_and_blobs_asks_for_a_token(state: State, route: Any) -> None:
    path = route.path.replace("{", "").replace("}", "")
    for headers in NO_TOKEN:
        status, body = call(state, route.method, path, headers)
        if route.needs == "nothing":
            known = {
                "/v1/health": 503, "/v1/enrol": 422, "/v1/renew": 422, "/v1/blobs/{name}": 404,
                "/v1/session": 403 if route.method == "POST" else 200, "/v1/session/ways": 200,
                "/v1/session/provider": 422, "/v1/session/provider/back": 422,
            }  # fmt: skip
            assert status == known[route.path], (headers, body)
        else:
            assert (headers, status, body["code"]) == (headers, 401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "request_invalid"),
        ("DELETE", "/v1/models", 405, "request_invalid"),
        ("GET", "/v1/models/none/versions", 404, "unknown_model"),
        ("GET", "/v1/models/none/versions/1", 404, "unknown_model"),
        ("GET", "/v1/models/none/versions/one", 404, "unknown_model"),
        ("GET", "/v1/devices/none", 404, "unknown_device"),
        ("GET", "/v1/rollouts/none", 404, "unknown_rollout"),
        ("POST", "/v1/rollouts/none/abort", 404, "unknown_rollout"),
    ],
)
def test_an_unknown_name_is_refused_with_a_code(state: State, method: str, path: str, status: int, code: str) -> None:
    found = call(state, method, path)
    assert (found[0], found[1]["code"]) == (status, code)


@pytest.mark.parametrize("body", [b"", b"{", b'{"model":"m","relase":1}', b'{"model":"m","release":[1]}', b"[" * 9999])
def test_an_invalid_rollout_request_is_refused(state: State, body: bytes) -> None:
    status, answer = call(state, "POST", "/v1/rollouts", data=body)
    assert (status, answer["code"]) == (422, "message_malformed")


def test_a_push_registers_a_version_with_its_evidence(state: State) -> None:
    status, version = push(state)
    assert (status, version["release"], version["passed"], version["lineage"]["created_by"]) == (
        200,
        1,
        True,
        "local:ada",
    )
    assert version["evidence"]["parity"]["sample"]["rows"] == 200
    assert call(state, "GET", "/v1/models")[1][0]["newest_passed"] == 1
    assert push(state)[1]["release"] == 2
    assert deeds_of_people(state) == ["push", "push"]


def test_a_push_that_fails_registers_nothing(state: State) -> None:
    assert push(state, name="Bad Name")[1]["code"] == "name_invalid"
    assert push(state, b"not onnx")[1]["code"] == "model_refused"
    assert push(state, drop="sample")[1]["code"] == "sample_missing"
    assert push(state, drop="model")[1]["code"] == "request_invalid"
    assert call(state, "GET", "/v1/models")[1] == []


def test_a_push_that_is_not_multipart_is_refused(state: State) -> None:
    assert call(state, "POST", "/v1/models/m/versions", json={})[1]["code"] == "request_invalid"


def test_a_version_that_fails_parity_is_kept_unreleased_with_its_worst_rows(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    from controller.gates import judge
    from controller.gates.verdict import GateVerdict

    refuse = GateVerdict(gate="parity", passed=False, detail="9 of 200 sample rows differ")
    monkeypatch.setattr(judge, "judge_parity", lambda parity: refuse)
    status, body = push(state)
    assert (status, body["code"]) == (422, "parity_failed")
    assert "9 of 200" in body["detail"]
    monkeypatch.undo()
    meet(state, "a")
    assert call(state, "GET", "/v1/models/m/versions")[1][0]["passed"] is False
    for wanted in ({"model": "m"}, {"model": "m", "release": 1}):
        assert call(state, "POST", "/v1/rollouts", json=wanted)[1]["code"] == "gates_not_passed"


def test_a_rollout_is_planned_controlled_and_audited(state: State) -> None:
    push(state)
    assert call(state, "POST", "/v1/rollouts", json={"model": "m"})[1]["code"] == "selector_empty"
    meet(state, "a", "b", labels={"site": "north"})
    body = {"model": "m", "strategy": "canary", "selector": {"site": "south"}}
    status, answer = call(state, "POST", "/v1/rollouts", json=body)
    assert answer["code"] == "selector_empty"
    assert "site=north" in answer["detail"]
    status, view = call(state, "POST", "/v1/rollouts", json={"model": "m", "selector": {"site": "north"}})
    assert (status, view["status"], [member["wave"] for member in view["members"]]) == (200, "running", [0, 1])
    assert call(state, "POST", "/v1/rollouts", json={"model": "m"})[1]["code"] == "rollout_conflict"
    path = f"/v1/rollouts/{view['id']}"
    assert call(state, "POST", f"{path}/resume")[1]["code"] == "rollout_conflict"
    assert call(state, "POST", f"{path}/pause")[1]["status"] == "paused"
    assert call(state, "POST", f"{path}/resume")[1]["status"] == "running"
    assert "waits for devices" in call(state, "GET", f"{path}/explain")[1]["sentences"][-1]
    assert call(state, "POST", f"{path}/promote", json={"wave": 0})[1]["status"] == "running"
    assert call(state, "POST", f"{path}/rollback")[1]["code"] == "no_way_back"
    assert call(state, "POST", f"{path}/abort")[1]["status"] == "aborting"
    actions = ["rollout abort", "rollout promote", "rollout resume", "rollout pause", "rollout start", "push"]
    assert deeds_of_people(state) == actions


def test_a_plan_is_previewed_without_changes_and_started_only_exactly_as_previewed(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    before = list(state.journal.whole_audit())
    status, plan = call(state, "POST", "/v1/rollouts/plan", json={"model": "m"})
    assert (status, [wave["devices"] for wave in plan["waves"]], plan["excluded"]) == (200, [1, 1], {})
    assert plan["no_way_back"] == {"a": "it runs nothing yet", "b": "it runs nothing yet"}
    assert (state.world.durable.rollouts, list(state.journal.whole_audit())) == ({}, before)
    meet(state, "c")
    wanted = {"model": "m", "plan_digest": plan["plan_digest"]}
    assert call(state, "POST", "/v1/rollouts", json=wanted)[1]["code"] == "plan_changed"
    wanted["plan_digest"] = call(state, "POST", "/v1/rollouts/plan", json={"model": "m"})[1]["plan_digest"]
    assert call(state, "POST", "/v1/rollouts", json=wanted)[1]["plan_digest"] == wanted["plan_digest"]


def fail_on(state: State, device: str) -> dict[str, Any]:
    """Rolls the newest version out, and makes it fail on one device."""
    _, view = call(state, "POST", "/v1/rollouts", json={"model": "m", "strategy": "all_at_once"})
    hear(state)
    told = state.world.durable.twins[device].desired["m"]
    ended = UpdateOutcome(
        generation=told.generation,
        version=VersionRef(release=told.release, digest=told.digest),
        result="rolled_back",
        code="health_accuracy",
        detail="accuracy 0.5",
    )
    failed = ModelState(model="m", phase="steady", generation=told.generation, outcome=ended)
    hear(state, Report(protocol=1, device=device, boot=1, seq=2, state=failed))
    return view


def test_a_version_that_failed_on_a_device_is_quarantined_there_until_a_person_unquarantines_it(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    view = fail_on(state, "a")
    wanted = {"model": "m", "again": True}
    reasons = call(state, "POST", "/v1/rollouts/plan", json=wanted)[1]["excluded"]
    assert view["id"] in reasons["a"]
    again = open_state(state.config)
    assert again.world.durable.quarantine == state.world.durable.quarantine != {}
    again.close()
    assert call(state, "POST", "/v1/devices/unquarantine", json={"devices": ["a"]})[1] == {"versions": 1}
    assert call(state, "POST", "/v1/rollouts/plan", json=wanted)[1]["excluded"] == {}


def test_late_labels_judge_a_rollout_again_and_revert_it(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    _, view = call(state, "POST", "/v1/rollouts", json={"model": "m", "strategy": "canary"})
    release = {True: view["release"], False: view["release"] + 1}
    rows = tuple(
        CapturedRow(at=time.time(), model="m", release=release[number % 2 == 0], why="sampled", inputs={}, value="1")
        for number in range(400)
    )
    state.captures.keep([("a", Captured(protocol=1, device="a", boot=1, seq=n, rows=rows[n::2])) for n in (0, 1)])
    found = call(state, "GET", "/v1/models/m/captured?limit=400")[1]
    labels = [{"id": row["id"], "label": str(int(row["row"]["release"] != view["release"]))} for row in found]
    assert call(state, "POST", "/v1/models/m/labels", json={"labels": labels})[1] == {"rows": 400}
    verdicts = call(state, "POST", f"/v1/rollouts/{view['id']}/judge", json={"revert": False})[1]
    words = {each["metric"]: each["verdict"] for each in verdicts}
    assert words == {"accuracy_drop": "fail", "error_increase": "no_data"}
    refused = call(state, "POST", f"/v1/rollouts/{view['id']}/judge", json={"revert": True})[1]
    assert refused["code"] == "no_way_back", "nothing had been confirmed before"
    assert "rollout judge" in [entry["action"] for entry in call(state, "GET", "/v1/audit")[1]]


def test_why_explains_the_version_that_a_device_runs(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    view = fail_on(state, "a")
    sentences = call(state, "GET", "/v1/devices/a/why")[1]["sentences"]
    words = " ".join(sentences)
    assert "v1 was rolled back: health_accuracy accuracy 0.5" in sentences[0]
    assert "m: it has confirmed no version." in words
    assert f"by rollout {view['id']}, strategy all_at_once, started by" in words
    assert f"it failed there in {view['id']}" in words
    assert call(state, "GET", "/v1/devices/none/why")[1]["code"] == "unknown_device"


def test_a_device_is_shown_with_its_measurements_and_history(state: State) -> None:
    push(state)
    meet(state, "a")
    version = VersionRef(release=1, digest=state.registry.version("m", 1).manifest.artifact.sha256)
    steady = ModelState(model="m", phase="steady", generation=1, stable=version, serving=version.digest)
    interval = ModelInterval(
        model="m", version=version, inferences=10, errors=1, labelled=8, correct=6, latency_counts=(0, 10)
    )
    head = {"protocol": 1, "device": "a", "boot": 1}
    telemetry = Telemetry(interval_s=1.0, intervals=(interval,), rss_mb=60.0, seq=3, **head)
    hear(state, Report(state=steady, seq=2, **head), telemetry)
    _, device = call(state, "GET", "/v1/devices/a")
    measured = device["models"][0]["measured"][0]
    assert (measured["accuracy"], measured["errors"], device["presence"], device["rss_mb"]) == (0.75, 1, "online", 60.0)
    assert [entry["report"]["seq"] for entry in device["history"]] == [2]


def test_a_controller_that_restarts_still_knows_versions_devices_and_rollouts(state: State) -> None:
    push(state)
    meet(state, "a", "b")
    call(state, "POST", "/v1/rollouts", json={"model": "m"})
    hear(state)
    state.close()
    again = open_state(state.config)
    assert again.world.durable.rollouts == state.world.durable.rollouts
    assert {name: twin.desired for name, twin in again.world.durable.twins.items()} == {
        name: twin.desired for name, twin in state.world.durable.twins.items()
    }
    assert again.trust_metadata.files == state.trust_metadata.files
    assert call(again, "GET", "/v1/devices/a")[1]["presence"] == "unknown"
    after = reconcile(again.world, [], time.time())
    assert (after.redesired, after.rollouts) == (frozenset(), ()), "a restart asks for nothing twice"
    again.close()


def test_the_openapi_document_describes_every_route(state: State) -> None:
    status, document = call(state, "GET", "/v1/openapi.json", headers=None)
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert document == json.loads(json.dumps(openapi()))
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    assert _references(document) <= {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(_references(inner) for inner in value.values()))
    return set().union(*(_references(inner) for inner in value)) if isinstance(value, list) else set()
