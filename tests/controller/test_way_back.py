"""The way back: for which devices a roll back waits and how long, and that it leads only to what the registry holds."""

import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.messages import VersionRef
from controller.clock import today
from controller.config import Config, StorageConfig
from controller.fleet.twin import PresenceWord
from controller.gates.verdict import GateVerdict
from controller.reconcile.decisions import reconcile
from controller.reconcile.membership import confirmed_versions, facts_of
from controller.reconcile.preview import plan_rollout, preview
from controller.reconcile.world import Durable, World
from controller.registry.version import Lineage, Version
from controller.rollout.decide import ABSENT_S, awaited, decide, waits_for_absentees_only
from controller.rollout.explain import explain
from controller.rollout.rows import Rows
from controller.state import open_state
from controller.verbs import rollouts
from tests.controller.rollout_worlds import CANARY, DEVICES, NEW, STRATEGY, fact, facts, rollout
from tests.controller.test_rollout_plan import MANIFEST, MODEL, twin


@pytest.mark.parametrize("presence", ["unknown", "silent"])
def test_a_roll_back_does_not_wait_forever_for_an_absent_device(presence: PresenceWord) -> None:
    holding = fact(CANARY, assigned=1, stable=2, presence=presence)
    began = decide(rollout(status="rolling_back"), facts(**{CANARY: holding}), Rows(), 50.0).rollout
    assert (began.status, began.returning_since) == ("rolling_back", 50.0), "a controller that starts has heard nobody"
    patience_s = min(ABSENT_S, STRATEGY.deadline_s)
    for waited_s, status in ((patience_s, "rolling_back"), (patience_s + 1, "rolled_back")):
        assert decide(began, facts(**{CANARY: holding}), Rows(), 50.0 + waited_s).rollout.status == status


def test_a_roll_back_waits_for_a_present_device_until_its_deadline() -> None:
    holding = facts(**{CANARY: fact(CANARY, assigned=1, stable=2)})
    began = decide(rollout(status="rolling_back"), holding, Rows(), 50.0).rollout
    assert decide(began, holding, Rows(), 50.0 + STRATEGY.deadline_s).rollout == began
    ended = decide(began, holding, Rows(), 51.0 + STRATEGY.deadline_s).rollout
    assert (ended.status, ended.returning_since) == ("rolled_back", None)


def test_explain_names_up_to_three_devices_that_a_roll_back_waits_for() -> None:
    made = rollout(status="rolling_back", wave=1, returning_since=0.0)
    world = {device: fact(device, assigned=1, stable=2, presence="silent") for device in DEVICES}
    said = explain(made, world, (), 1.0)[-1]
    first = [member.device for member in made.members]
    assert said == (
        f"It waits for {first[0]} (silent), {first[1]} (silent), {first[2]} (silent) and 2 more. "
        "A newer rollout may start now."
    )
    world[first[0]] = fact(first[0], assigned=1, stable=2)
    assert not waits_for_absentees_only(made, world, 1.0), "that one is there and has still to do it"
    assert "newer rollout" not in explain(made, world, (), 1.0)[-1]
    assert not waits_for_absentees_only(replace(made, returning_since=None), world, 1.0), "nobody was told yet"


def test_explain_names_the_devices_that_an_abort_waits_for() -> None:
    tries = fact(CANARY, assigned=1)
    assert tries.state is not None
    tries = replace(tries, state=replace(tries.state, trial=VersionRef(release=2, digest=NEW)))
    made = rollout(status="aborting", returning_since=0.0)
    assert explain(made, facts(**{CANARY: tries}), (), 1.0)[-1] == f"It waits for {CANARY} (online)."


def test_a_device_whose_version_is_missing_in_the_registry_has_no_way_back_and_the_others_roll_back() -> None:
    twins = {name: twin(name) for name in ("a", "b")}
    good = twins["b"].reported["m"].stable
    assert good is not None
    forged = replace(twins["a"].reported["m"], stable=VersionRef(release=77, digest="7" * 64))
    twins["a"] = replace(twins["a"], reported={"m": forged})
    world = World(silent_s=90.0, durable=Durable(twins), registered={"m": {good.release: frozenset({good.digest})}})
    planned = plan_rollout(world, MANIFEST, STRATEGY, name="r", model="m", selector={}, now=0.0)
    assert preview(world, planned, 0.0).no_way_back == {
        "a": f"it runs v77 ({'7' * 12}), which the registry does not hold: a roll back leaves it as it is then"
    }
    told = replace(twins["a"].reported["m"], stable=replace(good, digest="0" * 64))
    twins["a"] = replace(twins["a"], reported={"m": told})
    assert set(confirmed_versions(world, "m", twins)) == {"b"}, "the number alone is not enough: a moved device"

    world.durable.rollouts["r"] = replace(planned, status="running", wave=planned.final_wave)
    reconcile(world, [], 1.0)
    assert {each.desired["m"].release for each in world.durable.twins.values()} == {MANIFEST.release}
    world.durable.rollouts["r"] = replace(world.durable.rollouts["r"], status="rolling_back")
    reconcile(world, [], 2.0)
    assert world.durable.twins["a"].desired["m"].release == MANIFEST.release, "to withdraw it would end what it runs"
    assert world.durable.twins["b"].desired["m"].release == good.release

    bad = replace(told, stable=VersionRef(release=MANIFEST.release, digest=MANIFEST.artifact.sha256))
    world.durable.twins["a"] = replace(world.durable.twins["a"], reported={"m": bad})
    world.durable.rollouts["r"] = replace(world.durable.rollouts["r"], status="rolling_back")
    reconcile(world, [], 3.0)
    assert world.durable.twins["a"].desired["m"].release == MANIFEST.release, "what serves is better than nothing"
    ended = world.durable.rollouts["r"]
    kept = "1 device keeps v2, because the registry does not hold what ran there before: a."
    assert kept in explain(ended, facts_of(world, ended, 4.0), (), 4.0)
    assert "a" not in awaited(ended, facts_of(world, ended, 4.0), 4.0)


def test_a_newer_rollout_may_start_if_only_absent_devices_keep_a_roll_back_open(tmp_path: Path) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    try:
        gate = GateVerdict(gate="parity", passed=True, detail="")
        lineage = Lineage(created_at="", created_by="ada", source="onnx", source_sha256="")
        version = Version(
            model="m", release=MANIFEST.release, manifest=MANIFEST, lineage=lineage, evidence={}, gates=(gate,)
        )
        state.registry.add(version)
        for data in (MODEL.artifact, MODEL.golden):
            state.blobs.put(data)
        assert state.publisher.vouch("m", (), today())
        durable, holding = state.world.durable, VersionRef(release=2, digest=NEW)
        for device in DEVICES:
            known = twin(device)
            kept = replace(known.reported["m"], stable=holding)
            durable.twins[device] = replace(known, reported={"m": kept}, seen_at=time.time(), connected=True)
        state.save_rollouts(rollout(status="rolling_back", wave=1, returning_since=time.time()))
        with pytest.raises(BadInput) as caught:
            rollouts.start(state, "m", None, STRATEGY, {}, actor="ada")
        assert caught.value.code == Code.ROLLOUT_CONFLICT, "they are there, and it waits for them"
        durable.twins.update({device: replace(durable.twins[device], seen_at=0.0) for device in DEVICES})
        with pytest.raises(BadInput) as caught:
            rollouts.start(state, "m", None, STRATEGY, {}, actor="ada")
        assert caught.value.code == Code.VERSION_ROLLED_BACK, "it is the version that goes back"
        assert rollouts.start(state, "m", None, STRATEGY, {}, again=True, actor="ada").status == "running"
        assert durable.rollouts["r-1"].status == "rolled_back"
    finally:
        state.close()
