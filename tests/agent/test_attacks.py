"""The attack table, part one: what somebody with the broker or with stolen keys can make a device do. Nothing.

Each test is a row of docs/reference/attacks.md. The real Agent on simulated flash and a simulated broker; after every
attack v1 goes on serving, the refusal is reported with its code, and where the design says so, an honest step recovers.
"""

from datetime import datetime, timedelta
from random import Random

import pytest
from msgspec.structs import replace
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Snapshot, Timestamp

from agent.core.model import Steady
from contract import topics
from contract.desired import DesiredTarget
from contract.manifest import Manifest
from contract.messages import Report
from contract.trust import repository
from contract.trust.documents import sign, sign_desired
from contract.trust.repository import Online
from contract.trust.verified import Wanted
from contract.versions import MAX_VERSION
from contract.wire import decode, encode
from firmware_sim import power
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import KEYS, RELEASE, ROOTS, TARGETS, WORLD_BEGAN, signer
from firmware_sim.models import make_model
from firmware_sim.scripts import POLICY, publish
from firmware_sim.solo import NAME, Broker, Solo

V1, V2, V3 = make_model(1, "good"), make_model(2, "good"), make_model(3, "good")
EVIL = make_model(9, "wrong")
MODELS = (V1, V2, V3)
ROLE = topics.model_role("m")


@pytest.fixture
def device() -> Solo:
    """A device on which v1 is stable."""
    made = Solo(Flash(Random(1)), Broker(), (*MODELS, EVIL))
    publish(made, 1, 1, MODELS)
    made.run(120)
    assert made.device.serving == V1.manifest.artifact.sha256
    return made


def refusals(device: Solo) -> list[str]:
    raws = (raw for topic, raw in device.broker.published if topic == topics.report(NAME))
    reports = {(report.boot, report.seq): report for report in (decode(raw, Report) for raw in raws)}
    return [report.refusal.code for report in reports.values() if report.refusal is not None]


def after(device: Solo, *messages: tuple[str, bytes], seconds: float = 60) -> list[str]:
    """What the device has refused after these messages; v1 serves on."""
    known = len(refusals(device))
    for topic, payload in messages:
        device.offer(topic, payload)
    device.run(device.now + seconds)
    assert device.device.serving == V1.manifest.artifact.sha256
    return refusals(device)[known:]


def want(release: int, manifest: Manifest, generation: int) -> Wanted:
    custom = DesiredTarget(model="m", generation=generation, rollout="r", policy=POLICY)
    return Wanted("m", release, manifest.artifact.length, manifest.artifact.sha256, custom)


def desired(
    version: int,
    *wants: Wanted,
    device: str = NAME,
    by: CryptoSigner | None = None,
    days: float = 7,
    issued: datetime = WORLD_BEGAN,
    nonce: str = "",
) -> tuple[str, bytes]:
    expires = WORLD_BEGAN + timedelta(days=days)
    raw = sign_desired(
        device, wants, version=version, issued=issued, expires=expires, signer=by or KEYS.director, nonce=nonce
    )
    return topics.desired(NAME), raw


def bundled(files: dict[str, str]) -> tuple[str, bytes]:
    return topics.trust(), encode(repository.trust_bundle(files))


def date(device: Solo) -> datetime:
    return WORLD_BEGAN + timedelta(seconds=int(device.now))


def honest(device: Solo, version: int, release: int = 2) -> None:
    """An honest step gets through: the device ends up running `release`."""
    publish(device, version, release, MODELS)
    device.run(device.now + 120)
    stable = device.device.record.stable
    assert stable is not None
    assert stable.manifest.release == release


def test_broker_tampers_or_forges_desired_or_trust_bundle(device: Solo) -> None:
    stranger = signer("stranger")
    assert after(device, desired(9, by=stranger)) == ["signature_invalid"]
    topic, raw = desired(9, want(2, V2.manifest, 9))
    assert after(device, (topic, raw.replace(b"models/m/v2", b"models/m/v3"))) == ["signature_invalid"]
    topic, raw = bundled(device.files)
    assert after(device, (topic, raw.replace(b"2026-01-03", b"2036-01-03"))) == ["signature_invalid"]
    forged = repository.refresh(device.files, Online(stranger, stranger, stranger), date(device))
    assert after(device, bundled(forged)) == ["signature_invalid"]
    assert after(device, (topic, raw[:-40])) == ["message_malformed"]
    honest(device, 2)


def test_broker_replays_older_desired(device: Solo) -> None:
    publish(device, 5, 1, MODELS)
    device.run(device.now + 30)
    assert after(device, desired(4)) == ["desired_rollback"]
    device.device.cut_power()
    device.run(device.now + 60)
    assert after(device, desired(3)) == ["desired_rollback"]


def test_two_documents_with_the_same_version(device: Solo) -> None:
    assert after(device, desired(1)) == ["desired_equivocation"]


def test_document_of_device_b_to_a(device: Solo) -> None:
    assert after(device, desired(9, device="other")) == ["wrong_device"]


def test_freeze_is_noticed_by_dates(device: Solo) -> None:
    assert after(device, desired(9, days=-1)) == ["desired_expired"]
    old = dict(device.files)
    device.run(3 * 86_400)  # the timestamp lives for two days
    assert set(after(device, bundled(old), desired(9, want(2, V2.manifest, 9)))) == {"metadata_expired"}


def test_freeze_on_a_device_without_a_clock_is_noticed_by_signed_time(device: Solo) -> None:
    newer = repository.refresh(device.files, KEYS, date(device) + timedelta(days=20))
    device.offer(*bundled(newer))
    device.run(device.now + 10)
    assert after(device, desired(9, days=10)) == ["desired_expired"]  # signed time is 20 days ahead of the clock


def test_freeze_is_noticed_by_a_nonce() -> None:
    device = Solo(Flash(Random(1)), Broker(), MODELS)
    device.device.nonce = "a1b2"
    publish(device, 1, 1, MODELS)
    device.run(60)
    assert refusals(device)[:1] == ["desired_not_fresh"]
    device.offer(*desired(2, want(1, V1.manifest, 2), nonce="a1b2"))
    device.run(120)
    assert device.device.serving == V1.manifest.artifact.sha256


def test_director_key_stolen_evil_model(device: Solo) -> None:
    assert after(device, desired(9, want(9, EVIL.manifest, 9))) == ["not_in_image_repo"]


def test_director_key_stolen_changed_hash(device: Solo) -> None:
    assert after(device, desired(9, want(2, EVIL.manifest, 9))) == ["image_mismatch"]


def test_director_key_stolen_vulnerable_old_model(device: Solo) -> None:
    manifests = {model.release: model.manifest for model in MODELS}
    now = date(device)
    role = repository.sign_role(device.files, "m", manifests, min_release=3, signers=[RELEASE], now=now)
    device.files = repository.refresh({**device.files, "models-m.json": role}, KEYS, now)
    assert after(device, (ROLE, role.encode()), bundled(device.files)) == []
    assert after(device, desired(9, want(2, V2.manifest, 9))) == ["below_min_release"]
    device.device.cut_power()
    device.run(device.now + 60)
    assert after(device, desired(10, want(2, V2.manifest, 10))) == ["below_min_release"]


def test_floor_is_kept_when_online_keys_drop_it(device: Solo) -> None:
    """Snapshot and timestamp keys are rotated, and with them the memory of versions: the floor stays."""
    test_director_key_stolen_vulnerable_old_model(device)
    fresh = Online(signer("snapshot-2"), signer("timestamp-2"), KEYS.director)
    now, files = date(device), dict(device.files)
    for role, old, new in (
        ("snapshot", KEYS.snapshot, fresh.snapshot),
        ("timestamp", KEYS.timestamp, fresh.timestamp),
    ):
        change = {role: (old.public_key.keyid, new.public_key)}
        files = repository.rotate_root(files, now, ROOTS, replace=change)
    for name in ("snapshot.json", "timestamp.json"):
        del files[name]
    older = repository.sign_role({}, "m", {2: V2.manifest}, signers=[RELEASE], now=now)
    files = repository.refresh({**files, "models-m.json": older}, fresh, now)
    after(device, bundled(files), (ROLE, older.encode()))
    assert "below_min_release" in after(device, desired(11, want(2, V2.manifest, 11)))


def test_all_controller_keys_stolen(device: Solo) -> None:
    """Snapshot, timestamp and director sign whatever the thief likes; the release signer's key is elsewhere."""
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


def test_fast_forward_of_versions_dies_with_the_directors_key(device: Solo) -> None:
    assert after(device, desired(2**31, want(1, V1.manifest, 2))) == []
    assert after(device, desired(15)) == ["desired_rollback"]
    new = rotate_director(device)
    assert after(device, desired(2**31 + 1, by=KEYS.director)) == ["signature_invalid"]
    device.offer(*desired(16, want(2, V2.manifest, 16), by=new))
    device.run(device.now + 120)
    assert device.device.serving == V2.manifest.artifact.sha256


@pytest.mark.parametrize("cut", [None, 1, 2, 3, 4])
def test_fast_forward_of_generations_dies_with_the_directors_key_whenever_power_fails(
    device: Solo, cut: int | None
) -> None:
    """The largest number that a document may give, for the version that runs already: nothing is higher."""
    assert after(device, desired(MAX_VERSION, want(1, V1.manifest, MAX_VERSION))) == []
    assert device.device.record.generation == MAX_VERSION
    new = rotate_director(device)
    if cut is not None:
        device.flash.power.plan = power.at(device.flash.power.operations + cut)
    device.offer(*desired(16, want(2, V2.manifest, 16), by=new))
    device.run(device.now + 180)
    assert device.device.serving == V2.manifest.artifact.sha256
    assert device.device.record.generation == 16


def test_no_document_counts_further_than_every_reader_of_json_can(device: Solo) -> None:
    past = DesiredTarget(model="m", generation=MAX_VERSION + 1, rollout="r", policy=POLICY)
    too_far = Wanted("m", 2, V2.manifest.artifact.length, V2.manifest.artifact.sha256, past)
    assert after(device, desired(9, too_far)) == ["message_malformed"]
    assert after(device, desired(MAX_VERSION + 1, want(2, V2.manifest, 9))) == ["message_malformed"]


def test_a_document_that_does_not_name_a_model_leaves_it_and_only_a_withdrawal_ends_it(device: Solo) -> None:
    """A controller that was restored, or that took a device over, does not know all that it runs."""
    assert after(device, desired(9)) == []
    gone = sign_desired(
        NAME, (), version=10, issued=date(device), expires=date(device) + timedelta(days=7), signer=KEYS.director,
        withdrawn={"m": 10},
    )  # fmt: skip
    device.offer(topics.desired(NAME), gone)
    device.run(device.now + 60)
    assert (device.device.serving, device.device.record.stable) == ("", None)
    assert after_withdrawal_comes_back(device)


def after_withdrawal_comes_back(device: Solo) -> bool:
    device.offer(*desired(11, want(2, V2.manifest, 11)))
    device.run(device.now + 180)
    return device.device.serving == V2.manifest.artifact.sha256


def test_fast_forward_of_time_dies_with_the_directors_key(device: Solo) -> None:
    far = WORLD_BEGAN + timedelta(days=365 * 70)
    assert after(device, desired(9, want(1, V1.manifest, 9), days=365 * 80, issued=far)) == []
    assert after(device, desired(10)) == ["desired_expired"]
    new = rotate_director(device)
    device.offer(*desired(11, want(2, V2.manifest, 11), by=new))
    device.run(device.now + 120)
    assert device.device.serving == V2.manifest.artifact.sha256


def test_fast_forward_by_a_stolen_timestamp_key_dies_with_it(device: Solo) -> None:
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


@pytest.mark.parametrize("topic", [topics.trust(), ROLE, topics.desired(NAME)], ids=["trust_bundle", "role", "desired"])
def test_endless_and_deep_data(device: Solo, topic: str) -> None:
    assert after(device, (topic, b" " * (512 * 1024 + 1))) == ["message_too_large"]
    assert after(device, (topic, b"[" * 50_000)) == ["message_malformed"]
    assert after(device, (topic, b"\xff" * 50)) == ["message_malformed"]


def test_a_role_presented_as_desired_and_a_desired_as_role(device: Solo) -> None:
    assert after(device, (topics.desired(NAME), device.files["models-m.json"].encode())) == ["signature_invalid"]
    assert after(device, (ROLE, desired(9)[1])) == ["signature_invalid"]


def test_a_broken_trust_file_on_flash_is_set_aside_and_trust_starts_from_the_root_again(device: Solo) -> None:
    device.flash.write("trust", b"garbage")
    device.flash.sync("trust")
    device.device.cut_power()
    device.run(device.now + 60)
    assert "record_corrupt" in refusals(device)
    honest(device, 2)


NEW_TARGETS = signer("targets-2")


def without_the_targets_key(device: Solo) -> dict[str, str]:
    """The fleet's metadata after its root has revoked the targets key, which had named the director."""
    change = {"targets": (TARGETS.public_key.keyid, NEW_TARGETS.public_key)}
    files = repository.rotate_root(device.files, date(device), ROOTS, replace=change)
    files["targets.json"] = repository.resign_targets(files, NEW_TARGETS, date(device))
    return repository.refresh(files, KEYS, date(device))


@pytest.mark.parametrize("spoilt", ["timestamp", "snapshot", "targets", "another root"])
def test_a_root_in_a_refused_bundle_stays_and_the_key_that_it_revokes_is_believed_no_more(
    device: Solo, spoilt: str
) -> None:
    """The broker holds back everything but a root. It cannot make the device forget that root, not by a restart."""
    before, files = dict(device.files), without_the_targets_key(device)
    made = repository.trust_bundle(files)
    part = {"roots": (*made.roots, "garbage")} if spoilt == "another root" else {spoilt: "garbage"}
    assert after(device, (topics.trust(), encode(replace(made, **part)))) == ["message_malformed"]
    assert after(device, desired(9, want(2, V2.manifest, 9))) == ["trust_missing"]
    device.device.cut_power()
    device.run(device.now + 60)
    assert "signature_invalid" in after(device, bundled(before)), "what the revoked key signed, said again"
    assert after(device, desired(10, want(2, V2.manifest, 10)))[-1:] == ["trust_missing"]
    device.files = files
    honest(device, 11)


def test_what_was_verified_before_a_fault_stays_and_a_director_that_it_replaces_is_believed_no_more(
    device: Solo,
) -> None:
    """The new targets do not come whole, but timestamp and snapshot say that there are new ones."""
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


def test_a_version_that_a_former_director_named_is_not_admitted_when_its_role_comes(device: Solo) -> None:
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
    """Its version is the one that the snapshot names; its signature is not of a key that targets name by now."""
    other = signer("release-2")
    files = dict(device.files)
    files["targets.json"] = repository.delegate(files, "m", [other.public_key], targets=TARGETS, now=date(device))
    device.files = repository.refresh(files, KEYS, date(device))
    assert after(device, bundled(device.files)) == []
    del device.broker.retained[topics.trust()], device.broker.retained[ROLE]
    device.device.cut_power()
    device.run(device.now + 60)
    assert "not_in_image_repo" in after(device, desired(9, want(2, V2.manifest, 9)))


def rotate_director(device: Solo) -> CryptoSigner:
    """The people with the targets key replace the director's."""
    new = signer("director-2")
    old = KEYS.director.public_key.keyid
    files = dict(device.files)
    files["targets.json"] = repository.rotate_director(files, old, new.public_key, TARGETS, date(device))
    device.files = repository.refresh(files, KEYS, date(device))
    device.offer(*bundled(device.files))
    device.run(device.now + 10)
    return new
