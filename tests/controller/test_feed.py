"""Retained messages for the client are created in their turn, few at a time, in order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.blobs import Blob, describe
from contract.errors import BadInput, Code
from controller.broker.feed import MAX_WAITING_BYTES, Feed
from controller.broker.messages import Publisher, Retained
from controller.registry.blobs import BlobStore

CHUNK = MAX_WAITING_BYTES // 4


class Sent:
    def __init__(self, message: Retained) -> None:
        self.message = message
        self.confirmed = False
        self.fault: Exception | None = None

    def is_published(self) -> bool:
        if self.fault is not None:
            raise self.fault
        return self.confirmed


class Client:
    def __init__(self) -> None:
        self.connected = True
        self.sent: list[Sent] = []
        self.feed = Feed(self.publish, lambda: self.connected)

    def publish(self, message: Retained) -> Sent:
        self.sent.append(Sent(message))
        return self.sent[-1]

    @property
    def topics(self) -> list[str]:
        return [each.message.topic for each in self.sent]


def messages(name: str, count: int, fails: bool = False) -> Iterator[Retained]:
    for number in range(count):
        yield Retained(f"{name}/{number}", bytes(CHUNK))
    if fails:
        raise BadInput(Code.STORE_CORRUPT, "gone")


def test_messages_are_created_up_to_the_clients_limit_and_the_rest_follows_in_order() -> None:
    client = Client()
    client.feed.add(messages("blob", 5))
    client.feed.add(messages("document", 1))
    assert client.topics == ["blob/0", "blob/1", "blob/2", "blob/3"]
    client.feed.go_on()
    assert len(client.sent) == 4
    client.sent[0].confirmed = True
    client.sent[1].fault = RuntimeError("the connection broke")
    client.feed.go_on()
    assert client.topics[4:] == ["blob/4", "document/0"]
    assert not client.feed.is_empty, "whether the last one has ended is seen with the next look"


def test_no_message_is_created_without_a_connection_and_all_are_afterwards() -> None:
    client = Client()
    client.connected = False
    client.feed.add(messages("blob", 2))
    assert client.sent == []
    client.connected = True
    client.feed.go_on()
    assert client.topics == ["blob/0", "blob/1"]
    assert client.feed.is_empty


def test_a_blob_that_ends_early_stops_no_other_message(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()
    with caplog.at_level("ERROR", logger="edgeward.link"):
        client.feed.add(messages("blob", 1, fails=True))
        client.feed.add(messages("document", 1))
    assert client.topics == ["blob/0", "document/0"]
    assert "the rest of a blob could not be published: store_corrupt: gone" in caplog.text


def test_chunks_are_read_one_by_one_and_a_changed_file_ends_them(tmp_path: Path) -> None:
    store, data = BlobStore(tmp_path), bytes(range(256)) * 16
    blob: Blob = describe(data, 1024)
    store.put(data)
    publisher = Publisher(None, store, None)  # type: ignore[arg-type]
    found = list(publisher.chunks(blob))
    assert b"".join(each.payload for each in found[1:]) == data
    begun = publisher.chunks(blob)
    assert next(begun).payload == found[0].payload
    store.path(blob.sha256).write_bytes(data[:-1] + b"x")
    assert [next(begun).payload for _ in range(3)] == [each.payload for each in found[1:4]]
    with pytest.raises(BadInput, match=r"store_corrupt.*is damaged"):
        next(begun)
    with pytest.raises(BadInput, match=r"store_corrupt.*is damaged"):
        publisher.chunks(blob)
