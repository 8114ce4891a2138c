"""Runs the renewal of certificates: the key pairs of a configuration, the broker, and a thread that waits for the
network.

Decides how often a device checks, and what a new pair changes. Refuses to know when renewal is due, and its steps:
`trust.renewal` decides both.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509

from agent.adapters.mqtt.hello import say_hello
from agent.adapters.posix_disk import PosixDisk
from agent.adapters.timely import open_url
from agent.config import Broker, Config
from agent.trust.enrol import ask_renewal
from agent.trust.keypair import AUTHORITIES, NEXT, PAIR, KeyPair, KeyPairs, whole_pair
from agent.trust.renewal import RETRY_FRACTION, Renewal
from contract.errors import Code, EdgewardError, WorldError

UNHEARD_S = 3600.0
"""The shortest time between two renewals because the controller does not know the key: any client of the broker may
claim that."""
LOOK_S = 30.0
"""Seconds between two checks whether renewal is due, or a part of the certificate's life if that is shorter."""

_log = logging.getLogger("edgeward.agent")


def open_pairs(config: Config) -> KeyPairs:
    """The key pairs of an enrolled device. They are kept beside its state, because others may own the directory of
    the first pair.
    """

    def first() -> KeyPair:
        return whole_pair(Path(config.broker.key_file).read_bytes(), Path(config.broker.cert_file).read_bytes())

    return KeyPairs(PosixDisk(Path(config.device.state_dir)), first)


def broker_by(config: Config, pairs: KeyPairs) -> Broker:
    """Returns the broker with the pair and the authorities in use. BadInput `config_invalid`."""
    broker = config.broker
    if pairs.renewed:
        broker = msgspec.structs.replace(broker, cert_file=pairs.path(PAIR), key_file=pairs.path(PAIR))
        if pairs.authorities() and broker.ca_file:
            broker = msgspec.structs.replace(broker, ca_file=pairs.path(AUTHORITIES))
    return broker


def new_renewal(config: Config, pairs: KeyPairs) -> Renewal:
    """Returns the renewal of an enrolled device."""

    def accepted(_: KeyPair) -> str:
        if not config.broker.url.startswith("mqtts:"):
            return ""  # the pair signs messages; the broker never sees it
        ca_file = pairs.path(AUTHORITIES) if pairs.authorities() and config.broker.ca_file else config.broker.ca_file
        path = pairs.path(NEXT)
        broker = msgspec.structs.replace(config.broker, cert_file=path, key_file=path, ca_file=ca_file)
        found = say_hello(broker, config.device.name, datetime.now(UTC))
        if not found.reached:
            raise WorldError(Code.BROKER_UNREACHABLE, found.words)
        return "" if found.accepted else found.words

    try:
        authorities = Path(config.broker.ca_file).read_text(encoding="ascii") if config.broker.ca_file else ""
    except (OSError, UnicodeDecodeError):
        authorities = pairs.authorities()
    return Renewal(
        config.device.name,
        pairs,
        authorities=authorities,
        ask=lambda asked: ask_renewal(config.enrolment.url, asked, open_url),
        accepted=accepted,
    )


def expiries_of(config: Config, pairs: KeyPairs) -> dict[str, int]:
    """Returns when the device's certificate and the first authority expire, in seconds since 1970."""
    found = {"certificate": int(pairs.current().ends.timestamp())}
    try:
        authorities = x509.load_pem_x509_certificates(Path(broker_by(config, pairs).ca_file).read_bytes())
    except (OSError, ValueError):
        return found
    return found | {"authority": int(min(each.not_valid_after_utc for each in authorities).timestamp())}


class Renewer:
    """Renews in its own thread. `on_renewed` is called there with the broker of the new pair."""

    def __init__(self, config: Config, pairs: KeyPairs, on_renewed: Callable[[Broker], None]) -> None:
        self._config = config
        self._pairs = pairs
        self._on_renewed = on_renewed
        self._renewal = new_renewal(config, pairs)
        self._look_at = self._unheard_at = 0.0
        self._thread: threading.Thread | None = None

    def tick(self, now: float, *, unheard: bool = False) -> None:
        """Checks whether renewal is due and starts it. Returns at once.

        `unheard`: the controller does not know the key. A restored controller accepts the certificate when it is shown.
        """
        asked = unheard and now >= self._unheard_at
        if asked:
            self._look_at = now
        if now < self._look_at or (self._thread is not None and self._thread.is_alive()):
            return
        self._look_at = now + LOOK_S
        try:
            pair = self._pairs.current()
            self._look_at = now + min(LOOK_S, (pair.ends - pair.begins).total_seconds() * RETRY_FRACTION / 2)
            due = self._renewal.is_due(now, datetime.now(UTC))
        except EdgewardError as error:  # the files are damaged; the agent keeps the pair that it has
            _log.error("no certificate to renew: %s", error)
            return
        if asked:
            self._unheard_at = now + UNHEARD_S
        if due or asked:
            self._thread = threading.Thread(target=self._renew, args=(now,), name="renewal", daemon=True)
            self._thread.start()

    def _renew(self, now: float) -> None:
        try:
            if self._renewal.attempt(now):
                _log.info("the certificate is renewed, good until %s", self._pairs.current().ends)
                self._on_renewed(broker_by(self._config, self._pairs))
        except Exception:  # a fault here must not end the renewal permanently
            _log.exception("the certificate could not be renewed")
