"""A message without QoS and properties is parsed as paho does it; paho parses every other and every broken message."""

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import _packet
from paho.mqtt.client import MQTTv5
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from agent.adapters.mqtt.bare_client import bare_message

PUBLISH = 0x30
QOS_1 = 0x02
RETAIN = 0x01
TOPICS = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40)


def packet(topic: str, payload: bytes, properties: Properties | None = None) -> bytearray:
    """Returns the bytes after a packet's length, QoS 0."""
    named = topic.encode()
    packed = b"\0" if properties is None else properties.pack()
    return bytearray(len(named).to_bytes(2) + named + packed + payload)


@given(TOPICS, st.binary(max_size=300), st.sampled_from([0, RETAIN]))
def test_a_bare_message_is_read_as_paho_reads_it(topic: str, payload: bytes, retain: int) -> None:
    sent = packet(topic, payload)
    paho = _packet.decode_publish(PUBLISH | retain, sent, MQTTv5)
    assert bare_message(PUBLISH | retain, sent) == (topic, payload)
    assert (paho.topic.decode(), paho.payload) == (topic, payload)


@given(st.integers(0, 15), st.binary(max_size=60))
def test_arbitrary_bytes_are_never_read_as_a_message_that_paho_does_not_find_in_them(flags: int, sent: bytes) -> None:
    found = bare_message(PUBLISH | flags, sent)
    if found is not None:
        paho = _packet.decode_publish(PUBLISH | flags, sent, MQTTv5)
        assert (paho.topic.decode(), paho.payload, paho.qos) == (*found, 0)


def test_a_message_with_a_packet_number_or_properties_is_read_by_paho() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = 60
    assert bare_message(PUBLISH | QOS_1, packet("a/b", b"payload")) is None
    assert bare_message(PUBLISH, packet("a/b", b"payload", properties)) is None


def test_a_message_without_a_topic_or_with_an_invalid_topic_is_read_by_paho() -> None:
    assert bare_message(PUBLISH, packet("", b"payload")) is None
    assert bare_message(PUBLISH, bytearray(b"\x00\x02\xff\xfe\x00payload")) is None


def test_a_packet_that_ends_too_early_is_read_by_paho() -> None:
    whole = packet("edgeward", b"")
    assert bare_message(PUBLISH, whole) == ("edgeward", b"")
    assert [bare_message(PUBLISH, whole[:length]) for length in range(len(whole))] == [None] * len(whole)
