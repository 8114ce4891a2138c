"""The link that is a directory: what it delivers once, what it keeps, which faults it survives."""

import json
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest

from agent.adapters.directory_link import DirectoryLink
from agent.stimuli import LinkDown, LinkUp, MessageArrived, Stimulus
from contract import topics
from contract.stick import MAX_MESSAGES_BYTES

TRUST = topics.trust()


@pytest.fixture
def arrived() -> Queue[Stimulus]:
    return Queue()


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


@pytest.fixture
def link(stick: Path, arrived: Queue[Stimulus], monkeypatch: pytest.MonkeyPatch) -> Iterator[DirectoryLink]:
    monkeypatch.setattr("agent.adapters.directory_link.LOOK_S", 0.01)
    link = DirectoryLink(stick.as_uri(), "a", arrived.put)
    yield link
    link.stop()


def bring(stick: Path, **documents: str) -> None:
    fresh = stick / "fresh"
    fresh.write_text(json.dumps({"documents": {TRUST: documents["trust"]}}))
    fresh.replace(stick / "documents.json")


def test_a_document_arrives_once_and_again_when_it_has_changed(
    stick: Path, link: DirectoryLink, arrived: Queue[Stimulus]
) -> None:
    link.start()
    link.subscribe([TRUST])
    assert arrived.get(timeout=5) == LinkUp()
    bring(stick, trust="one")
    assert arrived.get(timeout=5) == MessageArrived(TRUST, b"one")
    bring(stick, trust="one")
    bring(stick, trust="two")
    assert arrived.get(timeout=5) == MessageArrived(TRUST, b"two")
    link.unsubscribe([TRUST])
    link.subscribe([TRUST])
    assert arrived.get(timeout=5) == MessageArrived(TRUST, b"two"), "who asks again is told again"
    stick.rename(stick.with_name("pulled"))
    assert arrived.get(timeout=5) == LinkDown()
    assert arrived.empty()


def test_every_report_is_kept_once_and_only_the_newest_of_other_messages(stick: Path, link: DirectoryLink) -> None:
    for payload in (b'"first"', b'"second"', b'"first"'):
        link.publish(topics.report("a"), payload)
    for payload in (b'"alive"', b'"still alive"'):
        link.publish(topics.heartbeat("a"), payload)
    link.publish("somewhere/else", b"1")
    link.start()
    link.stop()
    said = json.loads((stick / "from-a.json").read_text())["messages"]
    assert [each["text"] for each in said] == ['"first"', '"second"', '"still alive"']


def test_kept_messages_have_a_limit_and_the_oldest_is_dropped(stick: Path, link: DirectoryLink) -> None:
    for number in range(20):
        link.publish(topics.report("a"), json.dumps(['"' * 100_000, number]).encode())
    link.start()
    link.stop()
    path = stick / "from-a.json"
    assert path.stat().st_size < 2 * MAX_MESSAGES_BYTES
    assert json.loads(json.loads(path.read_text())["messages"][-1]["text"])[1] == 19
