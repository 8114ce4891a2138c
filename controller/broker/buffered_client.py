"""paho's client with a faster path: it reads all bytes of a socket at once, and parses messages itself.

paho asks the kernel four times for each message, and answers each with a separate packet: more than half of the
controller's time for a device's message (docs/adr/0004). Decides which packets are messages, and acknowledges
those of one read together; paho handles all other packets. Refuses to know what messages mean.
"""

import struct
from collections.abc import Callable

import paho.mqtt.client as paho

READ_BYTES = 256 * 1024
"""Bytes that are read at once: a few hundred messages, about 5 ms; then paho handles pings and its own messages."""
MAX_PACKET_BYTES = 16 * 1024**2
"""The largest accepted packet: several times the largest message of this system. A larger one ends the connection."""
_PUBLISH, _PUBACK = 0x30, 0x40
_QOS, _RETAIN = 0b0110, 0b0001
_QOS_1 = 0b0010
_MAX_LENGTH_BYTES = 4

OnMessage = Callable[[str, bytes, bool], None]
"""Topic, payload, and whether the message was retained."""


class BufferedClient(paho.Client):
    """A client of MQTT 5. Messages of QoS 0 and 1 go to `on_bytes(topic, payload, retained)` in paho's thread.

    A message is acknowledged after `on_bytes` has returned.
    """

    def __init__(self, client_id: str, on_bytes: OnMessage) -> None:
        super().__init__(paho.CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
        self._on_bytes = on_bytes
        self._received = bytearray()
        self._received_from: object = None
        """The socket from which the bytes came: bytes of a lost connection are ignored."""

    def _packet_read(self) -> paho.MQTTErrorCode:
        """Reads and handles all complete packets (called by paho's loop in place of its own method)."""
        if self._received_from is not self._sock:
            self._received, self._received_from = bytearray(), self._sock
        try:
            found = self._sock_recv(READ_BYTES)
        except BlockingIOError:
            return paho.MQTT_ERR_AGAIN
        except OSError:
            return paho.MQTT_ERR_CONN_LOST
        if not found:
            return paho.MQTT_ERR_CONN_LOST
        self._received += found
        with self._msgtime_mutex:
            self._last_bytes_received = paho.time_func()
        return self._handle_all()

    def _handle_all(self) -> paho.MQTTErrorCode:
        received, at, acknowledged = self._received, 0, bytearray()
        try:
            while (packet := whole_packet(received, at)) is not None:
                header, begins, at = packet
                message = plain_message(header, received, begins, at)
                if message is None:
                    code = self._handle_other(header, bytes(received[begins:at]))
                    if code != paho.MQTT_ERR_SUCCESS:
                        return code
                    continue
                topic, payload, number = message
                self._on_bytes(topic, payload, bool(header & _RETAIN))
                if number:
                    acknowledged += struct.pack("!BBH", _PUBACK, 2, number)
        except ValueError:
            return paho.MQTT_ERR_PROTOCOL
        finally:
            del received[:at]
            if acknowledged:
                self._packet_queue(_PUBACK, acknowledged, 0, 0)
        return paho.MQTT_ERR_SUCCESS

    def _handle_other(self, header: int, packet: bytes) -> paho.MQTTErrorCode:
        """Passes a packet to paho, as if paho had read it."""
        self._in_packet |= {  # a complete packet, in the form in which paho stores it
            "command": header,
            "packet": bytearray(packet),
            "pos": 0,
            "remaining_length": len(packet),
            "to_process": 0,
        }
        try:
            return self._packet_handle()
        except paho.MalformedPacket:
            return paho.MQTT_ERR_PROTOCOL
        finally:
            self._in_packet["command"] = 0


def whole_packet(received: bytes | bytearray, at: int) -> tuple[int, int, int] | None:
    """Returns (first byte, where the packet's content begins, where it ends) of the packet at `at`. None: it is not
    complete yet. ValueError for a length that MQTT does not allow or that is over `MAX_PACKET_BYTES`.

    Source: MQTT 5.0, 2.1 and 1.5.5.
    """
    length, shift, place = 0, 0, at + 1
    while True:
        if place >= len(received):
            return None
        length |= (received[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if not received[place - 1] & 128:
            break
        if shift == 7 * _MAX_LENGTH_BYTES:
            raise ValueError("a length of more than four bytes")
    if length > MAX_PACKET_BYTES:
        raise ValueError(f"a packet of {length} bytes; at most {MAX_PACKET_BYTES} are taken")
    return (received[at], place, place + length) if place + length <= len(received) else None


def plain_message(header: int, packet: bytes | bytearray, begins: int, ends: int) -> tuple[str, bytes, int] | None:
    """Returns (topic, payload, packet number) of a PUBLISH packet of QoS 0 (number 0) or 1. None for all others.

    ValueError if it ends too early. Bytes of a topic that are not UTF-8 are replaced: no device has such a name.
    Source: MQTT 5.0, 3.3.2.
    """
    qos = header & _QOS
    if header & 0xF0 != _PUBLISH or qos not in (0, _QOS_1):
        return None
    topic_ends = begins + 2 + int.from_bytes(packet[begins : begins + 2])
    place, number = topic_ends, 0
    if qos:
        number, place = int.from_bytes(packet[place : place + 2]), place + 2
    if place >= ends:
        raise ValueError("a message that ends before its properties")
    properties = packet[place]
    if properties & 128:
        return None
    place += 1 + properties
    if place > ends:
        raise ValueError("a message that ends within its properties")
    return packet[begins + 2 : topic_ends].decode(errors="replace"), bytes(memoryview(packet)[place:ends]), number
