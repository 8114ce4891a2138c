"""The results of a look at a model's data become an alert, a device's health and a proposal to train again."""

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from msgspec.structs import replace

from contract.captured import Captured, CapturedRow
from contract.distributions import CONFIDENCE_EDGES, count, edges_of
from contract.messages import ModelInterval, ModelState, VersionRef
from controller import service
from controller.alerts.defaults import RULES
from controller.alerts.muting import Matcher
from controller.alerts.rule import MeasureName, Rule
from controller.alerts.state import QUALITY
from controller.config import Config, StorageConfig
from controller.drift.signals import Kind
from controller.events.notifier import Notifier
from controller.fleet.twin import Twin
from controller.retraining.policy import RetrainingPolicy
from controller.state import State, open_state
from controller.telemetry.counts import Counted
from controller.verbs import alerts, drift, retraining
from controller.verbs import push as push_verb
from tests.controller.registry_worlds import pushed
from tests.controller.test_api import call
from tests.edgeward.test_drift_commands import COLUMNS, WEEK_S, with_reference

DEVICES, WEEKS, ROWS = ("d0", "d1"), 13, 800
SURE_OF_NOW, LABELS = (0.5, 0.6), 2_000


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    """Two devices: the newest week has unsure answers and broken cells, the weeks before were normal."""
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    monkeypatch.setattr(made.deliveries, "begin", lambda model, manifest: None)

    async def run_conversion(*_: object, **__: object) -> Any:
        return with_reference()

    monkeypatch.setattr(push_verb, "run_conversion", run_conversion)
    pushed(made, tmp_path)
    plant(made)
    yield made
    made.close()


def plant(state: State) -> None:
    """Weeks of counts and of labels in the stores of a controller."""
    digest = state.registry.version("m", 1).manifest.artifact.sha256
    stable = ModelState(model="m", phase="steady", generation=1, stable=VersionRef(release=1, digest=digest))
    for device in DEVICES:
        state.world.durable.twins[device] = Twin(device, reported={"m": stable}, seen_at=time.time(), connected=True)
    state.telemetry.keep([_week(device, at) for device in DEVICES for at in range(WEEKS)])
    random = np.random.default_rng(5)
    for week in range(1, WEEKS):
        rows = [_labelled(float(sure), bool(random.random() < sure), week) for sure in random.uniform(0.5, 1.0, LABELS)]
        state.captures.keep([("d0", Captured(protocol=1, device="d0", boot=1, seq=week, rows=tuple(rows)))])


def _labelled(sure: float, right: bool, week: int) -> CapturedRow:
    return CapturedRow(
        at=time.time() - week * WEEK_S - 7200.0, model="m", release=1, why="sampled", inputs={"a": 1.0}, value="1",
        confidence=sure, label="1" if right else "0",
    )  # fmt: skip


def _week(device: str, at: int) -> Counted:
    random = np.random.default_rng([at, ord(device[-1])])
    features = {
        name: tuple(count(random.normal(2.0 * (at == 0 and name == "b"), 1, ROWS), edges_of(values)).tolist())
        for name, values in COLUMNS.items()
    }
    sure = random.uniform(*(SURE_OF_NOW if at == 0 else (0.5, 1.0)), ROWS)
    interval = ModelInterval(
        model="m", version=VersionRef(release=1, digest=""), inferences=ROWS, errors=0, features=features,
        outputs=tuple(count(sure, np.array(CONFIDENCE_EDGES)).tolist()), predictions={"0": 400, "1": 400},
        breaches={"c": (0, 160, 0, 0), "a": (0, 80, 0, 0)} if at == 0 else {},
    )  # fmt: skip
    return Counted(device, 1, at + 1, time.time() - at * WEEK_S - 3600.0, interval)


def at_once(state: State) -> None:
    """The rules that ship and read data, without the minute in which an alert is pending."""
    rules = tuple(replace(each, for_s=0.0) for each in RULES if each.measure in get_args(Kind))
    state.alerts.file = replace(state.alerts.file, rule=rules)


def look(state: State) -> None:
    async def looks() -> None:
        await drift.look_at_all(state, time.time())
        await alerts.look_again(state, Notifier((), Path(), lambda *_: None))

    state.alerts.next_look = 0.0
    asyncio.run(looks())


def firing(state: State) -> dict[str, str]:
    return {each.name: each.reading.detail for each in state.alerts.told()}


def test_signals_read_by_rules_have_the_names_of_their_measures() -> None:
    assert {"estimated_quality", "contract_breach_ratio"} <= set(get_args(Kind)) & set(get_args(MeasureName))
    assert set(get_args(MeasureName)) >= QUALITY


def test_a_planted_breach_and_a_planted_drop_of_quality_trip_both_shipped_rules(state: State) -> None:
    at_once(state)
    look(state)
    found = firing(state)
    assert found.keys() == {"DataContractBroken", "QualityDropped"}
    assert "320 of 1600 cells of c are out of range" in found["DataContractBroken"], "the worst column is named"
    assert "is the quality that is estimated" in found["QualityDropped"]


def test_a_service_evaluates_data_beside_its_passes_and_its_alerts_read_the_result(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(state)
    monkeypatch.setattr(service, "TEND_S", 0.01)

    async def life() -> None:
        running = service.Service(state)
        watch = asyncio.create_task(running._watch())
        while not state.data_looks:
            await asyncio.sleep(0.01)
        state.alerts.next_look = 0.0
        await running._judge_alerts()
        watch.cancel()

    asyncio.run(asyncio.wait_for(life(), 20))
    assert firing(state).keys() == {"DataContractBroken", "QualityDropped"}


def test_an_alert_about_data_stays_after_a_restart_until_the_data_were_evaluated(state: State) -> None:
    at_once(state)
    look(state)
    state.data_looks.clear()
    state.started_at = time.time() + 1
    facts = alerts.alert_facts(state)
    kept = alerts._judged(
        state.alerts, dataclasses.replace(facts, now=facts.now + 3600.0), dict(state.alerts.records.active)
    )
    assert {each.name for each in kept.active.values()} == {"DataContractBroken", "QualityDropped"}
    state.data_looks["m"] = None
    over = alerts._judged(
        state.alerts, dataclasses.replace(alerts.alert_facts(state), now=facts.now + 3600.0), kept.active
    )
    assert {each.state for each in over.changed} == {"resolved"}


def test_an_alert_changes_the_health_of_its_device_until_it_is_silenced(state: State) -> None:
    state.world.durable.twins["d0"] = replace(state.world.durable.twins["d0"], seen_at=time.time() - 900)
    rule = Rule(name="DeviceUnheard", measure="unheard_s", above=300.0)
    state.alerts.file = replace(state.alerts.file, rule=(rule,))
    state.started_at = time.time() - 5000
    look(state)

    def health(device: str) -> tuple[str, str]:
        found = call(state, "GET", f"/v1/devices/{device}")[1]
        return found["health"], found["why"]

    word, why = health("d0")
    assert (word, why.startswith("alert DeviceUnheard: ")) == ("attention", True)
    assert health("d1")[0] != "attention"
    quiet = alerts.silence(
        state, (Matcher("device", "d0"),), time.time(), time.time() + 3600, "a new mast", actor="ada"
    )
    assert health("d0")[0] == "silent", "what is silenced is known, so it colours nothing"
    alerts.unsilence(state, quiet.id, actor="ada")
    assert health("d0")[0] == "attention"
    state.world.durable.twins["d0"] = replace(state.world.durable.twins["d0"], seen_at=time.time())
    look(state)
    assert health("d0")[0] != "attention", "it is resolved"


def test_an_alert_about_quality_proposes_a_training_and_the_decision_names_what_moved(state: State) -> None:
    at_once(state)
    retraining.set_policy(state, "m", RetrainingPolicy(), actor="ada")
    retraining.look(state, time.time())
    assert state.retrainings.decisions("m") == [], "nothing proposes"
    look(state)
    retraining.look(state, time.time())
    (decision,) = state.retrainings.decisions("m")
    assert [each.trigger for each in decision.proposals] == ["alert"]
    assert (decision.word, decision.reason) == ("no", "too_few_labels"), "a proposal decides nothing"
    said = " ".join(call(state, "GET", "/v1/models/m/retraining/explain")[1]["sentences"])
    assert "Proposed by alert: QualityDropped: m: 0." in said
    assert "; what moved: confidence (" in said
    assert "b (" in said
    assert "c (" not in said, "what has not moved is no cause"


def test_a_silenced_alert_proposes_no_training(state: State) -> None:
    at_once(state)
    retraining.set_policy(state, "m", RetrainingPolicy(), actor="ada")
    look(state)
    alerts.silence(state, (Matcher("model", "m"),), time.time(), time.time() + 3600, "known", actor="ada")
    retraining.look(state, time.time())
    assert state.retrainings.decisions("m") == []


def test_unreadable_data_of_one_model_do_not_hide_those_of_other_models(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once(state)
    pushed(state, tmp_path, model="another")
    whole = drift.look

    async def fails_for_one(state: State, model: str, *rest: Any) -> Any:
        if model == "another":
            raise ZeroDivisionError
        return await whole(state, model, *rest)

    monkeypatch.setattr(drift, "look", fails_for_one)
    look(state)
    assert state.data_looks.keys() == {"another", "m"}
    assert state.data_looks["another"] is None
    assert len(firing(state)) == 2
