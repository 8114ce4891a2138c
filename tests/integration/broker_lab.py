"""A real Mosquitto with the shipped access list, certificates of any kind, and clients that record their messages."""

import itertools
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller.broker.process import RunningBroker
from controller.trust.certificates import CertificateAuthority, new_key, pem
from controller.trust.enrolment import Enrolment, credential_of
from controller.trust.keys import private_pem

ROOT, BLOBS = "edgeward/v1", "edgeward-blobs/v1"
PATIENCE_S = 20
"""How long a client waits for the broker: with other tests beside it a handshake can take more than the usual 5 s."""
_ids = itertools.count()


@dataclass
class Lab:
    """One broker, its authority, and whatever certificates a check asks for."""

    directory: Path
    enrolment: Enrolment
    broker: RunningBroker
    clients: list[Any] = field(default_factory=list)

    def certificate(self, name: str, authority: CertificateAuthority | None = None, **changes: Any) -> Path:
        """Writes certificate and key as PEM into one file and returns its path."""
        key, now = new_key(), datetime.now(UTC)
        authority = authority or self.enrolment.authority
        made = authority._issue(
            name,
            key.public_key(),
            [],
            changes.get("usage", ExtendedKeyUsageOID.CLIENT_AUTH),
            (now + changes.get("from_now", timedelta()), changes.get("days", 90)),
        )
        if changes.get("known", True):
            self.enrolment.credentials.add_certificate(credential_of(made, name))
        path = self.directory / f"{name.replace('/', '_')}-{next(_ids)}.pem"
        path.write_bytes(pem(made).encode() + private_pem(key))
        return path

    def connect(self, certificate: Path | None, **options: Any) -> "Client":
        """A client that has connected, or has been refused."""
        client = Client(self, certificate, **options)
        self.clients.append(client)
        return client

    def named(self, name: str, **options: Any) -> "Client":
        """A client with a good certificate."""
        return self.connect(self.certificate(name), **options)


class Client:
    def __init__(
        self,
        lab: Lab,
        certificate: Path | None,
        *,
        identifier: str = "whoever",
        protocol: Any = paho.MQTTv5,
        will: str = "",
        newest_tls: Any = None,
    ) -> None:
        self._lab = lab
        self.heard: list[tuple[str, bytes]] = []
        self.answered: set[int] = set()
        self.accepted = False
        self.ended = False
        self.mqtt = paho.Client(
            paho.CallbackAPIVersion.VERSION2, identifier, protocol=protocol, reconnect_on_failure=False
        )
        context = ssl.create_default_context(cafile=str(lab.directory / "broker" / "tls" / "ca.pem"))
        if newest_tls:
            context.maximum_version = newest_tls
        if certificate is not None:
            context.load_cert_chain(str(certificate))
        self.mqtt.tls_set_context(context)
        if will:
            self.mqtt.will_set(will, b"EVIL", 1, retain=True)
        self.mqtt.connect_timeout = PATIENCE_S
        self.mqtt.on_connect = self._connected
        self.mqtt.on_disconnect = self._disconnected
        self.mqtt.on_unsubscribe = lambda _c, _u, number, _r, _p: self.answered.add(number)
        self.mqtt.on_message = lambda _c, _u, message: self.heard.append((message.topic, bytes(message.payload)))
        try:
            self.mqtt.connect("localhost", lab.broker.port, 30)
        except (OSError, ssl.SSLError):
            self.ended = True
            return
        self.mqtt.loop_start()
        until(lambda: self.accepted or self.ended, PATIENCE_S)

    @property
    def up(self) -> bool:
        return self.accepted and not self.ended and self.mqtt.is_connected()

    def subscribe(self, *topics: str) -> None:
        self.mqtt.subscribe([(topic, 1) for topic in topics])
        self.round_trip()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publishes a message and returns once all connected clients have received its result."""
        sent = self.mqtt.publish(topic, payload, 1, retain)
        until(lambda: self.ended or sent.is_published(), PATIENCE_S)
        for client in self._lab.clients:
            client.round_trip()

    def round_trip(self) -> None:
        """Asks the broker something and waits for the answer, which follows all that it had for this client before."""
        if not self.up:
            return
        _, number = self.mqtt.unsubscribe(f"{ROOT}/nothing")
        assert number is not None
        assert until(lambda: number in self.answered or not self.up, PATIENCE_S)

    def _connected(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        self.accepted = not reason.is_failure

    def _disconnected(self, *_: Any) -> None:
        self.ended = True


def until(what: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.005)
    return bool(what())
