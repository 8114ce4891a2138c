"""Makes and ends one connection to the broker: whether the broker accepts this device, and if not, why, in words.

Decides the words: each text names what is wrong and what to check. Under mutual TLS the broker ends this device's
open session for this connection; that session returns by itself. Refuses to know paho, which would try again and
gives no reasons.
"""

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from agent.adapters.mqtt.paho_link import tls_context
from agent.config import Broker
from contract.mqtt_address import MqttAddress, parse_mqtt_address

HELLO_S = 10.0
"""The time limit of each step. A link over satellites takes a second for each of the six round trips."""
OLDEST_RIGHT_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""This code is younger than this date: a clock that shows an earlier time is wrong."""
_CERTIFICATES = {
    9: "not yet valid", 10: "expired", 18: "of an unknown authority", 19: "of an unknown authority",
    20: "of an unknown authority", 21: "of an unknown authority", 23: "revoked", 62: "for another host name",
    64: "for another address",
}  # fmt: skip
"""OpenSSL's reasons (X509_V_ERR_...) for which the broker's certificate is not trusted."""
_ALERTS = {
    "CERTIFICATE_EXPIRED": "it has expired (or the broker's clock is wrong): edgeward-agent renew",
    "CERTIFICATE_REVOKED": "it is revoked: ask the operator for a new claim, then edgeward-agent enrol",
    "UNKNOWN_CA": "the broker does not know its authority: ask the operator for a new claim",
    "BAD_CERTIFICATE": "the broker finds it bad: not yet valid (look at the clocks), or for another purpose",
    "CERTIFICATE_REQUIRED": "none was shown: set broker.cert_file and broker.key_file",
    "CERTIFICATE_UNKNOWN": "the broker does not take it: ask the operator for a new claim",
    "UNSUPPORTED_CERTIFICATE": "it is for another purpose: ask the operator for a new claim",
    "PROTOCOL_VERSION": "the broker wants another version of TLS",
    "HANDSHAKE_FAILURE": "the broker and this device have no cipher in common, or it wants a certificate",
}
"""Alerts with which a broker refuses this device's certificate."""
_REASONS = {
    0x80: "the broker gives no reason", 0x84: "the broker does not speak MQTT 5: use one that does",
    0x85: "the broker does not take the client id: is device.name as it was enrolled?",
    0x86: "credentials refused: user name or password are wrong in broker.url",
    0x87: "not authorized: the broker's access rules do not let this device in",
    0x88: "the broker is not available now",
    0x89: "the broker is busy", 0x8A: "the broker has banned this device", 0x97: "the broker's quota is used up",
    0x9F: "too many connections in too short a time",
}  # fmt: skip
"""Reason codes of MQTT 5.0, 3.2.2.2."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The answer of the broker."""

    accepted: bool
    words: str
    reached: bool = True
    """False if there was no answer, so that nothing is known about the device's certificate."""
    broker_expires: datetime | None = None
    """When the certificate of the broker expires."""


def say_hello(broker: Broker, device: str, today: datetime) -> Welcome:
    """Connects to `broker.url` as `device`, over TLS if the address says so. BadInput `config_invalid` for wrong
    files.
    """
    address = parse_mqtt_address(broker.url)
    where = f"{address.host}:{address.port}"
    try:
        plain = socket.create_connection((address.host, address.port), timeout=HELLO_S)
    except socket.gaierror as error:
        words = f"the name {address.host} cannot be resolved ({error.strerror}): look at broker.url and the DNS"
        return Welcome(accepted=False, words=words, reached=False)
    except ConnectionRefusedError:
        words = f"{where} refuses connections: is the broker up, and is this its port?"
        return Welcome(accepted=False, words=words, reached=False)
    except OSError as error:
        words = f"{where} cannot be reached: {error.strerror or error or 'no answer'}"
        return Welcome(accepted=False, words=words, reached=False)
    with plain:
        if not address.tls:
            return _greet(plain, address, device)
        return _greet_securely(plain, tls_context(broker), address, device, today)


def _greet_securely(
    plain: socket.socket, context: ssl.SSLContext, address: MqttAddress, device: str, today: datetime
) -> Welcome:
    try:
        secure = context.wrap_socket(plain, server_hostname=address.host)
    except ssl.SSLCertVerificationError as error:
        return Welcome(accepted=False, words=_distrust(error, address, today), reached=False)
    except ssl.SSLError as error:
        return _refused(error, today)
    except OSError as error:
        words = f"{address.host}:{address.port} ends the TLS handshake ({error.strerror or error}): does it speak TLS?"
        return Welcome(accepted=False, words=words, reached=False)
    with secure:
        shown = secure.getpeercert(binary_form=True)
        expires = x509.load_der_x509_certificate(shown).not_valid_after_utc if shown else None
        try:
            found = _greet(secure, address, device)
        except ssl.SSLError as error:  # under TLS 1.3 a broker reports a refused certificate after the handshake
            found = _refused(error, today)
    return Welcome(found.accepted, found.words, found.reached, expires)


def _greet(stream: socket.socket, address: MqttAddress, device: str) -> Welcome:
    try:
        with suppress(OSError):  # a broker that refuses closes the connection: its reason must still be read
            stream.sendall(_connect_packet(address, device))
        answer = stream.recv(4)
        if len(answer) == 4 and answer[3] == 0:
            stream.sendall(b"\xe0\x00")  # DISCONNECT: without it the broker announces that the device is offline
    except ssl.SSLError:
        raise
    except OSError as error:
        words = f"{address.host}:{address.port} does not answer as an MQTT broker: {error.strerror or error}"
        return Welcome(accepted=False, words=words, reached=False)
    if len(answer) < 4 or answer[0] != 0x20:
        words = "the broker ends the connection without an answer: certificate or credentials refused, or no MQTT 5"
        return Welcome(accepted=False, words=words)
    reason = answer[3]
    words = f"{address.host}:{address.port} accepts {device}"
    if reason:
        words = _REASONS.get(reason, f"the broker refuses the connection with reason 0x{reason:02x}")
    return Welcome(accepted=not reason, words=words)


def _refused(error: ssl.SSLError, today: datetime) -> Welcome:
    said = error.reason or str(error)
    why = next((words for alert, words in _ALERTS.items() if alert in said), said)
    clock = f"; this device's clock says {today:%Y-%m-%d %H:%M} UTC"
    return Welcome(accepted=False, words=f"this device's certificate is refused: {why}{clock}")


def _distrust(error: ssl.SSLCertVerificationError, address: MqttAddress, today: datetime) -> str:
    """Returns in words why the broker's certificate is not trusted."""
    why = _CERTIFICATES.get(error.verify_code, error.verify_message)
    words = f"the certificate of {address.host}:{address.port} is {why}"
    if error.verify_code in (62, 64):
        return f"{words}: use a name that it holds in broker.url, or add this one to the controller's broker.names"
    if error.verify_code not in (9, 10):
        return f"{words}: look at broker.ca_file"
    if today < OLDEST_RIGHT_TIME:
        return f"{words} by this device's clock, which says {today:%Y-%m-%d %H:%M} UTC: the clock is wrong, set it"
    begins, ends = _dates(address)
    valid = f"; it is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M}" if begins and ends else ""
    return f"{words}{valid}, and this device's clock says {today:%Y-%m-%d %H:%M} UTC: one of both is wrong"


def _dates(address: MqttAddress) -> tuple[datetime | None, datetime | None]:
    """Returns from when and until when the certificate is valid. The certificate is only read for an error text:
    nothing is sent.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=HELLO_S) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as secure,
        ):
            shown = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return None, None
    return shown.not_valid_before_utc, shown.not_valid_after_utc


def _connect_packet(address: MqttAddress, device: str) -> bytes:
    """A CONNECT of MQTT 5.0 (3.1) with a clean start, and with user name and password where the address has them."""
    texts = [device.encode()]
    flags = 0x02
    if address.username:
        texts.append(address.username.encode())
        flags |= 0x80
        if address.password:
            texts.append(address.password.encode())
            flags |= 0x40
    body = b"\x00\x04MQTT\x05" + bytes([flags]) + b"\x00\x0a\x00"
    body += b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    length, head = len(body), b""
    while True:
        length, low = divmod(length, 128)
        head += bytes([low | (0x80 if length else 0)])
        if not length:
            return b"\x10" + head + body
