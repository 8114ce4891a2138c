"""Rollouts on real processes: a slow model stops at the canary; a policy rolls out; webhooks are called."""

import itertools
import json
import threading
import time
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgeward.answers.rollouts import Event
from edgeward.client import Client
from edgeward.demo.models import FIRST_YEAR, load_weather, train_better, train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker

AT_ONCE = {"name": "at_once", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 10}}
CAREFUL = {
    "name": "careful",
    "waves": [{"percent": 20, "soak_s": 120.0}, {"percent": 100}],
    "rules": [{"metric": "latency_ratio_p95", "threshold": 2.0, "min_samples": 50, "on_fail": "pause"}],
    "trial": {"soak_s": "2", "min_samples": 10, "max_accuracy_drop": "0.5"},
}
AGENTS = 5


def train_slow() -> tuple[Any, Any]:
    """A model that is accurate enough and many times slower than the first: four million weights for eight columns."""
    from sklearn.neural_network import MLPClassifier

    features, rain = load_weather()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence is not needed
        model = MLPClassifier((2000, 2000), max_iter=2, random_state=0).fit(features[:FIRST_YEAR], rain[:FIRST_YEAR])
    return model, features[:FIRST_YEAR]  # to compare a sample of twelve years would take half a minute


def fleet(tmp_path: Path, agents: int, tables: str = "") -> tuple[Site, Client]:
    site = Site(tmp_path / "site", rate_hz=25.0, controller_tables=tables)
    client = site.start_controller()
    for number in range(1, agents + 1):
        site.start_agent(number)
    wait_for("every device", lambda: len(client.devices()) == agents, within_s=90)
    return site, client


def releases(client: Client) -> list[int]:
    """Returns the confirmed version of each device."""
    models = [device.models[0] for device in client.devices() if device.models]
    return sorted(model.stable_release or 0 for model in models)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_slow_model_stops_at_the_canary_with_a_reason_and_is_rolled_back(tmp_path: Path) -> None:
    site, client = fleet(tmp_path, AGENTS)
    try:
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        assert client.rollout("weather", strategy=AT_ONCE).wait(timeout_s=90).status == "completed"
        model, sample = train_slow()
        client.push(model, name="weather", sample=sample)
        plan = client.plan("weather", strategy=CAREFUL)
        assert [wave.devices for wave in plan.waves] == [1, AGENTS - 1]
        handle = client.rollout("weather", strategy=CAREFUL, plan_digest=plan.plan_digest)
        wait_for("the stop", lambda: handle.show().status == "paused", within_s=90)
        why = handle.explain().sentences[1]
        assert why.startswith("It is paused, because latency_ratio_p95: p95 ")
        assert why.endswith("resume, abort or roll it back.")
        assert releases(client).count(2) <= 1, "only the canary has it"
        assert handle.resume().status == "running"
        assert handle.rollback().status == "rolling_back"
        assert handle.wait(timeout_s=60).status == "rolled_back"
        assert releases(client) == [1] * AGENTS
        canary = next(member.device for member in handle.show().members if member.wave == 0)
        assert f"by rollout {handle.id} rolling v2 back" in client.why(canary).sentences[-1]
    finally:
        site.stop()


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        heard = self.server.heard  # type: ignore[attr-defined]
        heard.append((self.headers["Content-Type"], json.loads(body)))
        self.send_response(503 if len(heard) == 1 else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Writes no log line."""


@pytest.fixture
def hook() -> Iterator[Any]:
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    server.heard = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.timeout(180)
def test_a_policy_rolls_out_versions_that_pass_their_gates_and_webhooks_are_called(tmp_path: Path, hook: Any) -> None:
    tables = f'[events]\nwebhooks = ["http://127.0.0.1:{hook.server_port}/"]\n'
    site, client = fleet(tmp_path, 2, tables)
    streamed: list[Event] = []
    threading.Thread(target=lambda: streamed.extend(_until_end(client)), daemon=True).start()
    try:
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        client.deploy("weather", strategy=AT_ONCE)
        wait_for("version 1", lambda: releases(client) == [1, 1], within_s=60)
        model, sample = train_better()
        client.push(model, name="weather", sample=sample)
        wait_for("version 2 without a command", lambda: releases(client) == [2, 2], within_s=60)
        wait_for("its end", lambda: {rollout.status for rollout in client.rollouts()} == {"completed"}, within_s=60)
        site.start_agent(3)
        wait_for("a device that joined later", lambda: releases(client) == [2, 2, 2], within_s=60)
        ends = ["dev.edgeward.rollout.running", "dev.edgeward.rollout.completed"] * 2
        wait_for("the webhook", lambda: len(_of_rollouts(hook.heard[1:])) >= 4, within_s=30)
        assert hook.heard[0] == hook.heard[1], "an event that was not accepted is sent again before newer ones"
        assert _of_rollouts(hook.heard[1:]) == ends
        assert {kind for kind, _ in hook.heard} == {"application/cloudevents+json"}
        wait_for("the stream", lambda: [event.type for event in streamed] == ends, within_s=10)
        again = _rollout_events(client, after=streamed[1].id)
        assert [next(again).id for _ in range(2)] == [event.id for event in streamed[2:]]
        client.end_deployment("weather")
        assert client.deployments() == {}
    finally:
        site.stop()


OF_ROLLOUTS = "dev.edgeward.rollout."


def _of_rollouts(heard: list[Any]) -> list[str]:
    return [event["type"] for _, event in heard if event["type"].startswith(OF_ROLLOUTS)]


def _rollout_events(client: Client, **after: str) -> Iterator[Event]:
    return (event for event in client.events(**after) if event.type.startswith(OF_ROLLOUTS))


def _until_end(client: Client) -> Iterator[Event]:
    yield from itertools.islice(_rollout_events(client), 4)


@pytest.mark.timeout(120)
def test_a_first_release_aborted_on_trial_is_removed_and_may_be_offered_again(tmp_path: Path) -> None:
    site, client = fleet(tmp_path, 1)
    try:
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        patient = AT_ONCE | {"trial": {"soak_s": "600", "min_samples": 10}}
        handle = client.rollout("weather", strategy=patient)
        wait_for("the trial", lambda: handle.show().members[0].phase == "trial", within_s=60)
        handle.abort()
        assert handle.wait(timeout_s=60).status == "aborted"
        state = client.device("device-1").models[0].state
        assert (state.phase, state.trial, state.serving) == ("steady", None, "")
        assert client.rollout("weather", strategy=AT_ONCE).wait(timeout_s=60).status == "completed"
        assert client.device("device-1").dropped.get("internal_errors", 0) == 0
    finally:
        site.stop()


@pytest.mark.timeout(120)
def test_a_rollout_waits_for_an_application_that_holds_updates(tmp_path: Path) -> None:
    site, client = fleet(tmp_path, 1)
    hold = tmp_path / "site" / "device-1" / "state" / "hold-updates"
    hold.touch()
    try:
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        handle = client.rollout("weather", strategy=AT_ONCE)
        wait_for("the wait", lambda: handle.show().members[0].phase == "ready", within_s=60)
        member = handle.show().members[0]
        assert (member.code, "for at most 8" in member.detail) == ("update_held", True)
        time.sleep(2.0)
        assert releases(client) == [0]
        hold.unlink()
        assert handle.wait(timeout_s=60).status == "completed"
    finally:
        site.stop()
