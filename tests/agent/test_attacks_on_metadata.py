"""The attack table, part one: the fleet's signed metadata forged, mixed or held back. No device is deceived
permanently.

Each test is a row of docs/reference/attacks.md, on a device as in test_attacks.
"""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from tuf.api.metadata import Metadata, Root, Snapshot, Timestamp

from agent.core.model import Steady
from contract import topics
from contract.trust import repository
from contract.trust.documents import sign
from contract.trust.repository import Online
from contract.wire import encode
from firmware_sim.fleet_keys import KEYS, RELEASE, ROOTS, TARGETS, WORLD_BEGAN, signer
from firmware_sim.models import make_model
from firmware_sim.scripts import publish
from firmware_sim.solo import Solo
from tests.agent.attacked_device import (
    EVIL,
    MODELS,
    ROLE,
    V2,
    after,
    attacked_device,
    bundled,
    date,
    desired,
    honest,
    refusals,
    rotate_director,
    want,
)


@pytest.fixture
def device() -> Solo:
    return attacked_device()


def test_all_controller_keys_stolen(device: Solo) -> None:
    """Snapshot, timestamp and director sign anything for the attacker; the release signer's key is elsewhere."""
    now = date(device)
    evil = repository.sign_role(device.files, "m", {9: EVIL.manifest}, signers=[KEYS.director], now=now)
    stolen = repository.refresh({**device.files, "models-m.json": evil}, KEYS, now)
    codes = after(device, bundled(stolen), (ROLE, evil.encode()), desired(9, want(9, EVIL.manifest, 9)))
    assert set(codes) == {"signature_invalid", "not_in_image_repo"}
    device.files = repository.refresh(stolen | {"models-m.json": device.files["models-m.json"]}, KEYS, now)
    newer = {model.release: model.manifest for model in MODELS}
    for _ in range(2):
        role = repository.sign_role(device.files, "m", newer, signers=[RELEASE], now=now)
        device.files = repository.refresh({**device.files, "models-m.json": role}, KEYS, now)
    honest(device, 10)


def test_replacing_a_stolen_timestamp_key_ends_its_fast_forward(device: Solo) -> None:
    stamp = Metadata[Timestamp].from_bytes(device.files["timestamp.json"].encode()).signed
    stamp.version += 1000
    stamp.expires = WORLD_BEGAN + timedelta(days=365 * 90)
    stamp.unrecognized_fields["x-issued"] = (WORLD_BEGAN + timedelta(days=365 * 80)).isoformat()
    stolen = {**device.files, "timestamp.json": sign(stamp, KEYS.timestamp).decode()}
    assert after(device, bundled(stolen)) == []
    honestly = repository.refresh(device.files, KEYS, date(device))
    assert after(device, bundled(honestly)) == ["metadata_expired"]
    new = Online(KEYS.snapshot, signer("timestamp-2"), KEYS.director)
    change = {"timestamp": (KEYS.timestamp.public_key.keyid, new.timestamp.public_key)}
    rooted = repository.rotate_root(device.files, date(device), ROOTS, replace=change)
    del rooted["timestamp.json"]
    device.files = repository.refresh(rooted, new, date(device))
    assert after(device, bundled(device.files)) == []
    device.offer(*desired(20, want(2, V2.manifest, 20)))
    device.run(device.now + 120)
    assert device.device.serving == V2.manifest.artifact.sha256


def test_one_root_key_stolen(device: Solo) -> None:
    thief = signer("thief")
    change = {"targets": (TARGETS.public_key.keyid, thief.public_key)}
    for signers in ([ROOTS[0]], [ROOTS[0], thief]):
        forged = repository.rotate_root(device.files, date(device), signers, replace=change)
        assert after(device, bundled(repository.refresh(forged, KEYS, date(device)))) == ["signature_invalid"]
    honest(device, 2)


def test_mix_and_match_of_old_and_new_files(device: Solo) -> None:
    old = dict(device.files)
    publish(device, 2, 1, (*MODELS, make_model(4, "good")))
    device.run(device.now + 30)
    mixed = {**device.files, "snapshot.json": old["snapshot.json"]}
    newer = repository.refresh(device.files, KEYS, date(device))
    assert after(device, bundled({**old, "timestamp.json": newer["timestamp.json"]})) == []  # its own snapshot fits
    assert after(device, bundled({**mixed, "timestamp.json": old["timestamp.json"]})) == ["metadata_rollback"]
    assert after(device, (ROLE, old["models-m.json"].encode())) == ["metadata_rollback"]


def test_a_role_dropped_from_the_snapshot(device: Solo) -> None:
    snapshot = Metadata[Snapshot].from_bytes(device.files["snapshot.json"].encode()).signed
    del snapshot.meta["models-m.json"]
    snapshot.version += 1
    files = dict(device.files)
    files["snapshot.json"] = sign(snapshot, KEYS.snapshot).decode()
    stamp = Metadata[Timestamp].from_bytes(files["timestamp.json"].encode()).signed
    stamp.version += 1
    stamp.snapshot_meta.version = snapshot.version
    files["timestamp.json"] = sign(stamp, KEYS.timestamp).decode()
    assert after(device, bundled(files)) == ["metadata_mismatch"]


def test_a_broken_trust_file_on_flash_is_set_aside_and_trust_starts_again_from_the_root(device: Solo) -> None:
    device.flash.write("trust", b"garbage")
    device.flash.sync("trust")
    device.device.cut_power()
    device.run(device.now + 60)
    assert "record_corrupt" in refusals(device)
    honest(device, 2)


NEW_TARGETS = signer("targets-2")


def without_the_targets_key(device: Solo) -> dict[str, str]:
    """Returns the fleet's metadata after its root has revoked the targets key, which had named the director."""
    change = {"targets": (TARGETS.public_key.keyid, NEW_TARGETS.public_key)}
    files = repository.rotate_root(device.files, date(device), ROOTS, replace=change)
    files["targets.json"] = repository.resign_targets(files, NEW_TARGETS, date(device))
    return repository.refresh(files, KEYS, date(device))


@pytest.mark.parametrize("spoilt", ["timestamp", "snapshot", "targets", "another root"])
def test_a_root_in_a_refused_bundle_is_kept_and_the_key_that_it_revokes_is_refused(device: Solo, spoilt: str) -> None:
    """The broker sends only a root. The device keeps that root, also after a restart."""
    before, files = dict(device.files), without_the_targets_key(device)
    made = repository.trust_bundle(files)
    part = {"roots": (*made.roots, "garbage")} if spoilt == "another root" else {spoilt: "garbage"}
    assert after(device, (topics.trust(), encode(replace(made, **part)))) == ["message_malformed"]
    assert after(device, desired(9, want(2, V2.manifest, 9))) == ["trust_missing"]
    device.device.cut_power()
    device.run(device.now + 60)
    assert "signature_invalid" in after(device, bundled(before)), "a message of the revoked key, sent again"
    assert after(device, desired(10, want(2, V2.manifest, 10)))[-1:] == ["trust_missing"]
    device.files = files
    honest(device, 11)


def test_parts_verified_before_a_fault_are_kept_and_a_director_that_they_replace_is_refused(
    device: Solo,
) -> None:
    """The new targets are incomplete, but timestamp and snapshot say that there are new ones."""
    old = KEYS.director.public_key.keyid
    files = dict(device.files)
    files["targets.json"] = repository.rotate_director(
        files, old, signer("director-2").public_key, TARGETS, date(device)
    )
    files = repository.refresh(files, KEYS, date(device))
    cut = {**files, "targets.json": device.files["targets.json"]}
    assert after(device, bundled(cut)) == ["metadata_rollback"]
    assert after(device, desired(9, want(2, V2.manifest, 9))) == ["trust_missing"]
    assert after(device, bundled(device.files)) == ["metadata_rollback"], "an older timestamp than the one that stayed"
    device.device.cut_power()
    device.run(device.now + 60)
    assert after(device, desired(10, want(2, V2.manifest, 10)))[-1:] == ["trust_missing"]
    assert after(device, bundled(files), desired(11, want(2, V2.manifest, 11)))[-1:] == ["signature_invalid"]


def test_a_version_that_a_former_director_named_is_refused_when_its_role_arrives(device: Solo) -> None:
    v4 = make_model(4, "good")
    assert after(device, desired(2, want(4, v4.manifest, 2)), seconds=5) == []
    rotate_director(device)
    newer = {model.release: model.manifest for model in (*MODELS, v4)}
    role = repository.sign_role(device.files, "m", newer, signers=[RELEASE], now=date(device))
    device.files = repository.refresh({**device.files, "models-m.json": role}, KEYS, date(device))
    after(device, bundled(device.files), (ROLE, role.encode()))
    agent = device.device._agent
    assert agent is not None
    assert isinstance(agent.models["m"].state, Steady), "and nothing is fetched"


def test_a_role_on_flash_whose_signer_was_replaced_is_not_trusted_after_a_restart(device: Solo) -> None:
    """Its version is the one that the snapshot names, but targets no longer name the key of its signature."""
    other = signer("release-2")
    files = dict(device.files)
    files["targets.json"] = repository.delegate(files, "m", [other.public_key], targets=TARGETS, now=date(device))
    device.files = repository.refresh(files, KEYS, date(device))
    assert after(device, bundled(device.files)) == []
    del device.broker.retained[topics.trust()], device.broker.retained[ROLE]
    device.device.cut_power()
    device.run(device.now + 60)
    assert "not_in_image_repo" in after(device, desired(9, want(2, V2.manifest, 9)))


def rooted(device: Solo, files: dict[str, str], *left_out: int) -> tuple[str, bytes]:
    """A trust bundle of these files without some of its roots, as a broker may send it."""
    made = repository.trust_bundle(files)
    roots = tuple(text for number, text in enumerate(made.roots, start=1) if number not in left_out)
    return topics.trust(), encode(replace(made, roots=roots))


def kept_root(device: Solo) -> int:
    """The version of the root that is on flash."""
    agent = device.device._agent
    assert agent is not None
    kept = agent.kept_trust()
    assert kept is not None
    return Metadata[Root].from_bytes(kept.root.encode()).signed.version


def test_an_old_root_that_is_sent_again_does_not_make_a_revoked_key_valid(device: Solo) -> None:
    before, second = dict(device.files), without_the_targets_key(device)
    third = repository.refresh(repository.rotate_root(second, date(device), ROOTS), KEYS, date(device))
    assert after(device, bundled(third)) == []
    revoked = {
        **repository.refresh(before, KEYS, date(device) + timedelta(days=1)),
        "1.root.json": before["1.root.json"],
    }
    for replayed in (before, second, revoked):
        assert set(after(device, bundled(replayed))) & {"metadata_rollback", "signature_invalid"}
        assert kept_root(device) == 3
        device.device.cut_power()
        device.run(device.now + 60)
        assert kept_root(device) == 3, "nor after a restart"
    device.files = third
    honest(device, 11)


def test_a_root_without_its_predecessor_is_refused(device: Solo) -> None:
    """An attacker with the keys of later roots cannot leave out the root that names them."""
    thief = signer("thief")
    files = without_the_targets_key(device)
    stolen = {"targets": (NEW_TARGETS.public_key.keyid, thief.public_key)}
    skipped = repository.refresh(repository.rotate_root(files, date(device), ROOTS, replace=stolen), KEYS, date(device))
    after(device, rooted(device, skipped, 2), seconds=5)
    assert kept_root(device) == 1
    device.files = files
    honest(device, 11)
