"""One model's retraining through the API: proposal, decision, claim, candidate, gate; and every failure."""

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from contract.captured import Captured, CapturedRow
from contract.errors import BadInput, Code
from contract.messages import ModelInterval, ModelState, VersionRef
from controller.config import Config, StorageConfig
from controller.fleet.twin import Twin
from controller.gates.champion import judge_champion
from controller.gates.evidence import ChampionRule
from controller.gates.evidence import HeldOut as Judged
from controller.registry.retrainings import Retrainings
from controller.registry.version import Told
from controller.retraining.model import Decision, Proposal, Retrained
from controller.retraining.policy import Limits, Quality, RetrainingPolicy
from controller.state import State, open_state
from controller.telemetry.counts import Counted
from controller.verbs import data_sets, erasures, retraining
from controller.verbs.erasures import ErasureWanted
from controller.verbs.gates import Brought
from edgeward.held_out import HeldOut
from edgeward.retraining.candidate import with_never_forget
from tests.controller.registry_worlds import plant, pushed, threshold_model
from tests.controller.test_api import call

__all__ = ["plant"]
TRUE, WORSE = (1.0, 1.0, 1.0), (1.0, 1.0, -1.0)
X = np.random.default_rng(1).normal(size=(400, 3)).astype(np.float32)
Y = (X.sum(axis=1) > 0).astype(np.int64)
TIMES = np.arange(400.0) + 1000
NEWEST = HeldOut(X, Y, times=TIMES, trained_until=1)
POLICY = RetrainingPolicy(
    quality=Quality(block_s=60.0, reference_blocks=1, recent_blocks=1), limits=Limits(cool_down_s=3600.0)
)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    yield made
    made.close()


@pytest.fixture
def fleet(state: State, plant: Any, tmp_path: Path) -> State:
    """Three devices that serve v1, which was always right at first and is right in 60 % of answers now."""
    plant(threshold_model(WORSE))
    pushed(state, tmp_path)
    v1 = state.registry.version("m", 1)
    stable = ModelState(
        model="m", phase="steady", generation=1, stable=VersionRef(release=1, digest=v1.manifest.artifact.sha256)
    )
    counted = []
    for number in range(3):
        state.world.durable.twins[f"d{number}"] = Twin(f"d{number}", reported={"m": stable})
        for seq, (at, correct) in enumerate(((time.time() - 60, 200), (time.time(), 120)), 1):
            interval = ModelInterval(
                model="m", version=stable.stable, inferences=200, errors=0, labelled=200, correct=correct  # type: ignore[arg-type]
            )  # fmt: skip
            counted.append(Counted(f"d{number}", 1, seq, at, interval))
    state.telemetry.keep(counted)
    retraining.set_policy(state, "m", POLICY, actor="ada")
    return state


def brought(directory: Path, rows: HeldOut = NEWEST) -> Brought:
    path = directory / "held_out"
    path.write_bytes(rows.encode())
    return Brought(held_out=path)


def claimed(state: State) -> str:
    retraining.look(state, time.time())
    found = call(state, "POST", "/v1/retraining/claim", json={"worker": "lab", "models": ["m"]})[1]["retraining"]
    assert found["status"] == "running"
    return str(found["id"])


def test_a_drop_leads_to_a_proposal_a_claim_a_better_candidate_and_a_version(
    fleet: State, plant: Any, tmp_path: Path
) -> None:
    name = claimed(fleet)
    assert call(fleet, "POST", f"/v1/retraining/{name}/heard", json={"worker": "lab", "step": "train"})[0] == 200
    plant(threshold_model(TRUE))
    version = pushed(fleet, tmp_path, brought=brought(tmp_path), retrained=Retrained(name, 12.0)).version
    assert version.passed
    found = call(fleet, "GET", f"/v1/retraining/{name}")[1]
    assert (found["status"], found["release"], found["training_s"], found["step"]) == ("passed", 2, 12.0, "train")
    assert found["gain"]["low"] > 0.2
    said = call(fleet, "GET", f"/v1/retraining/{name}/explain")[1]["sentences"]
    assert any(sentence.startswith("Proposed by decay: labelled quality fell by 40.0 points") for sentence in said)
    actions = [entry["action"] for entry in fleet.journal.audit_entries(20) if entry["subject"] == name]
    assert actions == ["retraining passed", "retraining begin", "retraining approved"]
    again = call(fleet, "POST", "/v1/models/m/retraining/propose", json={"detail": "once more"})[1]
    assert again["detail"] == "v2 has passed its gates and is on its way to the fleet"


def test_a_worse_candidate_is_stopped_and_cannot_be_rolled_out(fleet: State, plant: Any, tmp_path: Path) -> None:
    name = claimed(fleet)
    plant(threshold_model((-1.0, -1.0, -1.0)))
    with pytest.raises(BadInput) as refused:
        pushed(fleet, tmp_path, brought=brought(tmp_path), retrained=Retrained(name))
    assert refused.value.code == Code.GATES_NOT_PASSED
    found = call(fleet, "GET", f"/v1/retraining/{name}")[1]
    assert found["status"] == "stopped"
    assert "it does not beat v1 on the newest 400 rows" in found["detail"]
    assert fleet.trust_metadata.signed("m") == {1}
    again = call(fleet, "POST", "/v1/models/m/retraining/propose", json={"detail": "once more"})[1]
    assert (again["word"], again["reason"]) == ("wait", "cool_down")


def test_a_candidate_worse_on_the_fixed_set_is_stopped_although_it_is_better_on_the_newest_rows(
    fleet: State, plant: Any, tmp_path: Path
) -> None:
    name = claimed(fleet)
    old = (X @ np.array(WORSE) > 0).astype(np.int64)
    rows = with_never_forget(NEWEST, X[:100], old[:100])
    plant(threshold_model(TRUE))
    with pytest.raises(BadInput, match=r"it forgets: -\d+\.\d points on 100 rows that it must never forget"):
        pushed(fleet, tmp_path, brought=brought(tmp_path, rows), retrained=Retrained(name))


def backtested(answers: Any, *, until: float = 999.0, fits: float = 999.0) -> HeldOut:
    """The newest rows with answers of earlier fits, which had learned rows until `fits`; the version until `until`."""
    return HeldOut(X, Y, TIMES, until, answers=answers, fitted_until=np.full(len(X), fits))


def test_a_candidate_that_has_learned_its_held_out_rows_is_judged_by_the_answers_of_its_earlier_fits(
    fleet: State, plant: Any, tmp_path: Path
) -> None:
    name = claimed(fleet)
    plant(threshold_model(TRUE))
    rows = backtested(Y, until=float(TIMES[-1]))
    version = pushed(fleet, tmp_path, brought=brought(tmp_path, rows), retrained=Retrained(name)).version
    assert version.passed
    kept = {each.gate: each.evidence for each in version.gates}
    assert kept["split"]["trained_until_s"] == TIMES[-1]
    assert kept["champion"]["gain"] > 0.2


@pytest.mark.parametrize(
    ("weights_rows", "words"),
    [
        ((TRUE, backtested(1 - Y)), "it does not beat v1 on the newest 400 rows"),
        ((WORSE, backtested(Y)), r"the version is \d+\.\d points worse than the earlier fits of its backtest"),
        ((TRUE, backtested(Y, fits=1100.0)), "101 of 400 held-out rows are not later than the last training row"),
    ],
)
def test_a_backtest_is_refused_if_its_fits_lose_or_its_version_is_unlike_them_or_they_have_learned_its_rows(
    weights_rows: tuple[tuple[float, float, float], HeldOut], words: str, fleet: State, plant: Any, tmp_path: Path
) -> None:
    name, (weights, rows) = claimed(fleet), weights_rows
    plant(threshold_model(weights))
    with pytest.raises(BadInput, match=words):
        pushed(fleet, tmp_path, brought=brought(tmp_path, rows), retrained=Retrained(name))


def test_rows_that_the_champion_has_learned_do_not_count(fleet: State, plant: Any, tmp_path: Path) -> None:
    """The champion answers its own training rows better than it will ever answer new ones."""
    learned = 200
    rows = Judged(
        task="classification",
        labels=Y,
        answers=np.where(np.arange(400) < learned, 1 - Y, Y),
        champion=np.where(np.arange(400) < learned, Y, np.zeros_like(Y)),
        champion_name="v1",
        times=TIMES,
    )
    assert not judge_champion(ChampionRule(), rows, None, "").passed
    told = dataclasses.replace(rows, champion_until=float(TIMES[learned - 1]))
    verdict = judge_champion(ChampionRule(), told, None, "")
    assert verdict.passed
    assert verdict.evidence["rows"] == 200
    all_learned = dataclasses.replace(rows, champion_until=float(TIMES[-1]))
    assert judge_champion(ChampionRule(), all_learned, None, "").detail.startswith("0 held-out rows are too few")


def test_only_the_agreed_fixed_set_counts(fleet: State, plant: Any, tmp_path: Path) -> None:
    rule = ChampionRule(never_forget_sha256="ab" * 32)
    retraining.set_policy(fleet, "m", replace(POLICY, champion=rule), actor="ada")
    name = claimed(fleet)
    plant(threshold_model(TRUE))
    rows = with_never_forget(NEWEST, X[:100], Y[:100])
    with pytest.raises(BadInput, match="the rows that it must never forget are not the agreed ones"):
        pushed(fleet, tmp_path, brought=brought(tmp_path, rows), retrained=Retrained(name))


def test_a_failing_pipeline_names_its_step_and_the_champion_stays(fleet: State) -> None:
    name = claimed(fleet)
    body = {"worker": "lab", "step": "train", "detail": "raised ValueError: no rows", "log": "Traceback ..."}
    assert call(fleet, "POST", f"/v1/retraining/{name}/failed", json=body)[0] == 200
    found = call(fleet, "GET", f"/v1/retraining/{name}")[1]
    assert (found["status"], found["step"], found["log"]) == ("failed", "train", "Traceback ...")
    again = call(fleet, "POST", f"/v1/retraining/{name}/failed", json=body)
    assert (again[0], again[1]["code"]) == (409, "retraining_conflict")


def test_the_death_of_a_worker_ends_its_attempt_and_its_late_push_is_refused(
    fleet: State, plant: Any, tmp_path: Path
) -> None:
    name = claimed(fleet)
    retraining.look(fleet, time.time() + 121)
    found = call(fleet, "GET", f"/v1/retraining/{name}")[1]
    assert (found["status"], found["detail"]) == ("failed", "the worker lab fell silent before its first step")
    plant(threshold_model(TRUE))
    with pytest.raises(BadInput, match=f"{name} is failed, and not running"):
        pushed(fleet, tmp_path, brought=brought(tmp_path), retrained=Retrained(name))
    assert fleet.registry.newest("m").release == 1  # type: ignore[union-attr]


def test_two_workers_never_train_one_attempt(fleet: State) -> None:
    name = claimed(fleet)
    body = {"worker": "other", "models": ["m"]}
    assert call(fleet, "POST", "/v1/retraining/claim", json=body)[1]["retraining"] is None
    stranger = call(fleet, "POST", f"/v1/retraining/{name}/heard", json={"worker": "other", "step": ""})
    assert (stranger[0], stranger[1]["detail"]) == (409, f"{name} is run by lab: two pipelines at once")


def test_many_proposals_are_one_row_one_event_and_no_training(fleet: State) -> None:
    name = claimed(fleet)
    body = {"worker": "lab", "step": "train", "detail": "no rows"}
    call(fleet, "POST", f"/v1/retraining/{name}/failed", json=body)
    before = len(fleet.events._kept)
    for _ in range(50):
        answer = call(fleet, "POST", "/v1/models/m/retraining/propose", json={"detail": "again!"})[1]
        assert (answer["word"], answer["reason"]) == ("wait", "cool_down")
    rows = call(fleet, "GET", "/v1/retraining/decisions?model=m")[1]
    assert (rows[0]["times"], rows[0]["reason"], len(rows)) == (50, "cool_down", 2)
    told = [event.type for event in list(fleet.events._kept)[before:]]
    assert [kind for kind in told if ".audit." not in kind] == ["dev.edgeward.retraining.held_back"]
    assert len(fleet.retrainings.attempts("m")) == 1


def test_a_person_approves_or_declines_if_the_policy_requires_it(fleet: State) -> None:
    retraining.set_policy(fleet, "m", replace(POLICY, approval=True), actor="ada")
    retraining.look(fleet, time.time())
    (waiting,) = call(fleet, "GET", "/v1/retraining")[1]
    assert waiting["status"] == "proposed"
    claim = {"worker": "lab", "models": ["m"]}
    assert call(fleet, "POST", "/v1/retraining/claim", json=claim)[1]["retraining"] is None
    path = f"/v1/retraining/{waiting['id']}"
    assert call(fleet, "POST", f"{path}/decline", json={"reason": "stock-taking"})[1]["status"] == "declined"
    assert call(fleet, "POST", f"{path}/approve")[1]["code"] == "retraining_conflict"


def test_without_a_policy_or_devices_the_answer_says_what_to_do(state: State, plant: Any, tmp_path: Path) -> None:
    plant(threshold_model(TRUE))
    pushed(state, tmp_path)
    status, answer = call(state, "GET", "/v1/models/m/retraining")
    assert (status, answer["code"]) == (404, "unknown_retraining")
    assert "edgeward retrain policy m --set FILE" in answer["detail"]
    retraining.set_policy(state, "m", POLICY, actor="ada")
    retraining.look(state, time.time())
    answer = call(state, "POST", "/v1/models/m/retraining/propose", json={"detail": "now"})[1]
    assert answer["code"] == "not_serving"
    assert call(state, "PUT", "/v1/models/m/retraining", json={"triggres": {}})[1]["code"] == "message_malformed"


def test_decisions_and_attempts_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "retraining.sqlite"
    kept = Retrainings(path)
    decision = Decision(5.0, "m", 1, "no", "gain_not_shown", (Proposal("time", "30 days"),), "not shown")
    assert kept.note(decision)
    assert not kept.note(replace(decision, at=6.0))
    kept.close()
    again = Retrainings(path)
    (found,) = again.decisions("m")
    assert (found.times, found.at) == (2, 6.0)
    assert again.note(replace(decision, reason="cool_down"))
    again.close()


def test_the_champion_gate_counts_blocks_of_time_not_rows() -> None:
    rng = np.random.default_rng(0)
    labels, times = np.ones(800, dtype=np.int64), np.arange(800.0)
    champion = (rng.random(800) < 0.8).astype(np.int64)
    steady = np.where(rng.random(800) < 0.4, 1, champion)
    bursts = np.where((times < 100) | (rng.random(800) < 0.02), 1, champion)
    judged = [
        judge_champion(ChampionRule(), Judged("classification", labels, answers, champion, "v1", {}, times), None, "")
        for answers in (steady, bursts)
    ]
    assert [verdict.passed for verdict in judged] == [True, False], "one good week of eight is no better model"
    assert judged[1].evidence["gain"] > 0.02
    alone = Judged("classification", labels, steady, None, "", {}, times)
    assert "the champion does not answer" in judge_champion(ChampionRule(), alone, None, "").detail


def kept_rows(state: State, device: str, *keys: str) -> None:
    rows = tuple(
        CapturedRow(
            at=float(at), model="m", release=1, why="sampled", inputs={"x": float(at)}, value="1", id=f"{device}-{at}",
            key=key,
        )
        for at, key in enumerate(keys)
    )  # fmt: skip
    state.captures.keep([(device, Captured(protocol=1, device=device, boot=1, seq=1, rows=rows))])


def test_a_candidate_trained_on_rows_that_were_deleted_since_is_stopped_by_name(
    fleet: State, plant: Any, tmp_path: Path
) -> None:
    kept_rows(fleet, "d0", "ada", "ada", "kim")
    asyncio.run(data_sets.make(fleet, "rows", data_sets.RowsWanted("m"), actor="ada"))
    asyncio.run(erasures.request(fleet, ErasureWanted("before", devices=("d1",)), actor="ada"))
    name = claimed(fleet)
    wanted = ErasureWanted("a person asked", keys=("ada",))
    order = asyncio.run(erasures.request(fleet, wanted, actor="ada")).order.id
    plant(threshold_model(TRUE))
    told = Told(data_sets=("rows@1", "elsewhere@7"))
    with pytest.raises(BadInput, match="trained on deleted rows: rows@1: 2 rows by deletion"):
        pushed(fleet, tmp_path, brought=brought(tmp_path), retrained=Retrained(name), told=told)
    found = call(fleet, "GET", f"/v1/retraining/{name}")[1]
    assert (found["status"], order in found["detail"]) == ("stopped", True)
    assert fleet.trust_metadata.signed("m") == {1}, "the champion goes on serving"


def test_a_deletion_before_the_training_stops_no_candidate_and_a_data_set_without_rows_stops_every_one(
    fleet: State, plant: Any, tmp_path: Path
) -> None:
    kept_rows(fleet, "d0", "ada", "ada", "kim")
    asyncio.run(data_sets.make(fleet, "rows", data_sets.RowsWanted("m"), actor="ada"))
    asyncio.run(erasures.request(fleet, ErasureWanted("a person asked", keys=("ada",)), actor="ada"))
    name = claimed(fleet)
    plant(threshold_model(TRUE))
    told = Told(data_sets=("rows@1",))
    found = pushed(fleet, tmp_path, brought=brought(tmp_path), retrained=Retrained(name), told=told).version
    assert (
        next(each.detail for each in found.gates if each.gate == "deleted_data") == "no row that it names was deleted"
    )
    data_sets.delete(fleet, "rows@1", actor="ada")
    plant(threshold_model(WORSE[::-1]))
    with pytest.raises(BadInput, match=r"rows@1: all rows at .*, deleted by ada"):
        pushed(fleet, tmp_path, told=told)
