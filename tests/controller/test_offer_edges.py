"""Edges of membership and offers: which devices join a rollout, and the content of an offer."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from contract.blobs import describe
from contract.desired import MAX_SOURCES, Delivery, TrialPolicy
from contract.messages import (
    Hardware,
    VersionRef,
)
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.decisions import reconcile
from controller.reconcile.membership import confirmed_versions, join_newcomers
from controller.reconcile.offers import delivery_for, offer_release
from controller.reconcile.world import World, members_of
from controller.rollout.decide import Offer
from controller.rollout.model import Member, Rollout
from tests.controller.reconcile_worlds import HARDWARE, STRATEGY, V1, V2, beat, campaign, state, world

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


def test_a_new_device_is_matched_to_a_variant_or_excluded_with_the_reason() -> None:
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


def test_a_device_with_the_release_in_quarantine_does_not_join() -> None:
    made = world(campaign(), quarantine={"a": {V2.digest: "r0"}})
    reconcile(made, [beat()], 0.0)
    assert (made.durable.rollouts["r"].members, list(made.durable.rollouts["r"].excluded)) == ((), ["a"])


def test_devices_join_rollouts_that_run_or_are_the_newest_completed() -> None:
    for status, joins in (("running", True), ("paused", True), ("completed", True), ("aborting", False)):
        made = world(campaign(status=status))
        reconcile(made, [beat()], 0.0)
        assert bool(made.durable.rollouts["r"].members) is joins, status


def test_members_are_indexed_by_device_and_again_when_they_change() -> None:
    made, first = world(), campaign("a")
    assert list(members_of(made, first)) == ["a"]
    assert members_of(made, first) is members_of(made, first)
    assert list(members_of(made, campaign("a", "b"))) == ["a", "b"]


def test_the_confirmed_version_is_returned_for_each_device_that_has_one() -> None:
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


def test_a_shadow_is_offered_in_shadow_mode_and_the_policys_own_mode_is_ignored() -> None:
    shadow = campaign("a", strategy=replace(STRATEGY, trial=replace(TRIAL, mode="shadow")))
    for mode in ("shadow", "serve"):
        found = offered(world(), Offer("a", "m", 2, mode), shadow)
        assert found is not None
        assert found.policy == replace(TRIAL, mode=mode)


def test_a_roll_back_serves_all_requests_at_once_and_names_the_confirmed_variant() -> None:
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


def test_each_member_is_offered_its_own_variant() -> None:
    mixed = campaign(members=(Member(device="a", wave=0, digest="f" * 64),))
    own, first = offered(world(), Offer("a", "m", 2), mixed), offered(world(), Offer("x", "m", 2), mixed)
    assert own is not None
    assert first is not None
    assert (own.digest, first.digest) == ("f" * 64, V2.digest)


def test_an_offer_of_no_version_removes_the_model_and_leaves_the_others() -> None:
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


def test_neighbours_are_named_before_the_other_sources_and_send_the_whole_artifact() -> None:
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


def test_the_sharing_devices_are_looked_up_again_in_each_pass() -> None:
    made = world(campaign("a"), twins={"b": neighbour("b", 2)}, neighbours_by="site")
    made.caches.near_by_label = {"n": []}
    reconcile(made, [beat(labels={"site": "n"})], 50.0)
    assert made.durable.twins["a"].desired["m"].sources == ("http://10.0.0.2:80/{sha256}",)
    unnamed = world(campaign("a"), twins={"b": neighbour("b", 2)})
    reconcile(unnamed, [beat(labels={"site": "n"})], 50.0)
    assert unnamed.durable.twins["a"].desired["m"].sources == ()


def delivery(size_bytes: int, encoding: str = "e", base: str = "") -> Delivery:
    return Delivery(encoding=encoding, blob=describe(bytes(size_bytes), 4096), base=base)


def test_the_smallest_encoding_that_the_device_can_decode_is_chosen() -> None:
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
