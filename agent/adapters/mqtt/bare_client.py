"""paho's client with a faster path: it parses a bare message (QoS 0, no properties, as every chunk is) with one copy.

paho searches every message for properties and copies the payload five times. That takes more than a third of a
chunk's time in Python, and no public method avoids it (docs/adr/0014, adapters/private_parts.py). Decides which
messages are bare; paho handles all others. Refuses to know what messages mean.
"""

from collections.abc import Callable

import paho.mqtt.client as paho

_QOS = 0b0110
"""The bits of a PUBLISH packet's first byte that hold its QoS."""


class BareClient(paho.Client):
    """A client of MQTT 5. Bare messages go to `on_bare(topic, payload)` in paho's thread, others to `on_message`."""

    def __init__(self, client_id: str, on_bare: Callable[[str, bytes], None]) -> None:
        super().__init__(paho.CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5)
        self._on_bare = on_bare

    def _handle_publish(self) -> paho.MQTTErrorCode:
        message = bare_message(self._in_packet["command"], self._in_packet["packet"])
        if message is None:
            return super()._handle_publish()
        self._on_bare(*message)
        return paho.MQTT_ERR_SUCCESS


def bare_message(header: int, packet: bytes | bytearray) -> tuple[str, bytes] | None:
    """Returns (topic, payload) of an MQTT 5 PUBLISH packet. None if it is not bare or not valid.

    `header` is the packet's first byte, `packet` its bytes after the length. Source: MQTT 5.0, 3.3.2. The topic follows
    its length, a packet number exists with QoS 1 and 2 only, and the properties follow their length.
    """
    ends = 2 + int.from_bytes(packet[:2])
    if header & _QOS or ends == 2 or len(packet) <= ends or packet[ends]:
        return None
    try:
        return packet[2:ends].decode(), bytes(memoryview(packet)[ends + 1 :])
    except UnicodeDecodeError:
        return None
