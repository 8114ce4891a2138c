"""Bad input gets a coded report and a count, and stable still serves. The real Agent on simulated ports."""

from dataclasses import replace as change
from datetime import UTC, datetime
from random import Random

import pytest

from agent.flash.store import RESERVE_BYTES
from contract import topics
from contract.blobs import chunk_list, split
from contract.messages import Heartbeat, Report
from contract.trust import repository
from contract.trust.documents import sign_desired
from contract.wire import decode, encode
from firmware_sim.flash import Flash
from firmware_sim.fleet_keys import KEYS, RELEASE, WORLD_BEGAN
from firmware_sim.models import make_model
from firmware_sim.scripts import publish
from firmware_sim.solo import NAME, Broker, Solo
from tests.agent.attacked_device import after, refusals

V1, V2 = make_model(1, "good"), make_model(2, "good")
MODELS = (V1, V2)
DESIRED = topics.desired(NAME)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def device() -> Solo:
    """A device on which v1 is stable."""
    made = Solo(Flash(Random(1)), Broker(), MODELS)
    publish(made, 1, 1, MODELS)
    made.run(120)
    assert made.device.record.stable is not None
    assert made.device.serving == V1.manifest.artifact.sha256
    return made


def offer_and_live(device: Solo, topic: str, payload: bytes, seconds: float = 60) -> list[str]:
    return after(device, (topic, payload), seconds=seconds)


def document(device: Solo, version: int, *, name: str = NAME, expires: datetime = FAR) -> bytes:
    return sign_desired(
        name, (), version=version, issued=datetime(2026, 1, 1, tzinfo=UTC), expires=expires, signer=KEYS.director
    )


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"{", "message_malformed"),
        (b"\xff" * 40, "message_malformed"),
        (b"[" * 50_000, "message_malformed"),
        (b" " * (64 * 1024 + 1), "message_too_large"),
        (b'{"signatures":[],"signed":{}}', "message_malformed"),
    ],
    ids=["truncated", "not text", "deep", "oversize", "unsigned"],
)
def test_a_desired_document_that_cannot_be_read_is_refused_with_its_code(
    device: Solo, payload: bytes, code: str
) -> None:
    assert offer_and_live(device, DESIRED, payload) == [code]


def test_a_truncated_document_is_refused(device: Solo) -> None:
    assert offer_and_live(device, DESIRED, document(device, 9)[:-20]) == ["message_malformed"]


def test_a_tampered_document_is_refused(device: Solo) -> None:
    assert offer_and_live(device, DESIRED, document(device, 9).replace(b'"version":9', b'"version":8')) == [
        "signature_invalid"
    ]


def test_a_document_for_another_device_is_refused(device: Solo) -> None:
    assert offer_and_live(device, DESIRED, document(device, 9, name="other")) == ["wrong_device"]


def test_an_expired_document_is_refused(device: Solo) -> None:
    assert offer_and_live(device, DESIRED, document(device, 9, expires=datetime(2025, 1, 1, tzinfo=UTC))) == [
        "desired_expired"
    ]


def test_a_replayed_older_document_is_refused(device: Solo) -> None:
    publish(device, 5, 1, MODELS)
    device.run(device.now + 30)
    assert offer_and_live(device, DESIRED, document(device, 4)) == ["desired_rollback"]


def test_a_second_document_with_the_same_version_is_refused(device: Solo) -> None:
    assert offer_and_live(device, DESIRED, document(device, 1)) == ["desired_equivocation"]


def test_the_same_document_again_changes_nothing(device: Solo) -> None:
    before = device.device.record
    assert offer_and_live(device, DESIRED, device.broker.retained[DESIRED]) == []
    assert device.device.record == before


def test_a_release_that_no_signer_has_signed_is_reported_and_waits() -> None:
    device = Solo(Flash(Random(1)), Broker(), MODELS)
    publish(device, 1, 1, (V1,))
    device.run(120)
    publish(device, 2, 2, MODELS)
    fresh = Solo(device.flash, Broker(), MODELS)
    fresh.broker.retain(DESIRED, device.broker.retained[DESIRED])
    fresh.broker.retain(topics.trust(), device.broker.retained[topics.trust()])
    fresh.run(60)
    assert refusals(fresh) == ["not_in_image_repo"]
    assert fresh.device.serving == V1.manifest.artifact.sha256
    fresh.offer(topics.model_role("m"), device.broker.retained[topics.model_role("m")])
    fresh.run(70)
    assert refusals(fresh) == ["not_in_image_repo"]
    told = [decode(raw, Report) for topic, raw in fresh.broker.published if topic == topics.report(NAME)]
    assert told[-1].state is not None
    assert (told[-1].state.phase, told[-1].state.generation) == ("fetching", 2)


def test_an_assignment_on_which_director_and_signer_disagree_is_refused(device: Solo) -> None:
    evil = make_model(2, "wrong", size_bytes=6000)
    publish(device, 2, 2, MODELS)
    wanted = device.broker.retained.pop(topics.desired(NAME))
    lying = {1: V1.manifest, 2: evil.manifest}
    role = repository.sign_role(device.files, "m", lying, signers=[RELEASE], now=WORLD_BEGAN)
    files = repository.refresh({**device.files, "models-m.json": role}, KEYS, WORLD_BEGAN)
    device.offer(topics.trust(), encode(repository.trust_bundle(files)))
    device.offer(topics.model_role("m"), role.encode())
    known = Solo(device.flash, device.broker, MODELS)
    known.run(10)
    known.offer(topics.desired(NAME), wanted)
    known.run(60)
    assert "image_mismatch" in refusals(known)
    assert known.device.serving == V1.manifest.artifact.sha256


@pytest.mark.parametrize("damaged", [b"damaged", b"\0" * V2.manifest.artifact.span(1)[1]], ids=["short", "other"])
def test_damaged_duplicate_and_foreign_chunks_are_dropped_and_the_update_still_arrives(
    device: Solo, damaged: bytes
) -> None:
    blob = V2.manifest.artifact
    publish(device, 2, 2, MODELS)
    device.broker.retain(topics.chunk(blob.sha256, 1), damaged)
    device.run(device.now + 5)
    assert device.device.serving == V1.manifest.artifact.sha256
    device.offer(topics.chunk("ab" * 32, 0), b"foreign")
    device.offer(topics.chunk(blob.sha256, 1), split(V2.artifact, blob.chunk_bytes)[1])
    device.run(device.now + 90)
    assert device.device.record.stable is not None
    assert device.device.record.stable.manifest.release == 2


def test_a_false_chunk_list_is_dropped_until_the_true_one_arrives(device: Solo) -> None:
    blob = V2.manifest.artifact
    true_list = chunk_list(V2.artifact, blob.chunk_bytes)
    publish(device, 2, 2, MODELS)
    device.broker.retain(topics.chunk_list(blob.sha256), b"\0" * len(true_list))
    device.run(device.now + 4)
    device.offer(topics.chunk_list(blob.sha256), true_list)
    device.run(device.now + 120)
    assert device.device.record.stable is not None
    assert device.device.record.stable.manifest.release == 2


def test_blobs_that_never_arrive_end_in_a_rejection_with_its_code() -> None:
    device = Solo(Flash(Random(1)), Broker(), MODELS)
    publish(device, 1, 1, MODELS)
    for topic in [topic for topic in device.broker.retained if topic.startswith(topics.BLOB_ROOT)]:
        device.broker.retain(topic, b"not this")
    device.run(2000)
    assert device.device.record.outcome is not None
    assert (device.device.record.outcome.result, device.device.record.outcome.code) == ("rejected", "transfer_stalled")


def test_a_full_disk_is_reported_and_stable_still_serves(device: Solo) -> None:
    device.flash.capacity_bytes = RESERVE_BYTES
    publish(device, 2, 2, MODELS)
    device.run(device.now + 300)
    assert device.device.serving == V1.manifest.artifact.sha256
    assert device.device.record.outcome is not None
    assert device.device.record.outcome.code == "disk_full"


def test_a_message_on_an_unknown_topic_is_counted(device: Solo) -> None:
    assert offer_and_live(device, DESIRED + "/x", b"{}") == []
    device.link.subscribe(["edgeward/v1/other"])
    device.run(device.now + 1)
    assert offer_and_live(device, "edgeward/v1/other", b"{}") == []
    heartbeats = [decode(raw, Heartbeat) for topic, raw in device.broker.published if topic == topics.heartbeat(NAME)]
    assert heartbeats[-1].dropped["messages_foreign"] == 1


def test_a_record_damaged_on_flash_is_set_aside_and_reported_and_the_model_is_restored(device: Solo) -> None:
    raw = device.flash.read("record-m")
    device.flash.write("record-m", raw[:-5] + b"xxxxx")
    again = Solo(device.flash, device.broker, MODELS)
    again.run(5)
    assert "record_corrupt" in refusals(again)
    again.run(120)
    assert again.device.serving == V1.manifest.artifact.sha256
    assert again.device.record.stable is not None


def test_an_artifact_damaged_on_flash_is_never_served_and_is_fetched_again(device: Solo) -> None:
    name = f"blob-{V1.manifest.artifact.sha256}"
    device.flash.write(name, change(V1).artifact[:-1] + b"?")
    again = Solo(device.flash, device.broker, MODELS)
    again.run(60)
    assert again.history[0].serving == ""
    assert again.device.serving == V1.manifest.artifact.sha256
    assert again.flash.read(name) == V1.artifact


def test_a_damaged_device_record_is_reported_and_the_device_continues(device: Solo) -> None:
    before = [decode(raw, Heartbeat).boot for topic, raw in device.broker.published if topic == topics.heartbeat(NAME)]
    device.flash.write("device", b"nonsense")
    again = Solo(device.flash, device.broker, MODELS)
    again.run(60)
    assert "record_corrupt" in refusals(again)
    assert again.device.serving == V1.manifest.artifact.sha256
    after = [decode(raw, Heartbeat).boot for topic, raw in again.broker.published if topic == topics.heartbeat(NAME)]
    assert after[-1] >= before[-1], "the controller must not take it for an old life"


def test_stable_serves_though_the_disk_accepts_no_record_at_boot(device: Solo) -> None:
    publish(device, 2, 2, MODELS)
    device.run(device.now + 2)
    assert device.device.record.trial is not None
    device.device.cut_power()
    store_full = Solo(device.flash, device.broker, MODELS)
    original = device.flash.write

    def refuse(name: str, data: bytes) -> None:
        if name == "tmp-record-m":
            raise OSError(28, "No space left on device")
        original(name, data)

    device.flash.write = refuse  # type: ignore[method-assign]
    store_full.run(5)
    assert store_full.device.serving == V1.manifest.artifact.sha256
    assert "disk_full" in refusals(store_full)
    device.flash.write = original  # type: ignore[method-assign]
    store_full.run(120)
    assert store_full.device.record.stable is not None
    assert store_full.device.record.stable.manifest.release == 2, "the trial goes on when the disk does"
