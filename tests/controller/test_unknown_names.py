"""A caller that names an unknown device, model, rollout, token or data set gets an error, on every route."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from yarl import URL

from contract.errors import BadInput
from controller.api.route import Route
from controller.api.routes import ROUTES
from controller.config import Config, StorageConfig
from controller.state import State, open_state
from controller.verbs import devices
from tests.controller.test_api import AUTH, meet, push, talk

pytestmark = pytest.mark.usefixtures("conversions_kept")

GONE, NUMBER = "gone", "7"
MAKES = {
    ("POST", "/v1/models/{model}/versions"),
    ("POST", "/v1/models/{model}/try"),
    ("PUT", "/v1/models/{model}/gates"),
    ("POST", "/v1/devices/{device}/claim"),
    ("PUT", "/v1/selectors/{selector}"),
    ("PUT", "/v1/runs/{run}"),
    ("PUT", "/v1/rollout-templates/{template}"),
}
"""Routes that give a name for the first time. Limits are set before a model's first version is judged by them."""
BODIES: dict[str, Any] = {
    "AliasRequest": {"version": "1"},
    "ApprovalRequest": {"plan_digest": "0" * 64},
    "CleanRequest": {"keep": 1},
    "DeclineRequest": {},
    "DeploymentRequest": {"strategy": "all_at_once"},
    "FailedRequest": {"worker": "w"},
    "HeardRequest": {"worker": "w"},
    "JudgeRequest": {},
    "LabelsRequest": {"labels": []},
    "NoteRequest": {"text": "x"},
    "ProposeRequest": {"detail": "x"},
    "Retirement": {},
    "RetrainingPolicy": {},
    "ReviewRequest": {"who": "ada", "text": "x"},
    "RowsWanted": {"model": GONE},
    "Seen": {},
    "TagsRequest": {"tags": {"a": "b"}},
    "TextRequest": {"text": "x"},
    "TicketRequest": {"ticket": "https://tickets.example/1"},
    "WaiveRequest": {"gate": "parity", "reason": "it is known"},
    "WithdrawRequest": {"reason": "x"},
}
"""A legal body for each route that takes one and names something in its path."""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    push(made)
    meet(made, "a")
    yield made
    made.close()


def path_of(route: Route) -> str:
    """The route with a name that is legal and not there, for each name that it takes."""
    if route.path.startswith("/v1/blobs/"):
        return f"/v1/blobs/{'a' * 64}"
    numbers = re.sub(r"{(release|version|before|after|serial)}", NUMBER, route.path)
    query = "?verb=pause" if numbers.endswith("/preview") else ""
    return re.sub(r"{\w+}", GONE, numbers) + query


def test_every_route_refuses_an_unknown_name(state: State) -> None:
    named = [route for route in ROUTES if "{" in route.path and (route.method, route.path) not in MAKES]

    async def script(client: TestClient) -> dict[str, tuple[int, str]]:
        answers = {}
        for route in named:
            body = {"json": BODIES[route.takes.__name__]} if route.takes is not None else {}
            answer = await client.request(route.method, path_of(route), headers=AUTH, **body)
            answers[f"{route.method} {route.path}"] = (answer.status, await answer.text())
        return answers

    for route, (status, text) in talk(state, script).items():
        assert status == 404 or (status == 422 and re.search(r'"no (trusted )?\w+ ', text)), (route, status, text[:200])


HOSTILE = ("..%2F..%2Fescaped", "%2Fetc%2Fescaped", "a%00escaped", "%2e%2e", "..%5Cescaped", "x" * 3000)
"""Names that lead upwards, begin at the root, end a C string, are of another system, or fit into no file name."""


def files_of(directory: Path) -> set[Path]:
    return {each for each in directory.rglob("*") if each.is_file()}


def test_no_route_accepts_a_name_that_is_a_path(state: State, tmp_path: Path) -> None:
    named = [route for route in ROUTES if "{" in route.path]
    before = files_of(tmp_path.parent)

    async def script(client: TestClient) -> dict[str, tuple[int, str]]:
        answers = {}
        for number, route in enumerate(named):
            body = {"json": BODIES.get(route.takes.__name__, {})} if route.takes is not None else {}
            for name in (HOSTILE[number % len(HOSTILE)], HOSTILE[(number + 1) % len(HOSTILE)]):
                path = re.sub(r"{\w+}", name, route.path)
                answer = await client.request(route.method, URL(path, encoded=True), headers=AUTH, **body)
                answers[f"{route.method} {path[:100]}"] = (answer.status, await answer.text())
        return answers

    for asked, (status, text) in talk(state, script).items():
        assert 400 <= status < 500, (asked, status, text[:200])
    made = {each.relative_to(tmp_path.parent) for each in files_of(tmp_path.parent) - before}
    assert not [each for each in made if "escaped" in str(each)]


def test_unknown_models_of_lists_and_devices_of_calls_are_refused_too(state: State) -> None:
    async def script(client: TestClient) -> list[int]:
        lists = [f"/v1/retraining?model={GONE}", f"/v1/retraining/decisions?model={GONE}"]
        found = [(await client.get(path, headers=AUTH)).status for path in lists]
        for path, body in (("/v1/rollouts", {"model": GONE}), ("/v1/rollouts/plan", {"model": GONE})):
            found.append((await client.post(path, headers=AUTH, json=body)).status)
        return found

    assert set(talk(state, script)) == {404}


def test_a_revocation_of_an_unknown_name_is_refused_and_not_audited(state: State) -> None:
    with pytest.raises(BadInput, match="unknown_device: no device 'gone'"):
        asyncio.run(devices.revoke(state, GONE, actor="ada"))
    assert asyncio.run(devices.revoke(state, "a", actor="ada")) == 0, "it has reported, and has no certificate"
    devices.claim(state, "b", actor="ada")
    assert asyncio.run(devices.revoke(state, "b", actor="ada")) == 0, "it ends a claim that nobody has used"
    assert [entry["subject"] for entry in state.journal.audit_entries() if entry["action"] == "device revoke"] == [
        "b",
        "a",
    ]


def test_an_unknown_device_does_not_stop_the_end_of_other_quarantines(state: State) -> None:
    state.world.durable.quarantine["a"] = {("m", 1): "x"}  # type: ignore[dict-item]
    with pytest.raises(BadInput, match="'gone' has reported; 1 versions may be offered to the other 1 again"):
        devices.unquarantine(state, "a", GONE, actor="ada")
    assert "a" not in state.world.durable.quarantine
