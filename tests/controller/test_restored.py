"""A restored controller has older state than its devices: its single correction, and what it leaves unchanged."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.messages import ModelState, VersionRef
from contract.trust import chain, repository
from contract.trust.documents import role_name
from contract.wire import encode
from controller.api.views import device_fields
from controller.clock import today
from controller.config import Config, StorageConfig
from controller.fleet.twin import FOLLOWED_VERSION, Assigned, Twin
from controller.reconcile import restored
from controller.reconcile.decisions import reconcile
from controller.reconcile.documents import issue_again
from controller.reconcile.durable import FleetRecords
from controller.reconcile.offers import offer_release
from controller.reconcile.world import Durable, World
from controller.registry.restore import MARK, Restored
from controller.rollout.decide import Offer
from controller.rollout.model import Strategy, Wave
from controller.rollout.outcome import outcome_of
from controller.state import State, open_state
from controller.verbs import policies
from controller.verbs import restored as verb
from firmware_sim.durable import DurableTables
from tests.controller.rollout_worlds import NEW, OLD, fact, rollout
from tests.controller.test_fleet_and_reconcile import FORM, beat
from tests.controller.test_rollout_plan import MANIFEST

NOW = 1_700_000_000.0
AT = "2026-11-26T03:00:00+00:00"
V7 = VersionRef(release=7, digest="7" * 64)


def runs(version: VersionRef, generation: int, **fields: Any) -> ModelState:
    return ModelState(
        model="m", phase="steady", generation=generation, stable=version, serving=version.digest, **fields
    )


def told(generation: int, digest: str = OLD) -> Assigned:
    return Assigned(release=1, generation=generation, rollout="r-1", digest=digest)


def test_the_next_document_has_a_higher_version_than_every_document_that_a_device_has() -> None:
    assert Twin("a", document_version=7).next_version(NOW) == NOW
    lost_row = Twin("a", reported={"m": runs(V7, int(NOW) + 50)})
    assert lost_row.next_version(NOW) == NOW + 51, "its row was lost, or the clock was set back: the device knows"
    liar = Twin("a", document_version=7, reported={"m": runs(V7, FOLLOWED_VERSION + 1)})
    assert liar.next_version(NOW) == NOW, "no lie of a device uses the numbers up"


def test_a_device_with_an_unreadable_row_does_not_start_at_version_0() -> None:
    tables = DurableTables()
    tables.write({"devices": {"a": b'{"document_version":'}})
    words = {"a": encode(beat(1, runs(V7, int(NOW) - 5)))}
    world = FleetRecords(tables).load_world(words, 90.0)
    offer_release(world, Offer("a", "m", 2), rollout(members=()), NOW)
    twin = world.durable.twins["a"]
    assert twin.document_version == twin.desired["m"].generation == NOW


def test_an_outcome_counts_for_its_own_artifact_even_if_two_releases_have_the_same_number() -> None:
    made = rollout()
    member = made.members[0]
    asked = fact(member.device, assigned=2, result="rolled_back", code="health_accuracy")
    assert outcome_of(made, member, asked, 1.0) == "failed"
    assert asked.assigned is not None
    ours = replace(asked, assigned=replace(asked.assigned, digest=NEW))
    assert outcome_of(made, member, ours, 1.0) == "failed"
    others = replace(asked, assigned=replace(asked.assigned, digest="other" * 12))
    assert outcome_of(made, member, others, 1.0) == "pending", "it ended for what had the number before the restore"


def test_a_document_older_than_the_one_on_the_device_is_not_shown() -> None:
    def wanted(generation: int) -> int | None:
        twin = Twin("a", desired={"m": told(7)}, reported={"m": runs(V7, generation)})
        (model,) = device_fields(twin, World(silent_s=90.0, durable=Durable({"a": twin})), NOW)["models"]
        shown: int | None = model.desired_release
        return shown

    assert (wanted(6), wanted(7), wanted(8)) == (1, 1, None)


def restored_world() -> World:
    twins = {
        "a": Twin("a", document_version=7, issued_at=1, desired={"m": told(7)}),
        "b": Twin("b"),
    }
    open_one, done = (
        rollout(id="r-2", status="rolling_back", returning_since=5.0),
        rollout(id="r-1", status="completed"),
    )
    return World(silent_s=90.0, durable=Durable(twins, {each.id: each for each in (done, open_one)}))


def test_documents_are_issued_again_and_open_rollouts_end_in_their_state() -> None:
    world = restored_world()
    devices, ended = restored.take_up(world, AT, NOW)
    assert (devices, [each.id for each in ended]) == (["a"], ["r-2"])
    twin = world.durable.twins["a"]
    assert (twin.document_version, twin.issued_at, twin.desired) == (NOW, NOW, {"m": told(7)}), "generations stay"
    assert world.durable.rollouts["r-2"].status == "aborted"
    assert AT in world.durable.rollouts["r-2"].reason
    assert world.durable.rollouts["r-1"].status == "completed"
    changes = reconcile(world, [("a", beat(1, runs(V7, int(NOW) - 5)))], NOW + 1)
    assert not changes.redesired, "nobody is sent back to what the backup knew"


@pytest.mark.parametrize("state", [None, runs(V7, 3)])
def test_a_new_device_that_runs_a_version_keeps_it_and_one_without_a_version_joins(
    state: ModelState | None,
) -> None:
    """It was enrolled after the backup, or moved here from another controller."""
    world = restored_world()
    world.registered = {"m": {2: frozenset({NEW})}}
    world.durable.rollouts = {"r-1": rollout(id="r-1", status="completed", members=(), forms=(FORM,))}
    reconcile(world, [("c", beat(1, *([state] if state else []), device="c"))], NOW)
    changes = reconcile(world, [], NOW + 1)
    kept = world.durable.rollouts["r-1"]
    joined = "c" in {member.device for member in kept.members}
    assert joined == (state is None)
    assert not (changes.redesired and state), "and is told nothing"
    if state is not None:
        assert kept.excluded["c"].words.startswith("it runs v7")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    yield made
    made.close()


def mark(state: State) -> None:
    (state.config.data_dir / MARK).write_bytes(encode(Restored(backed_up_at=AT, restored_at="now")))


def test_a_restore_is_processed_once_and_audited(state: State) -> None:
    verb.take_up(state)
    assert state.journal.audit_entries() == [], "a controller that was not restored does nothing"
    state.world.durable.twins["a"] = Twin("a", document_version=7, issued_at=1)
    state.save_rollouts(rollout(id="r-2"))
    mark(state)
    verb.take_up(state)
    newest = state.journal.audit_entries()[0]
    assert (newest["actor"], newest["action"]) == ("controller", "restored")
    assert AT in newest["detail"]
    assert "r-2" in newest["detail"]
    loaded = state.records.load_world({}, 90.0).durable
    assert loaded.rollouts["r-2"].status == "aborted"
    assert loaded.twins["a"].document_version > time.time() - 60
    verb.take_up(state)
    assert len(state.journal.audit_entries()) == 1


def follow(state: State, trusted: Any) -> Any:
    """What a device trusts after the newest bundle and role."""
    trust_bundle = state.trust_metadata.trust_bundle()
    found = chain.follow(trusted, trust_bundle, today())
    return chain.take_role(found, "m", state.trust_metadata.role("m") or b"", today())


def test_a_device_with_newer_state_than_the_backup_follows_a_restored_fleet(state: State) -> None:
    """Since the backup: a version of `m` was signed, model `n` came, and the timestamp's key was replaced."""
    state.trust_metadata.vouch("m", {1: replace(MANIFEST, release=1)}, today())
    first = chain.trust_root(state.trust_metadata.root())
    backup = state.trust_metadata.files
    manifests = {release: replace(MANIFEST, release=release) for release in (1, 2)}
    state.trust_metadata.vouch("m", manifests, today())
    state.trust_metadata.vouch("n", {1: replace(MANIFEST, release=1)}, today())
    from controller.verbs import trust

    trust.rotate(state, "timestamp", actor="ada")
    knows_more = follow(state, first)
    for name in state.trust_metadata.files.keys() - backup.keys():
        state.store.delete("trust", name)
    state.store.put("trust", {name: {"text": text} for name, text in backup.items()})
    with pytest.raises(Exception, match="trust bundle"):
        follow(state, knows_more)
    mark(state)
    verb.take_up(state)
    after = follow(state, knows_more)
    assert chain.role_of(after, "m").manifests.keys() == {1}  # type: ignore[union-attr]
    assert follow(state, first).roles == after.roles, "and so does one that knows nothing yet"


def test_a_fleet_whose_root_keys_are_elsewhere_names_the_signers(state: State) -> None:
    state.trust_metadata.vouch("m", {1: replace(MANIFEST, release=1)}, today())
    files = state.trust_metadata.files
    for keyid in (*repository.signers_wanted(files, "root")[0], *repository.signers_of(files, "m")):
        del state.trust_metadata.keys._by_id[keyid]
    waiting = state.trust_metadata.after_restore(lambda role: pytest.fail(role), today())
    assert waiting == [role_name("m"), "snapshot", "timestamp"]
    before = chain.follow(chain.trust_root(files["1.root.json"]), encode(repository.trust_bundle(files)), today())
    assert chain.follow(before, state.trust_metadata.trust_bundle(), today()).complete


def test_a_policy_starts_no_version_from_before_the_restore(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    from controller.registry.version import Version
    from tests.controller.test_retained import GATE, LINEAGE

    def add(release: int) -> None:
        manifest = replace(MANIFEST, release=release)
        made = Version(model="m", release=release, manifest=manifest, lineage=LINEAGE, evidence={}, gates=(GATE,))
        state.registry.add(made)
        state.trust_metadata.vouch("m", state.publisher.manifests("m", ()), today())

    add(1)
    policies.set_policy(state, "m", Strategy(name="s", waves=(Wave(percent=100),)), {}, approval=False, actor="ada")
    mark(state)
    verb.take_up(state)
    started: list[int] = []
    monkeypatch.setattr(
        policies.rollouts, "start", lambda _state, _model, release, *_rest, **_named: started.append(release)
    )
    policies.start_due(state)
    assert started == []
    add(2)
    policies.start_due(state)
    assert started == [2]


def test_issuing_again_changes_only_the_version_and_the_date() -> None:
    world = restored_world()
    issue_again(world, world.durable.twins["a"], NOW)
    assert world.durable.twins["a"] == Twin("a", document_version=int(NOW), issued_at=int(NOW), desired={"m": told(7)})
