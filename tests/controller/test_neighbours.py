"""Which devices are named as neighbours: near, online, serving, and with the artifact already."""

from collections import Counter

import pytest
from msgspec.structs import replace

from contract.blobs import sha256_hex
from contract.errors import BadInput
from contract.messages import Hardware, Heartbeat
from contract.wire import decode, encode
from controller.fleet.neighbours import MAX_NEIGHBOURS, neighbours_by_label, neighbours_of
from controller.fleet.twin import Twin, fold_heartbeat
from controller.reconcile.decisions import reconcile
from controller.reconcile.preview import plan_rollout
from controller.reconcile.world import World
from tests.controller.test_deliveries import AT_ONCE, NEW, OLD, delivery, holding, manifest_of

SITE = "site"
WANTED = sha256_hex(NEW)
HARDWARE = Hardware(machine="x86_64", cpus=2, memory_mb=512, python="3.11", onnxruntime="1.32", agent="0.1.0")


def at(address: int) -> str:
    return f"http://10.0.0.{address}:8472/{{sha256}}"


def near(name: str, data: bytes = NEW, *, site: str = "north", address: int = 0) -> Twin:
    """A device of a site; one that has an address shares what it holds."""
    made = replace(holding(name, data), labels={SITE: site}, seen_at=100.0, connected=True)
    return replace(made, serve_at=at(address)) if address else made


def named(asker: Twin, *others: Twin, label: str = SITE, now: float = 110.0) -> tuple[str, ...]:
    twins = {twin.device: twin for twin in (asker, *others)}
    return neighbours_of(asker, label, "m", WANTED, neighbours_by_label(label, twins, now, 90.0))


def test_a_device_at_the_same_site_that_has_confirmed_and_shares_the_artifact_is_named() -> None:
    assert named(near("a", OLD), near("b", address=2)) == (at(2),)


def test_devices_elsewhere_offline_on_other_versions_or_without_sharing_are_not_named() -> None:
    asker = near("a", OLD, address=1)
    assert named(asker, near("b", site="south", address=2)) == ()
    assert named(asker, near("b", OLD, address=2)) == ()
    assert named(asker, near("b")) == ()
    assert named(asker, replace(near("b", address=2), connected=False)) == ()
    assert named(asker, near("b", address=2), now=300.0) == (), "silent"
    assert named(asker, near("b", address=2), label="") == (), "the operator has named no label"
    assert named(replace(asker, labels={}), replace(near("b", address=2), labels={})) == (), (
        "a device without a site has no neighbours"
    )


def test_a_device_is_not_its_own_neighbour() -> None:
    assert named(near("a", address=1)) == ()


def test_requests_of_a_large_site_are_spread_evenly_and_each_device_asks_two_neighbours() -> None:
    holders = [near(f"h{number:02}", address=number + 1) for number in range(40)]
    askers = [near(f"a{number:03}", OLD) for number in range(400)]
    near_by_label = neighbours_by_label(SITE, {twin.device: twin for twin in (*holders, *askers)}, 110.0, 90.0)
    asked = Counter(address for asker in askers for address in neighbours_of(asker, SITE, "m", WANTED, near_by_label))
    assert asked.total() == MAX_NEIGHBOURS * len(askers)
    assert len(asked) == len(holders)
    assert max(asked.values()) <= 3 * asked.total() / len(holders)


def offered(*, label: str, sources: tuple[str, ...] = ()) -> World:
    """A rollout to one device whose neighbour has the version already, and a change that would be small."""
    made = World(silent_s=90.0, sources=sources, neighbours_by=label)
    made.durable.twins = {"a": replace(near("a", OLD), document_version=1), "b": near("b", address=2)}
    made.durable.deliveries[WANTED] = {sha256_hex(OLD): delivery(100, sha256_hex(OLD))}
    planned = plan_rollout(made, manifest_of(NEW), AT_ONCE, name="r", model="m", selector={}, now=100.0)
    made.durable.rollouts["r"] = planned
    reconcile(made, [], 110.0)
    return made


def test_a_document_lists_the_neighbour_before_other_sources_and_the_whole_artifact() -> None:
    assigned = offered(label=SITE, sources=("https://cdn.example/{sha256}",)).durable.twins["a"].desired["m"]
    assert assigned.sources == (at(2), "https://cdn.example/{sha256}")
    assert assigned.delivery is None, "a neighbour cannot send a change"


def test_without_the_site_label_no_neighbour_is_named_and_the_change_is() -> None:
    assigned = offered(label="").durable.twins["a"].desired["m"]
    assert assigned.sources == ()
    assert assigned.delivery is not None


def heartbeat(serve_at: str) -> Heartbeat:
    return Heartbeat(protocol=1, device="a", boot=1, seq=1, uptime_s=1, hardware=HARDWARE, serve_at=serve_at)


def test_a_device_reports_its_sharing_address_until_it_stops_sharing() -> None:
    twin = fold_heartbeat(Twin("a"), heartbeat(at(7)), 1.0)
    assert twin.serve_at == at(7)
    assert fold_heartbeat(twin, replace(heartbeat(""), seq=2), 2.0).serve_at == ""


@pytest.mark.parametrize(
    "serve_at",
    [
        "http://internal.example/{sha256}",
        "http://10.0.0.7:80/admin?x={sha256}",
        "http://user@10.0.0.7:80/{sha256}",
        "https://10.0.0.7:443/{sha256}",
        "http://10.0.0.7/{sha256}",
        "file:///{sha256}",
        "http://10.0.0.7:80/{sha256}\n",
    ],
)
def test_a_heartbeat_with_an_address_for_anything_but_a_digest_is_refused(serve_at: str) -> None:
    with pytest.raises(BadInput):
        decode(encode(heartbeat(serve_at)), Heartbeat)
    assert decode(encode(heartbeat("http://[fd00::7]:8472/{sha256}")), Heartbeat).serve_at
