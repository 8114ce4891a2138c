"""Retire, replace, adopt: what each ends and what it keeps, for one device and for many."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract import topics
from contract.blobs import sha256_hex
from contract.enrolment import EnrolRequest
from contract.errors import BadInput, Code
from contract.messages import ModelState, Presence, VersionRef
from contract.wire import encode
from controller.api.app import make_app
from controller.broker.messages import Retained, farewell
from controller.broker.retained import RetainedState
from controller.clock import stamp
from controller.config import Config, StorageConfig
from controller.fleet.boots import Boot, Boots
from controller.fleet.twin import Assigned, Twin
from controller.fleet.vitals import Vitals
from controller.registry.credentials import Credential
from controller.rollout.decide import decide
from controller.rollout.model import Rollout
from controller.rollout.outcome import outcome_of
from controller.rollout.rows import Rows
from controller.service import Service
from controller.state import State, open_state
from controller.trust.enrolment import DAY_S
from controller.verbs import device_lives, devices
from edgeward.cli.selection import read_names
from tests.controller.enrolment_worlds import request
from tests.controller.heard import hear
from tests.controller.rollout_worlds import STRATEGY, fact, rollout
from tests.controller.test_fleet_and_reconcile import beat
from tests.controller.test_operators import Caller, token

V1 = VersionRef(release=1, digest="1" * 64)
RUNS = ModelState(model="m", phase="steady", generation=3, stable=V1, serving=V1.digest)
LABELS = {"site": "north"}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    """Devices a, b and c; a has a certificate, all were told to run v1 of m."""
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    for name in "abc":
        told = Assigned(release=1, generation=3, rollout="r-1", digest=V1.digest)
        made.world.durable.twins[name] = Twin(
            name,
            document_version=3,
            issued_at=3,
            desired={"m": told},
            reported={"m": RUNS},
            boots=Boots(Boot(5, 5)),
            labels=LABELS,
            own_labels=LABELS,
        )
    made.records.save(made.world.durable, "abc", [], [])
    made.credentials.add_certificate(Credential(7, "a", "a key", time.time() + 1000, None))
    yield made
    made.close()


class Link:
    connected = True

    def __init__(self) -> None:
        self.given: list[Retained] = []

    def retain(self, messages: Iterator[Retained]) -> None:
        self.given += messages


def test_a_retired_device_stays_out_and_its_history_is_kept(state: State) -> None:
    link = Link()
    state.links = (link,)  # type: ignore[assignment]
    state.journal.record(stamp(), [("a", '{"boot":1,"seq":1}')])
    state.vitals.keep([("a", Vitals(0.0, 300.0, 1, *[(1.0,) * 6] * 3))])
    answers = asyncio.run(device_lives.retire(state, ["a", "ghost"], actor="ada"))
    assert [(each.device, each.certificates, each.code) for each in answers] == [
        ("ghost", 0, "unknown_device"),
        ("a", 1, ""),
    ]
    assert link.given == [Retained(topics.desired("a"), b""), Retained(topics.presence("a"), b"")]
    assert state.credentials.public_keys("a", time.time()) == []
    assert sorted(state.world.durable.twins) == ["b", "c"]
    assert not state.inbox.put(topics.heartbeat("a"), encode(beat(9))), "nothing that is said in its name is heard"
    gone = Presence(protocol=1, device="a", online=False)
    assert not state.inbox.put(topics.presence("a"), encode(gone))
    assert len(state.journal.history_of("a")) == 1
    assert state.vitals.series("a", 0.0) == [], "what it measured goes, as its counts do"
    newest = state.journal.audit_entries()[0]
    assert (newest["actor"], newest["action"], newest["subject"]) == ("ada", "device retire", "a")
    again = state.records.load_world({"a": encode(beat(9)), "b": encode(beat(9, device="b"))}, 90.0).durable
    assert sorted(again.twins) == ["b", "c"], "nor after a restart, from the last words that it had"
    assert again.retired["a"].by == "ada"
    with pytest.raises(BadInput) as refused:
        devices.claim(state, "a", actor="ada")
    assert refused.value.code == Code.DEVICE_RETIRED


def test_a_retired_device_that_returns_gets_an_empty_document(state: State) -> None:
    asyncio.run(device_lives.retire(state, ["a"], actor="ada"))
    link = Link()
    state.links = (link,)  # type: ignore[assignment]
    there = Presence(protocol=1, device="a", online=True)
    for _ in range(3):
        state.inbox.put(topics.presence("a"), encode(there))
    service = Service(state)
    service._answer()
    service._answer()
    assert link.given == list(farewell("a")), "once for each time that it was heard of"


async def nothing_lost(_: Any) -> set[Any]:
    return set()


def test_messages_that_waited_while_a_device_was_retired_do_not_make_it_known_again(state: State) -> None:
    assert state.inbox.put(topics.presence("a"), encode(Presence(protocol=1, device="a", online=False)))
    asyncio.run(device_lives.retire(state, ["a"], actor="ada"))
    hear(state, beat(9, device="b"))
    assert "a" not in state.world.durable.twins


def test_after_every_reconnect_no_message_of_a_retired_device_is_retained(state: State) -> None:
    asyncio.run(device_lives.retire(state, ["a", "b", "c"], actor="ada"))
    made, link = (
        RetainedState(
            state.world.durable, state.publisher, state.records, state.skipped, state.foreign, lost=nothing_lost
        ),
        Link(),
    )
    made.link = link  # type: ignore[assignment]
    asyncio.run(made.restore())
    assert set(farewell("b")) <= set(link.given)


def test_a_retired_device_counts_neither_as_success_nor_as_failure_and_a_rollout_ends_without_it() -> None:
    made: Rollout = rollout(replace(STRATEGY, rules=()))
    facts = {m.device: fact(m.device, assigned=2, stable=2, result="confirmed") for m in made.members}
    last = made.members[-1].device
    facts[last] = replace(fact(last, assigned=None, stable=None), state=None, retired=True, presence="unknown")
    made = replace(made, wave=1, wave_done_at=0.0)
    assert outcome_of(made, made.members[-1], facts[last], 50.0) == "retired"
    assert decide(made, facts, Rows(), 50.0).rollout.status == "completed"
    late = replace(made, status="completed", members=(replace(made.members[-1], late=True),))
    assert decide(late, facts, Rows(), 50.0).offers == (), "and it is offered nothing as one that joined late"


def test_passes_continue_when_a_device_is_retired_between_a_change_and_its_write(state: State) -> None:
    asyncio.run(device_lives.retire(state, ["a"], actor="ada"))
    state.records.save(state.world.durable, ["a", "b"], [], [])
    hear(state, beat(9, device="b"))
    assert "a" not in state.world.durable.twins


def test_new_hardware_gets_the_old_labels_and_versions_and_none_of_the_old_keys(state: State) -> None:
    state.world.durable.quarantine["a"] = {"2" * 64: "r-0"}
    state.journal.record(stamp(), [], [("a", encode(beat(9)))])
    (answer,) = asyncio.run(device_lives.replace(state, ["a"], actor="ada"))
    assert answer.claim is not None
    assert (answer.certificates, answer.claim.device, answer.claim.labels) == (1, "a", LABELS)
    twin = state.world.durable.twins["a"]
    assert (twin.labels, twin.desired["m"].release, twin.document_version) == (LABELS, 1, 3)
    assert (twin.reported, twin.hardware, twin.boots) == ({}, None, Boots()), "the old hardware's words are over"
    assert state.credentials.public_keys("a", time.time()) == []
    assert twin.presence(time.time(), 90.0) == "offline", "nobody speaks under its name until somebody enrols"
    assert "a" not in state.world.durable.quarantine
    assert "a" not in state.journal.last_words()
    assert "a" in state.world.caches.waiting, "its document is published again until it has acted on it"


def test_an_adopted_device_gets_no_other_version_without_a_rollout(state: State) -> None:
    (answer,) = device_lives.adopt(state, ["moved"], actor="ada")
    assert answer.claim is not None
    assert state.journal.audit_entries()[0]["action"] == "device adopt"
    theirs = VersionRef(release=9, digest=sha256_hex(b"of another fleet"))
    hear(state, beat(1, replace(RUNS, stable=theirs), device="moved"))
    twin = state.world.durable.twins["moved"]
    assert (twin.desired, twin.document_version, twin.reported["m"].stable) == ({}, 0, theirs)


def test_a_retired_device_can_be_adopted_again_and_no_device_twice(state: State) -> None:
    asyncio.run(device_lives.retire(state, ["b"], actor="ada"))
    answers = device_lives.adopt(state, ["b", "a", "no name"], actor="ada")
    assert [each.code for each in answers] == ["", "device_enrolled", "name_invalid"]
    assert state.inbox.put(topics.heartbeat("b"), encode(beat(9, device="b")))
    assert "b" not in state.records.load_world({}, 90.0).durable.retired


def test_no_call_selects_the_whole_fleet_because_an_argument_is_missing(state: State) -> None:
    assert device_lives.chosen(state, ["b", "b"], {}) == ["b"]
    assert device_lives.chosen(state, ["x"], LABELS) == ["x", "a", "b", "c"]
    for names, selector, code in (([], {}, Code.REQUEST_INVALID), ([], {"site": "south"}, Code.SELECTOR_EMPTY)):
        with pytest.raises(BadInput) as refused:
            device_lives.chosen(state, names, selector)
        assert refused.value.code == code


def test_viewers_and_approvers_cannot_retire_devices_and_a_retired_device_is_still_shown(state: State) -> None:
    async def talk() -> None:
        async with TestClient(TestServer(make_app(state, "edg_local"))) as client:
            call = Caller(client)
            body = {"json": {"devices": ["c"]}}
            for verb in ("retire", "replace", "adopt"):
                for role in ("viewer", "approver"):
                    answer = await call(token(state, f"{role}-{verb}", role), "POST", f"/v1/devices/{verb}", **body)
                    assert answer == (403, "forbidden")
            operator = {"Authorization": f"Bearer {token(state, 'ada', 'operator')}"}
            answer = await client.post("/v1/devices/retire", headers=operator, json={"selector": LABELS})
            assert [each["code"] for each in await answer.json()] == ["", "", ""]
            shown = await (await client.get("/v1/devices/c", headers=operator)).json()
            assert shown["presence"] == "retired"
            assert await (await client.get("/v1/devices/c/vitals", headers=operator)).json() == []
            why = await (await client.get("/v1/devices/c/why", headers=operator)).json()
            assert "retired" in why["sentences"][-1]
            gone = await (await client.get("/v1/retired", headers=operator)).json()
            assert [(each["device"], each["by"]) for each in gone] == [("a", "ada"), ("b", "ada"), ("c", "ada")]
            assert await (await client.get("/v1/devices", headers=operator)).json() == {
                "total": 0,
                "devices": [],
                "unmatched": [],
            }

    asyncio.run(talk())


def test_names_are_read_one_per_line_or_from_a_column_of_a_table() -> None:
    assert read_names(["cam-1\n", "\n", "# a comment\n", "AA:BB:CC\n"]) == ["cam-1", "AA:BB:CC"]
    assert read_names(["site,Device\n", "north,cam-1\n", 'south,"cam-2"\n']) == ["cam-1", "cam-2"]
    assert read_names([]) == []
    with pytest.raises(BadInput, match="line 2") as refused:
        read_names(["cam-1\n", "no name\n"])
    assert refused.value.code == Code.NAME_INVALID


def test_a_claim_never_gives_a_name_in_use_to_another_device(state: State) -> None:
    for name, words in (("a", "holds its certificate"), ("b", "a device goes by this name")):
        with pytest.raises(BadInput, match=f"device_enrolled.*{words}.*edgeward device replace {name}"):
            devices.claim(state, name, actor="mallory")
        assert device_lives.adopt(state, [name], actor="mallory")[0].code == Code.DEVICE_ENROLLED
    told = {(entry["actor"], entry["action"], entry["subject"]) for entry in state.journal.audit_entries()}
    assert told == {("mallory", f"device {verb} refused", name) for verb in ("claim", "adopt") for name in "ab"}
    state.credentials.revoke("a", time.time())
    assert devices.claim(state, "a", actor="ada").token, "once its keys were taken away the name is free"
    assert devices.claim(state, "new-1", actor="ada").token


def test_a_certificate_that_can_still_be_renewed_reserves_its_name(state: State) -> None:
    gone = time.time() - 179 * DAY_S
    state.credentials.add_certificate(Credential(8, "away-1", "a key", gone, None))
    state.credentials.add_certificate(Credential(9, "away-2", "a key", gone - 2 * DAY_S, None))
    with pytest.raises(BadInput, match="device_enrolled"):
        devices.claim(state, "away-1", actor="ada")
    assert devices.claim(state, "away-2", actor="ada").token, "it can come back by a claim alone"


def test_a_second_claim_for_a_name_ends_when_the_first_is_used(state: State) -> None:
    first, second = (devices.claim(state, "new-1", actor=who) for who in ("ada", "mallory"))
    assert devices.enrol(state, EnrolRequest(token=first.token, csr=request())).device == "new-1"
    with pytest.raises(BadInput, match="claim_refused"):
        devices.enrol(state, EnrolRequest(token=second.token, csr=request()))
