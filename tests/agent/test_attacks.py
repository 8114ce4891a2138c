"""The attack table, part one: an attacker with the broker or with stolen keys cannot make a device do anything wrong.

Each test is a row of docs/reference/attacks.md. The real Agent on simulated flash and a simulated broker. After every
attack v1 still serves and the refusal is reported with its code; if the design says so, an honest step recovers.
"""

from datetime import timedelta
from random import Random

import pytest

from contract import topics
from contract.desired import DesiredTarget
from contract.trust import repository
from contract.trust.documents import sign_desired
from contract.trust.repository import Online
from contract.trust.verified import Wanted
from contract.versions import MAX_VERSION
from firmware_sim import power
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import KEYS, RELEASE, ROOTS, WORLD_BEGAN, signer
from firmware_sim.scripts import POLICY, publish
from firmware_sim.solo import NAME, Broker, Solo
from tests.agent.attacked_device import (
    EVIL,
    MODELS,
    ROLE,
    V1,
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


def test_a_document_for_device_b_is_refused_by_device_a(device: Solo) -> None:
    assert after(device, desired(9, device="other")) == ["wrong_device"]


@pytest.mark.no_cover  # three days of a waiting device run through what the test above has measured
def test_a_freeze_is_noticed_by_dates(device: Solo) -> None:
    assert after(device, desired(9, days=-1)) == ["desired_expired"]
    old = dict(device.files)
    device.run(3 * 86_400)  # the timestamp lives for two days
    assert set(after(device, bundled(old), desired(9, want(2, V2.manifest, 9)))) == {"metadata_expired"}


def test_a_freeze_on_a_device_without_a_clock_is_noticed_by_signed_time(device: Solo) -> None:
    newer = repository.refresh(device.files, KEYS, date(device) + timedelta(days=20))
    device.offer(*bundled(newer))
    device.run(device.now + 10)
    assert after(device, desired(9, days=10)) == ["desired_expired"]  # signed time is 20 days ahead of the clock


def test_a_freeze_is_noticed_by_a_nonce() -> None:
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
    """Rotated snapshot and timestamp keys delete the remembered versions; the floor stays."""
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


def test_replacing_the_directors_key_ends_a_fast_forward_of_versions(device: Solo) -> None:
    assert after(device, desired(2**31, want(1, V1.manifest, 2))) == []
    assert after(device, desired(15)) == ["desired_rollback"]
    new = rotate_director(device)
    assert after(device, desired(2**31 + 1, by=KEYS.director)) == ["signature_invalid"]
    device.offer(*desired(16, want(2, V2.manifest, 16), by=new))
    device.run(device.now + 120)
    assert device.device.serving == V2.manifest.artifact.sha256


@pytest.mark.parametrize("cut", [None, 1, 2, 3, 4])
def test_replacing_the_directors_key_ends_a_fast_forward_of_generations_at_any_power_cut(
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


def test_no_document_has_a_version_larger_than_every_json_reader_can_read(device: Solo) -> None:
    past = DesiredTarget(model="m", generation=MAX_VERSION + 1, rollout="r", policy=POLICY)
    too_far = Wanted("m", 2, V2.manifest.artifact.length, V2.manifest.artifact.sha256, past)
    assert after(device, desired(9, too_far)) == ["message_malformed"]
    assert after(device, desired(MAX_VERSION + 1, want(2, V2.manifest, 9))) == ["message_malformed"]


def test_a_document_that_does_not_name_a_model_does_not_remove_it_and_only_a_withdrawal_does(device: Solo) -> None:
    """A controller that was restored, or that adopted a device, does not know all of its models."""
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


def test_replacing_the_directors_key_ends_a_fast_forward_of_time(device: Solo) -> None:
    far = WORLD_BEGAN + timedelta(days=365 * 70)
    assert after(device, desired(9, want(1, V1.manifest, 9), days=365 * 80, issued=far)) == []
    assert after(device, desired(10)) == ["desired_expired"]
    new = rotate_director(device)
    device.offer(*desired(11, want(2, V2.manifest, 11), by=new))
    device.run(device.now + 120)
    assert device.device.serving == V2.manifest.artifact.sha256


@pytest.mark.parametrize("topic", [topics.trust(), ROLE, topics.desired(NAME)], ids=["trust_bundle", "role", "desired"])
def test_endless_and_deep_data(device: Solo, topic: str) -> None:
    assert after(device, (topic, b" " * (512 * 1024 + 1))) == ["message_too_large"]
    assert after(device, (topic, b"[" * 50_000)) == ["message_malformed"]
    assert after(device, (topic, b"\xff" * 50)) == ["message_malformed"]


def test_a_role_presented_as_desired_and_a_desired_as_role(device: Solo) -> None:
    assert after(device, (topics.desired(NAME), device.files["models-m.json"].encode())) == ["signature_invalid"]
    assert after(device, (ROLE, desired(9)[1])) == ["signature_invalid"]
