"""The address of an MQTT broker, `mqtt://` or `mqtts://`, as devices and the controller write it in `broker.url`.

Decides which addresses are valid and which port they mean. Refuses to know sockets and certificates.
"""

from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from contract.errors import BadInput, Code

MQTT_PORT, MQTTS_PORT = 1883, 8883
"""Ports that IANA has registered as `mqtt` and `secure-mqtt`."""


class MqttAddress(NamedTuple):
    """The address of a broker, and the user that connects."""

    host: str
    port: int
    tls: bool
    username: str = ""
    """Empty: no password is sent."""
    password: str = ""


def parse_mqtt_address(url: str) -> MqttAddress:
    """Parses `mqtt[s]://[user[:password]@]host[:port]`; BadInput `config_invalid` for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(url, str(error)) from None
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
        raise _wrong(url, "expected mqtt://host:port or mqtts://host:port, on a device also file:///directory")
    tls = parts.scheme == "mqtts"
    names = (unquote(parts.username or ""), unquote(parts.password or ""))
    return MqttAddress(parts.hostname, port or (MQTTS_PORT if tls else MQTT_PORT), tls, *names)


def _wrong(url: str, words: str) -> BadInput:
    shown = url.rpartition("@")[2]  # the part before it may be a password
    return BadInput(Code.CONFIG_INVALID, f"broker.url {shown[:200]!r}: {words}")
