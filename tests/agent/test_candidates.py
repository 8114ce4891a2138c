"""Candidates that the controller has probed on a device: measured, never served, and gone from flash afterwards."""

from collections import deque
from typing import Any

import pytest
from msgspec.structs import replace

from agent.models.candidates import FETCH_S
from contract import topics
from contract.blobs import chunk_list, split
from contract.inquiries import LIFE_S, Answered, Inquiry, Probed
from contract.trust.inquiries import sign_inquiry
from contract.wire import decode, encode
from firmware_sim.fleet_keys import KEYS, signer
from firmware_sim.models import SimModel, make_model
from firmware_sim.scripts import publish
from firmware_sim.solo import NAME, Solo
from tests.agent.attacked_device import MODELS, V1, V2, attacked_device, date, refusals

BROKEN, NOT_LENT = make_model(7, "breaks_probe"), make_model(8, "good")


@pytest.fixture
def device() -> Solo:
    return attacked_device()


def lend(device: Solo, model: SimModel) -> None:
    """Retains the bytes of a candidate, as the controller does while it asks."""
    for data, blob in ((model.artifact, model.manifest.artifact), (model.golden, model.manifest.golden.blob)):
        device.offer(topics.chunk_list(blob.sha256), chunk_list(data, blob.chunk_bytes))
        for index, chunk in enumerate(split(data, blob.chunk_bytes)):
            device.offer(topics.chunk(blob.sha256, index), chunk)


def order(device: Solo, model: SimModel, identifier: str = "c-1", by: Any = None, **changed: Any) -> None:
    asked = Inquiry(
        protocol=1, device=NAME, id=identifier, what="probe", lines=1, issued=int(date(device).timestamp()), keyid="",
        candidate=model.manifest,
    )  # fmt: skip
    device.offer(topics.inquiry(NAME), encode(sign_inquiry(replace(asked, **changed), by or KEYS.director)))


def answers(device: Solo) -> list[tuple[str, Probed]]:
    said = [decode(raw, Answered) for topic, raw in device.broker.published if topic == topics.answered(NAME)]
    return [(each.id, each.probed) for each in said if each.probed is not None]


def of_candidate(device: Solo, model: SimModel) -> list[str]:
    """Returns the files of a candidate on flash."""
    digests = (model.manifest.artifact.sha256, model.manifest.golden.blob.sha256)
    return [name for name in device.flash.names() if any(digest in name for digest in digests)]


def test_a_candidate_is_probed_and_leaves_nothing_behind(device: Solo) -> None:
    lend(device, V2)
    order(device, V2)
    device.run(device.now + 10)
    assert [(each, probed.code) for each, probed in answers(device)] == [("c-1", "")]
    assert of_candidate(device, V2) == []
    assert device.device.serving == V1.manifest.artifact.sha256


def test_a_candidate_that_the_device_serves_already_is_probed_and_stays(device: Solo) -> None:
    order(device, V1)
    device.run(device.now + 10)
    assert [probed.code for _, probed in answers(device)] == [""]
    assert len(of_candidate(device, V1)) == 2


def test_a_broken_candidate_is_reported_and_changes_nothing_else(device: Solo) -> None:
    lend(device, BROKEN)
    order(device, BROKEN)
    device.run(device.now + 10)
    assert [probed.code for _, probed in answers(device)] == ["probe_failed"]
    assert of_candidate(device, BROKEN) == []


def test_only_the_director_may_send_a_candidate_and_an_old_order_is_refused(device: Solo) -> None:
    lend(device, V2)
    order(device, V2, by=signer("stranger"))
    order(device, V2, "c-2", issued=1)
    device.run(device.now + 10)
    assert (answers(device), refusals(device)[-2:]) == ([], ["signature_invalid", "desired_expired"])
    order(device, V2, "c-3")
    device.run(device.now + 10)
    order(device, V2, "c-3")
    device.run(device.now + LIFE_S / 2)
    assert [each for each, _ in answers(device)] == ["c-3"]


def test_a_device_with_a_trial_refuses_a_candidate_and_an_update_ends_a_candidate(device: Solo) -> None:
    lend(device, BROKEN)
    publish(device, 2, 2, MODELS)
    device.run(device.now + 5)
    order(device, BROKEN)
    device.run(device.now + 2)
    assert [(probed.code, probed.detail) for _, probed in answers(device)] == [
        ("busy", "it is fetching or trying a version")
    ]
    device.run(device.now + 120)
    assert device.device.serving == V2.manifest.artifact.sha256
    order(device, NOT_LENT, "never comes")
    device.run(device.now + 2)
    publish(device, 3, 3, MODELS)
    device.run(device.now + 20)
    assert answers(device)[-1][1].detail == "a version came meanwhile"


def test_one_candidate_runs_at_a_time_and_missing_bytes_end_it(device: Solo) -> None:
    order(device, NOT_LENT)
    device.run(device.now + 1)
    order(device, NOT_LENT, "c-2")
    device.run(device.now + 2)
    assert [(each, probed.detail) for each, probed in answers(device)] == [("c-2", "it is probing another candidate")]
    device.run(device.now + FETCH_S + 5)
    assert answers(device)[-1][1].code == "transfer_stalled"
    assert of_candidate(device, NOT_LENT) == []


def test_candidates_within_an_hour_are_limited_by_the_owner(device: Solo) -> None:
    agent = device.device._agent
    assert agent is not None
    candidates = agent._asked.candidates
    candidates._per_h, candidates._begun = 3, deque(maxlen=3)
    for number in range(4):
        order(device, V1, f"c-{number}")
        device.run(device.now + 2)
    said = answers(device)
    assert [probed.code for _, probed in said] == ["", "", "", "busy"]
    assert "within the last hour" in said[-1][1].detail
    device.run(device.now + 3_600)
    order(device, V1, "later")
    device.run(device.now + 2)
    assert answers(device)[-1][1].code == ""
