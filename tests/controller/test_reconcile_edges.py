"""One pass at its edges: who is told again, what is measured where, and what each offer carries."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from contract.blobs import describe
from contract.desired import MAX_SOURCES, Delivery, TrialPolicy
from contract.messages import (
    Ack,
    Hardware,
    Heartbeat,
    ModelInterval,
    ModelState,
    Presence,
    Report,
    Telemetry,
    UpdateOutcome,
    VersionRef,
)
from controller.fleet.fit import Form
from controller.fleet.twin import DOCUMENT_LIFE_S, Assigned, Twin
from controller.reconcile.decisions import SWEEP_S, Changes, reconcile
from controller.reconcile.documents import UNHEARD_S, answer_nonces
from controller.reconcile.membership import confirmed_versions, facts_of, is_standing, join_newcomers
from controller.reconcile.offers import delivery_for, keep_from, offer_release
from controller.reconcile.world import Caches, Durable, World, members_of
from controller.rollout.decide import Offer
from controller.rollout.facts import BUCKET_S, MAX_BUCKETS, Cell, Sums
from controller.rollout.model import Member, Rollout, Rule, Strategy, Wave

HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")
V1, V2 = (VersionRef(release=number, digest=str(number) * 64) for number in (1, 2))
FORM = Form(
    name="",
    digest=V2.digest,
    artifact_bytes=1,
    golden_bytes=1,
    release=2,
    hardware=("x86_64",),
    memory_mb=64,
    opset=18,
    ml_opset=3,
)
STRATEGY = Strategy(name="s", waves=(Wave(percent=100),))


def beat(device: str = "a", seq: int = 1, **fields: Any) -> tuple[str, Heartbeat]:
    known = {"protocol": 1, "device": device, "boot": 1, "seq": seq, "uptime_s": 1, "hardware": HARDWARE}
    return device, Heartbeat(**{**known, **fields})


def report(device: str = "a", seq: int = 2, **fields: Any) -> tuple[str, Report]:
    return device, Report(protocol=1, device=device, boot=1, seq=seq, **fields)


def telemetry(*intervals: ModelInterval, device: str = "a", seq: int = 1, received: int = 0) -> tuple[str, Telemetry]:
    made = Telemetry(
        protocol=1, device=device, boot=1, seq=seq, interval_s=10.0, intervals=intervals, bytes_received=received
    )
    return device, made


def interval(version: VersionRef = V2, **fields: Any) -> ModelInterval:
    return ModelInterval(**{"model": "m", "version": version, "inferences": 10, "errors": 1, **fields})


def state(generation: int = 1, stable: VersionRef | None = V1, **fields: Any) -> ModelState:
    return ModelState(model="m", phase="steady", generation=generation, stable=stable, **fields)


def campaign(*devices: str, **changes: Any) -> Rollout:
    members = tuple(Member(device=name, wave=0, previous_release=1, previous_digest=V1.digest) for name in devices)
    made = Rollout(id="r", model="m", release=2, digest=V2.digest, strategy=STRATEGY, members=members, forms=(FORM,))
    return replace(made, **changes)


def world(*rollouts: Rollout, waiting: Iterable[str] = (), **fields: Any) -> World:
    kept = {name: fields.pop(name) for name in ("twins", "quarantine", "deliveries") if name in fields}
    durable = Durable(rollouts={each.id: each for each in rollouts}, **kept)
    caches = Caches(waiting=set(waiting), published_at=fields.pop("published_at", {}))
    return World(silent_s=90.0, durable=durable, caches=caches, **fields)


# What one pass hands on.


def test_an_empty_pass_changes_nothing() -> None:
    assert reconcile(world(), [], 0.0) == Changes()


def test_a_pass_hands_on_acknowledgements_once_and_every_message_in_order() -> None:
    first, second, pulse = report(seq=3), report(seq=4), beat("b")
    changes = reconcile(world(), [first, pulse, second, first], 0.0)
    assert changes.acks == (("a", Ack(boot=1, seq=3)), ("a", Ack(boot=1, seq=4)))
    assert changes.reports == (first, second, first)
    assert changes.heartbeats == (pulse,)


def test_the_brokers_word_is_folded() -> None:
    made = world()
    reconcile(made, [("a", Presence(protocol=1, device="a", online=False))], 5.0)
    assert made.durable.twins["a"].presence(5.0, 90.0) == "offline"


def test_a_report_is_folded_and_an_offer_that_was_acted_on_is_waited_for_no_more() -> None:
    made = world(campaign("a"))
    reconcile(made, [beat()], 0.0)
    assert made.caches.waiting == {"a"}
    reconcile(made, [report(state=state(generation=0))], 1.0)
    assert made.caches.waiting == {"a"}
    reconcile(made, [report(seq=3, state=state(generation=1))], 1.0)
    assert made.caches.waiting == set()


def test_verdicts_stay_until_there_are_new_ones() -> None:
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


def test_a_rollout_is_handed_on_when_it_has_changed_and_only_then() -> None:
    made = world(campaign("a"))
    assert reconcile(made, [beat()], 0.0).rollouts == ()
    ended = report(state=state(stable=V2))
    (changed,) = reconcile(made, [ended], 3.0).rollouts
    assert (changed.wave_done_at, made.durable.rollouts["r"]) == (3.0, changed)
    assert reconcile(made, [], 4.0).rollouts == (replace(changed, status="completed"),)
    assert reconcile(made, [], 5.0).rollouts == ()


def test_rollouts_that_have_ended_are_not_decided_again() -> None:
    for status in ("aborted", "rolled_back"):
        made = world(campaign("a", status=status))
        reconcile(made, [], 0.0)
        assert "r" not in made.measured.verdicts


# Quarantine.


def failed(device: str, generation: int = 1) -> tuple[str, Report]:
    ended = UpdateOutcome(generation=generation, version=V2, result="rolled_back", code="health_errors")
    return report(device, state=state(generation=generation, outcome=ended))


def test_devices_on_which_the_release_failed_are_kept_from_it_in_every_rollout_of_a_pass() -> None:
    other = campaign("b", id="r2", model="n", digest="n" * 64, forms=())
    made = world(campaign("a"), other)
    reconcile(made, [beat("a"), beat("b")], 0.0)
    changes = reconcile(made, [failed("a")], 1.0)
    assert changes.quarantined == {"a"}
    assert made.durable.quarantine == {"a": {V2.digest: "r"}}
    assert reconcile(made, [], 2.0).quarantined == frozenset()


def test_quarantine_is_by_the_form_that_the_device_had() -> None:
    made = world()
    mixed = campaign(members=(Member(device="a", wave=0, digest="f" * 64), Member(device="b", wave=0)))
    assert keep_from(made, ["a", "b"], mixed) == {"a", "b"}
    assert made.durable.quarantine == {"a": {"f" * 64: "r"}, "b": {V2.digest: "r"}}
    assert keep_from(made, ["a"], replace(mixed, id="later")) == set()
    assert made.durable.quarantine["a"] == {"f" * 64: "r"}


# What is told again.


def test_all_documents_are_looked_over_every_so_often() -> None:
    made = world()
    reconcile(made, [], 100.0)
    assert made.caches.sweep_at == 100.0 + SWEEP_S
    reconcile(made, [], 100.0 + SWEEP_S - 0.1)
    assert made.caches.sweep_at == 100.0 + SWEEP_S
    reconcile(made, [], 100.0 + SWEEP_S)
    assert made.caches.sweep_at == 100.0 + 2 * SWEEP_S
    assert (SWEEP_S, UNHEARD_S) == (30.0, 300.0)


def test_a_document_that_an_online_device_did_not_act_on_is_published_again_as_it_is() -> None:
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


def test_a_device_that_waits_and_was_never_published_to_or_is_unknown_is_left_alone() -> None:
    made = world(waiting={"a", "ghost"}, published_at={"ghost": -1e6})
    assert reconcile(made, [beat("b")], 1e6).unheard == frozenset()


def test_a_document_is_issued_again_past_half_of_its_life() -> None:
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


def test_a_fact_is_what_was_told_and_what_is_said_about_this_model() -> None:
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


def test_of_a_completed_rollout_only_those_who_joined_late_are_asked_for() -> None:
    members = (Member(device="a", wave=0), Member(device="b", wave=0, late=True))
    ended = campaign(members=members, status="completed")
    assert list(facts_of(world(), ended, 0.0, late_only=True)) == ["b"]
    assert list(facts_of(world(), ended, 0.0)) == ["a", "b"]


def test_a_completed_rollout_stands_until_a_newer_one_of_its_model_counts() -> None:
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


# Who joins.


def test_a_device_joins_when_it_is_new_or_has_other_labels() -> None:
    made = world(campaign(selector={"site": "n"}))
    reconcile(made, [beat()], 0.0)
    assert made.durable.rollouts["r"].members == ()
    reconcile(made, [beat(seq=2, labels={"site": "n"})], 1.0)
    assert [member.device for member in made.durable.rollouts["r"].members] == ["a"]
    assert made.caches.joining == set()
    reconcile(made, [beat(seq=3, labels={"site": "n"})], 2.0)
    assert len(made.durable.rollouts["r"].members) == 1


def test_a_newcomer_is_fitted_and_otherwise_excluded_with_the_reason() -> None:
    made = world(campaign())
    arm = replace(HARDWARE, machine="armv7l")
    reconcile(made, [beat("b", models=(state(stable=V1),)), beat("a"), beat("c", hardware=arm)], 0.0)
    joined = made.durable.rollouts["r"]
    assert [(m.device, m.late, m.digest, m.stratum) for m in joined.members] == [
        ("a", True, V2.digest, "x86_64/512MB"),
        ("b", True, V2.digest, "x86_64/512MB"),
    ]
    assert [(m.previous_release, m.previous_digest) for m in joined.members] == [(0, ""), (1, V1.digest)]
    assert list(joined.excluded) == ["c"]
    made.caches.joining = {"a", "c"}
    assert join_newcomers(made) == []


def test_who_is_quarantined_for_the_release_does_not_join() -> None:
    made = world(campaign(), quarantine={"a": {V2.digest: "r0"}})
    reconcile(made, [beat()], 0.0)
    assert (made.durable.rollouts["r"].members, list(made.durable.rollouts["r"].excluded)) == ((), ["a"])


def test_devices_join_rollouts_that_are_under_way_or_stand() -> None:
    for status, joins in (("running", True), ("paused", True), ("completed", True), ("aborting", False)):
        made = world(campaign(status=status))
        reconcile(made, [beat()], 0.0)
        assert bool(made.durable.rollouts["r"].members) is joins, status


def test_members_are_looked_up_by_device_and_anew_when_they_change() -> None:
    made, first = world(), campaign("a")
    assert list(members_of(made, first)) == ["a"]
    assert members_of(made, first) is members_of(made, first)
    assert list(members_of(made, campaign("a", "b"))) == ["a", "b"]


def test_the_confirmed_version_of_each_device_that_has_one() -> None:
    twins = {
        "a": Twin("a", reported={"m": state()}),
        "b": Twin("b", reported={"m": state(stable=None)}),
        "c": Twin("c"),
    }
    assert confirmed_versions(world(twins=twins), "m", ["a", "b", "c", "d"]) == {"a": V1}
    assert confirmed_versions(world(twins=twins), "n", ["a"]) == {}


# What an offer carries.


def offered(made: World, offer: Offer, rollout: Rollout, now: float = 50.7) -> Assigned | None:
    made.durable.rollouts[rollout.id] = rollout
    offer_release(made, offer, rollout, now)
    return made.durable.twins[offer.device].desired.get("m")


TRIAL = TrialPolicy(
    soak_s=Decimal(7),
    traffic_share=Decimal("0.5"),
    reverse_share=Decimal("0.1"),
    maintenance=("02:00-03:00",),
    max_hold_s=Decimal(60),
)


def test_an_offer_is_the_next_document_with_the_strategys_policy() -> None:
    made = world(sources=("http://a/{sha256}",), twins={"a": Twin("a", document_version=8)})
    found = offered(made, Offer("a", "m", 2, "serve", 3), campaign("a", strategy=replace(STRATEGY, trial=TRIAL)))
    assert found == Assigned(
        release=2,
        generation=50,
        rollout="r",
        digest=V2.digest,
        sources=("http://a/{sha256}",),
        policy=TRIAL,
        attempt=3,
        offered_at=50.7,
    )
    twin = made.durable.twins["a"]
    assert (twin.document_version, twin.issued_at, made.caches.waiting) == (50, 50, {"a"})


def test_a_shadow_is_offered_as_one_and_the_policys_own_mode_never_counts() -> None:
    shadow = campaign("a", strategy=replace(STRATEGY, trial=replace(TRIAL, mode="shadow")))
    for mode in ("shadow", "serve"):
        found = offered(world(), Offer("a", "m", 2, mode), shadow)
        assert found is not None
        assert found.policy == replace(TRIAL, mode=mode)


def test_the_way_back_serves_all_at_once_and_names_the_form_that_was_confirmed() -> None:
    strategy = replace(STRATEGY, trial=replace(TRIAL, mode="shadow"))
    found = offered(world(), Offer("a", "m", 1), campaign("a", strategy=strategy))
    assert found is not None
    assert (found.release, found.digest) == (1, V1.digest)
    assert found.policy == replace(
        TRIAL,
        mode="serve",
        traffic_share=Decimal(1),
        reverse_share=Decimal(0),
        maintenance=(),
        max_hold_s=Decimal(0),
        signature="may_change",
    )
    stranger = offered(world(), Offer("x", "m", 1), campaign("a"))
    assert stranger is not None
    assert stranger.digest == ""


def test_each_member_is_offered_its_own_form() -> None:
    mixed = campaign(members=(Member(device="a", wave=0, digest="f" * 64),))
    own, first = offered(world(), Offer("a", "m", 2), mixed), offered(world(), Offer("x", "m", 2), mixed)
    assert own is not None
    assert first is not None
    assert (own.digest, first.digest) == ("f" * 64, V2.digest)


def test_nothing_to_run_takes_the_model_out_and_leaves_the_others() -> None:
    told = Assigned(release=1, generation=1, rollout="r0")
    made = world(twins={"a": Twin("a", document_version=1, desired={"m": told, "n": told})})
    assert offered(made, Offer("a", "m", 0), campaign("a")) is None
    after = made.durable.twins["a"]
    assert (after.desired, after.withdrawn, after.document_version) == ({"n": told}, {"m": 50}, 50)
    offered(made, Offer("a", "m", 2), campaign("a"))
    assert made.durable.twins["a"].withdrawn == {}, "what is wanted again is withdrawn no longer"


def neighbour(name: str, address: int) -> Twin:
    serve_at = f"http://10.0.0.{address}:80/{{sha256}}"
    return Twin(
        name, labels={"site": "n"}, serve_at=serve_at, connected=True, seen_at=50.0, reported={"m": state(stable=V2)}
    )


def test_neighbours_are_named_before_the_other_sources_and_bring_the_artifact_whole() -> None:
    delivery = Delivery(encoding="e", blob=describe(b"x", 1024))
    sources = tuple(f"http://s{number}/{{sha256}}" for number in range(MAX_SOURCES))
    asker = Twin("a", labels={"site": "n"}, hardware=replace(HARDWARE, encodings=("e",)))
    made = world(twins={"a": asker, "b": neighbour("b", 2)}, sources=sources, neighbours_by="site")
    made.durable.deliveries = {V2.digest: {"": delivery}}
    found = offered(made, Offer("a", "m", 2), campaign("a"))
    assert found is not None
    assert (found.sources, found.delivery) == (("http://10.0.0.2:80/{sha256}", *sources[:-1]), None)
    alone = replace(made.durable.twins["a"], labels={})
    made.durable.twins["a"] = alone
    found = offered(made, Offer("a", "m", 2), campaign("a"))
    assert found is not None
    assert (found.sources, found.delivery) == (sources, delivery)


def test_who_shares_is_looked_at_anew_in_each_pass() -> None:
    made = world(campaign("a"), twins={"b": neighbour("b", 2)}, neighbours_by="site")
    made.caches.near_by_label = {"n": []}
    reconcile(made, [beat(labels={"site": "n"})], 50.0)
    assert made.durable.twins["a"].desired["m"].sources == ("http://10.0.0.2:80/{sha256}",)
    unnamed = world(campaign("a"), twins={"b": neighbour("b", 2)})
    reconcile(unnamed, [beat(labels={"site": "n"})], 50.0)
    assert unnamed.durable.twins["a"].desired["m"].sources == ()


def delivery(size_bytes: int, encoding: str = "e", base: str = "") -> Delivery:
    return Delivery(encoding=encoding, blob=describe(bytes(size_bytes), 4096), base=base)


def test_the_fewest_bytes_that_the_device_can_undo_are_chosen() -> None:
    whole, change = delivery(50), delivery(10, base=V1.digest)
    made = world(deliveries={V2.digest: {"": whole, V1.digest: change, "z" * 64: delivery(1, base="z" * 64)}})
    able = replace(HARDWARE, encodings=("e",))

    def chosen(hardware: Hardware | None, **slots: Any) -> Delivery | None:
        reported = {"m": state(**slots)} if slots else {}
        return delivery_for(made, Twin("a", hardware=hardware, reported=reported), "m", V2.digest)

    assert chosen(able, stable=V1) == change
    assert chosen(able, stable=None, trial=V1) == change
    assert chosen(able, stable=VersionRef(release=3, digest="3" * 64)) == whole
    assert chosen(able) == whole
    assert chosen(HARDWARE, stable=V1) is None, "an encoding that the device does not know is not offered"
    assert chosen(replace(HARDWARE, encodings=("other",)), stable=V1) is None
    assert chosen(None, stable=V1) is None
    assert delivery_for(made, Twin("a", hardware=able), "m", "unknown") is None


# What is measured.


def test_a_window_is_added_to_the_device_and_to_rollouts_of_its_model_that_are_under_way() -> None:
    members = (Member(device="a", wave=0, stratum="arm"),)
    made = world(
        campaign(members=members),
        campaign(id="held", members=members, status="paused"),
        campaign(id="other", model="n", members=members),
        campaign(id="ended", members=members, status="aborted"),
        campaign("b", id="elsewhere"),
    )
    reconcile(made, [telemetry(interval(), interval(V1))], 130.0)
    place = ("arm", int(130.0 // BUCKET_S))
    cell = Cell(Sums(inferences=10, errors=1), Sums(inferences=10, errors=1))
    assert made.measured.cells == {"r": {place: cell}, "held": {place: cell}}
    assert made.measured.totals == {("a", "m", number): Sums(inferences=10, errors=1) for number in (1, 2)}
    reconcile(made, [telemetry(interval(), seq=2)], 131.0)
    assert made.measured.cells["r"][place].treated.inferences == 20
    assert made.measured.totals["a", "m", 2].inferences == 20


def test_measurements_are_kept_for_a_day() -> None:
    made = world(campaign("a"))
    for bucket in (0, 1, MAX_BUCKETS):
        reconcile(made, [telemetry(interval())], bucket * BUCKET_S)
    assert [bucket for _, bucket in made.measured.cells["r"]] == [0, 1, MAX_BUCKETS]
    reconcile(made, [telemetry(interval())], (MAX_BUCKETS + 1) * BUCKET_S)
    assert [bucket for _, bucket in made.measured.cells["r"]] == [1, MAX_BUCKETS, MAX_BUCKETS + 1]
    reconcile(made, [telemetry(interval())], (2 * MAX_BUCKETS + 1) * BUCKET_S)
    assert [bucket for _, bucket in made.measured.cells["r"]] == [MAX_BUCKETS + 1, 2 * MAX_BUCKETS + 1]


def test_distributions_add_up_by_model_release_and_column() -> None:
    made = world()
    said = interval(features={"x": (1, 2)}, outputs=(3,))
    reconcile(made, [telemetry(said), telemetry(said, interval(V1, outputs=(5,)), device="b")], 0.0)
    assert made.measured.distributions == {("m", 2): {"x": (2, 4), "": (6,)}, ("m", 1): {"": (5,)}}
    reconcile(made, [telemetry(interval(V1, features={"x": (7,)}))], 0.0)
    assert made.measured.distributions["m", 1] == {"x": (7,), "": (5,)}
    reconcile(made, [telemetry(interval(VersionRef(release=9, digest="9" * 64)))], 0.0)
    assert ("m", 9) not in made.measured.distributions


def test_telemetry_tells_what_a_device_moves_and_makes_it_known_without_waiting_for_it() -> None:
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
