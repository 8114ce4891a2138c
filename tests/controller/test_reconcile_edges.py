"""Edges of one pass: what it returns, which devices it quarantines, what it publishes again."""

from typing import Any

from msgspec.structs import replace

from contract.messages import (
    Ack,
    Presence,
    Report,
    UpdateOutcome,
    VersionRef,
)
from controller.fleet.twin import DOCUMENT_LIFE_S, Assigned, Twin
from controller.reconcile.decisions import SWEEP_S, Changes, reconcile
from controller.reconcile.documents import UNHEARD_S, answer_nonces
from controller.reconcile.membership import facts_of, is_standing
from controller.reconcile.offers import keep_from
from controller.reconcile.world import drop_twin
from controller.rollout.facts import BUCKET_S, Sums
from controller.rollout.model import Member, Rule
from controller.rollout.rows import Rows
from tests.controller.reconcile_worlds import (
    STRATEGY,
    V1,
    V2,
    beat,
    campaign,
    interval,
    report,
    state,
    telemetry,
    world,
)

# What one pass hands on.


def test_an_empty_pass_changes_nothing() -> None:
    assert reconcile(world(), [], 0.0) == Changes()


def test_a_pass_returns_acknowledgements_once_and_every_message_in_order() -> None:
    first, second, pulse = report(seq=3), report(seq=4), beat("b")
    changes = reconcile(world(), [first, pulse, second, first], 0.0)
    assert changes.acks == (("a", Ack(boot=1, seq=3)), ("a", Ack(boot=1, seq=4)))
    assert changes.reports == (first, second, first)
    assert changes.heartbeats == (pulse,)


def test_the_brokers_presence_of_a_device_is_stored() -> None:
    made = world()
    reconcile(made, [("a", Presence(protocol=1, device="a", online=False))], 5.0)
    assert made.durable.twins["a"].presence(5.0, 90.0) == "offline"


def test_a_report_is_applied_and_an_offer_that_was_started_is_no_longer_waited_for() -> None:
    made = world(campaign("a"))
    reconcile(made, [beat()], 0.0)
    assert made.caches.waiting == {"a"}
    reconcile(made, [report(state=state(generation=0))], 1.0)
    assert made.caches.waiting == {"a"}
    reconcile(made, [report(seq=3, state=state(generation=1))], 1.0)
    assert made.caches.waiting == set()


def test_verdicts_are_kept_until_there_are_new_ones() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1)
    made = world(campaign("a", strategy=replace(STRATEGY, rules=(rule,))))
    reconcile(made, [beat()], 0.0)
    (verdict,) = made.measured.verdicts["r"]
    assert verdict.word == "inconclusive"
    made.durable.rollouts["r"] = replace(made.durable.rollouts["r"], status="aborting")
    reconcile(made, [], 1.0)
    assert made.measured.verdicts["r"] == (verdict,)
    bare = world(campaign("a"))
    reconcile(bare, [], 0.0)
    assert bare.measured.verdicts["r"] == ()


def test_a_rollout_is_returned_only_if_it_has_changed() -> None:
    made = world(campaign("a"))
    assert reconcile(made, [beat()], 0.0).rollouts == ()
    ended = report(state=state(stable=V2))
    (changed,) = reconcile(made, [ended], 3.0).rollouts
    assert (changed.wave_done_at, made.durable.rollouts["r"]) == (3.0, changed)
    assert reconcile(made, [], 4.0).rollouts == (replace(changed, status="completed"),)
    assert reconcile(made, [], 5.0).rollouts == ()


def test_ended_rollouts_are_not_decided_again() -> None:
    for status in ("aborted", "rolled_back"):
        made = world(campaign("a", status=status))
        reconcile(made, [], 0.0)
        assert "r" not in made.measured.verdicts


# Quarantine.


def failed(device: str, generation: int = 1) -> tuple[str, Report]:
    ended = UpdateOutcome(generation=generation, version=V2, result="rolled_back", code="health_errors")
    return report(device, state=state(generation=generation, outcome=ended))


def test_devices_on_which_the_release_failed_are_quarantined_in_every_rollout_of_a_pass() -> None:
    other = campaign("b", id="r2", model="n", digest="n" * 64, forms=())
    made = world(campaign("a"), other)
    reconcile(made, [beat("a"), beat("b")], 0.0)
    changes = reconcile(made, [failed("a")], 1.0)
    assert changes.quarantined == {"a"}
    assert made.durable.quarantine == {"a": {V2.digest: "r"}}
    assert reconcile(made, [], 2.0).quarantined == frozenset()


def test_a_quarantine_is_by_the_variant_of_the_device() -> None:
    made = world()
    mixed = campaign(members=(Member(device="a", wave=0, digest="f" * 64), Member(device="b", wave=0)))
    assert keep_from(made, ["a", "b"], mixed) == {"a", "b"}
    assert made.durable.quarantine == {"a": {"f" * 64: "r"}, "b": {V2.digest: "r"}}
    assert keep_from(made, ["a"], replace(mixed, id="later")) == set()
    assert made.durable.quarantine["a"] == {"f" * 64: "r"}


# What is told again.


def test_all_documents_are_checked_at_an_interval() -> None:
    made = world()
    reconcile(made, [], 100.0)
    assert made.caches.sweep_at == 100.0 + SWEEP_S
    reconcile(made, [], 100.0 + SWEEP_S - 0.1)
    assert made.caches.sweep_at == 100.0 + SWEEP_S
    reconcile(made, [], 100.0 + SWEEP_S)
    assert made.caches.sweep_at == 100.0 + 2 * SWEEP_S
    assert (SWEEP_S, UNHEARD_S) == (30.0, 300.0)


def test_a_document_that_an_online_device_did_not_apply_is_published_again_unchanged() -> None:
    made = world(campaign("a", "b", "c"))
    reconcile(made, [beat("a"), beat("b"), beat("c")], 0.0)
    assert made.caches.published_at == {"a": 0.0, "b": 0.0, "c": 0.0}
    reconcile(made, [report("c", state=state(generation=1))], 250.0)
    awake = [beat("a", 9)]
    assert reconcile(made, awake, UNHEARD_S).unheard == frozenset()
    changes = reconcile(made, awake, UNHEARD_S + SWEEP_S)
    assert (changes.unheard, changes.redesired) == ({"a"}, frozenset())
    assert made.caches.published_at["a"] == UNHEARD_S + SWEEP_S
    assert reconcile(made, awake, UNHEARD_S + 2 * SWEEP_S).unheard == frozenset()


def test_a_waiting_device_that_is_unknown_or_has_no_document_gets_none() -> None:
    made = world(waiting={"a", "ghost"}, published_at={"ghost": -1e6})
    assert reconcile(made, [beat("b")], 1e6).unheard == frozenset()


def test_a_document_is_issued_again_after_half_of_its_lifetime() -> None:
    half = DOCUMENT_LIFE_S / 2
    for document_version, age_s, again in ((1, half, False), (1, half + 1, True), (0, half + 1, False)):
        made = world(twins={"a": Twin("a", document_version=document_version, issued_at=1000)})
        changes = reconcile(made, [], 1000 + age_s)
        assert (changes.redesired == {"a"}) is again
        twin = made.durable.twins["a"]
        assert twin.document_version == (int(1000 + age_s) if again else document_version)
        assert twin.issued_at == (int(1000 + age_s) if again else 1000)
        assert made.caches.published_at == ({"a": 1000 + age_s} if again else {})


def test_a_nonce_is_answered_once_with_a_new_version_and_date() -> None:
    made = world(twins={name: Twin(name, document_version=4, asks="n" * (name != "c")) for name in "abc"})
    made.durable.twins["b"] = replace(made.durable.twins["b"], answered="n")
    assert answer_nonces(made, ["a", "b", "c"], 77.9) == {"a"}
    assert made.durable.twins["a"] == Twin("a", document_version=77, issued_at=77, asks="n", answered="n")
    assert made.durable.twins["b"].document_version == 4
    made.durable.twins["d"] = Twin("d", asks="", answered="n")
    assert answer_nonces(made, ["d"], 78.0) == set(), "who asks nothing any more is answered nothing"


# What `decide` may know.


def test_a_fact_holds_the_desired_and_the_reported_state_of_this_model() -> None:
    told, said = Assigned(release=2, generation=1, rollout="r"), state()
    known = Twin("a", desired={"m": told, "n": told}, reported={"m": said}, connected=True, seen_at=50.0)
    made = world(twins={"a": known})
    found = facts_of(made, campaign("a", "b"), 60.0)
    assert list(found) == ["a", "b"]
    assert (found["a"].device, found["a"].assigned, found["a"].state, found["a"].presence) == (
        "a",
        told,
        said,
        "online",
    )
    assert (found["b"].assigned, found["b"].state, found["b"].presence) == (None, None, "unknown")
    assert facts_of(made, campaign("a"), 140.1)["a"].presence == "silent"


def test_in_a_completed_rollout_only_late_devices_are_decided() -> None:
    members = (Member(device="a", wave=0), Member(device="b", wave=0, late=True))
    ended = campaign(members=members, status="completed")
    assert list(facts_of(world(), ended, 0.0, late_only=True)) == ["b"]
    assert list(facts_of(world(), ended, 0.0)) == ["a", "b"]


def test_a_completed_rollout_applies_until_a_newer_one_of_its_model_does() -> None:
    ended = campaign("a", status="completed", began_at=10.0)

    def stands(**changes: Any) -> bool:
        other = replace(ended, **{"id": "r2", "began_at": 20.0, **changes})
        return is_standing(world(ended, other), ended)

    assert is_standing(world(ended), ended)
    assert not is_standing(world(campaign("a")), campaign("a"))
    for status, standing in (
        ("completed", False),
        ("running", False),
        ("paused", False),
        ("proposed", True),
        ("aborted", True),
        ("rolled_back", True),
        ("rolling_back", True),
    ):
        assert stands(status=status) is standing, status
    assert stands(began_at=10.0)
    assert stands(began_at=9.0)
    assert stands(model="n")


# What is measured.


def test_a_window_is_added_to_the_device_and_to_running_rollouts_of_its_model() -> None:
    members = (Member(device="a", wave=0, stratum="arm"),)
    made = world(
        campaign(members=members),
        campaign(id="held", members=members, status="paused"),
        campaign(id="other", model="n", members=members),
        campaign(id="ended", members=members, status="aborted"),
        campaign("b", id="elsewhere"),
    )
    reconcile(made, [telemetry(interval(), interval(V1))], 130.0)
    expected = Rows()
    for treated in (True, False):
        expected.add("a", 130.0, Sums(inferences=10, errors=1), treated=treated)
    assert {name: rows for name, rows in made.measured.rows.items() if len(rows)} == {"r": expected, "held": expected}
    assert made.measured.totals == {("a", "m", number): Sums(inferences=10, errors=1) for number in (1, 2)}
    reconcile(made, [telemetry(interval(), seq=2)], 131.0)
    assert sorted(made.measured.rows["r"].table().column("inferences").tolist()) == [10.0, 20.0]
    assert made.measured.totals["a", "m", 2].inferences == 20


def test_a_message_that_arrives_twice_is_counted_once_and_reported() -> None:
    made = world(campaign("a"))
    for seq in (1, 2, 1, 2):
        reconcile(made, [telemetry(interval(), seq=seq)], 130.0)
    assert made.measured.totals["a", "m", 2].inferences == 20
    assert made.measured.left_out.counts["telemetry_repeated"] == 2


def test_measurements_are_kept_by_minute_for_two_hours_and_then_by_hour() -> None:
    made = world(campaign("a"))
    for seq, minute in enumerate((0, 1, 59, 61, 200), start=1):
        reconcile(made, [telemetry(interval(), seq=seq)], minute * BUCKET_S)
    reconcile(made, [], 4 * 3600.0)
    table = made.measured.rows["r"].table()
    assert sorted(table.start.tolist()) == [0.0, 3600.0, 200 * BUCKET_S]
    assert table.column("inferences").sum() == 50


def test_distributions_are_summed_by_model_release_and_column() -> None:
    made = world()
    said = interval(features={"x": (1, 2)}, outputs=(3,))
    reconcile(made, [telemetry(said), telemetry(said, interval(V1, outputs=(5,)), device="b")], 0.0)
    assert made.measured.distributions == {("m", 2): {"x": (2, 4), "": (6,)}, ("m", 1): {"": (5,)}}
    reconcile(made, [telemetry(interval(V1, features={"x": (7,)}), seq=2)], 0.0)
    assert made.measured.distributions["m", 1] == {"x": (7,), "": (5,)}
    reconcile(made, [telemetry(interval(VersionRef(release=9, digest="9" * 64)))], 0.0)
    assert ("m", 9) not in made.measured.distributions


def test_telemetry_gives_the_transfer_rate_of_a_device_and_creates_its_twin() -> None:
    made = world()
    reconcile(made, [telemetry(received=1000)], 100.0)
    assert made.durable.twins == {"a": Twin("a")}
    assert (made.measured.traffic["a"].bytes_s, made.measured.traffic["a"].at) == (0.0, 100.0)
    reconcile(made, [telemetry(received=3000, seq=2)], 110.0)
    assert made.measured.traffic["a"].bytes_s == 200.0
    known = Twin("a", document_version=3)
    made.durable.twins["a"] = known
    reconcile(made, [telemetry(seq=3)], 120.0)
    assert made.durable.twins["a"] is known


def test_a_device_that_has_sent_nothing_can_be_dropped() -> None:
    made = world()
    made.durable.twins["a"] = Twin("a")
    drop_twin(made, "a")
    assert "a" not in made.durable.twins
