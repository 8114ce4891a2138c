"""Mosquitto under mutual TLS: its files, its revocation list, and a check of access after every reload.

A reload of Mosquitto with a broken list or ACL fails open (measured on 2.0.11). Therefore a list is parsed before it is
installed, the ACL is written again before every reload, and afterwards a certificate that is always revoked must be
refused; otherwise the broker is restarted, which fails closed. Refuses to know which certificates are revoked, and why.
"""

import logging
import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.errors import EdgewardError
from controller.broker.memory import memory_limit_bytes
from controller.config import BrokerConfig
from controller.registry.atomic_file import replace_file
from controller.trust.certificates import CertificateAuthority, is_young, names_hosts, new_key, pem
from controller.trust.enrolment import Enrolment
from controller.trust.keys import load_private_key, private_pem, write_secret

_PACKAGED = Path(__file__).parents[1] / "mosquitto"
TEMPLATES = _PACKAGED if _PACKAGED.exists() else Path(__file__).parents[2] / "configs" / "mosquitto"
"""The templates lie inside a wheel, and in configs/ in a checkout."""
CANARY = "svc.canary"
SERVICES = ("svc.controller", "svc.telemetry")
HELLO_S = 3.0

_log = logging.getLogger("edgeward.broker")


@dataclass(frozen=True, slots=True)
class BrokerFiles:
    """The files that the broker reads, in one directory that only the controller writes."""

    directory: Path
    host: str
    """The host name by which this machine reaches the broker."""
    topics: tuple[str, ...] = ()
    """Filters of topics that every client may read and write, in addition to Edgeward's own."""

    def prepare(self, config: BrokerConfig, port: int, enrolment: Enrolment, now: datetime, run_as: str) -> Path:
        """Writes every file; returns the path of the configuration. Certificates in the first two thirds of their life
        stay.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "data").mkdir(exist_ok=True)
        self.renew(config, enrolment, now)
        return self._write("mosquitto.conf", self._configuration(config, port, run_as).encode())

    def renew(self, config: BrokerConfig, enrolment: Enrolment, now: datetime) -> tuple[str, ...]:
        """Makes new certificates and keys for those that are missing, foreign, revoked or past two thirds of their
        life; returns their names.

        The former certificate of a service is revoked, because its key is deleted. The broker reads the files when it
        is told to (`RunningBroker.reload`, `RunningBroker.start_again`).
        """
        self._write("ca.pem", enrolment.authorities.pem.encode())
        stale = self.stale(config, enrolment, now)
        for name in stale:
            if name == "server":
                public, oldest = self._new_secret("server").public_key(), enrolment.authorities.oldest
                self._write("server.pem", pem(oldest.server(self._hosts(config), public, now)).encode())
            else:
                self._renew_service(name, enrolment, now)
        self.write_access(enrolment, now)
        return stale

    def stale(self, config: BrokerConfig, enrolment: Enrolment, now: datetime) -> tuple[str, ...]:
        """Returns the names of certificates that must be replaced; only reads."""
        serves = self._serves("server", enrolment.authorities.oldest, now, self._hosts(config))
        services = (name for name in (*SERVICES, CANARY) if not self._is_known(name, enrolment, now))
        return (*(() if serves else ("server",)), *services)

    def _hosts(self, config: BrokerConfig) -> list[str]:
        return list(dict.fromkeys((*config.names, self.host, "localhost", "127.0.0.1")))

    def _renew_service(self, name: str, enrolment: Enrolment, now: datetime) -> None:
        certificate = enrolment.authority.service(name, self._new_secret(name).public_key(), now)
        self._write(f"{name}.pem", pem(certificate).encode())
        enrolment.credentials.revoke(name, now.timestamp())
        enrolment.register(certificate, name, now)
        if name == CANARY:
            enrolment.credentials.revoke(CANARY, now.timestamp())

    def _is_known(self, name: str, enrolment: Enrolment, now: datetime) -> bool:
        """Returns whether a service's certificate stays valid: registered, by the issuing authority, revoked only as
        canary.
        """
        if not self._serves(name, enrolment.authority, now):
            return False
        known = enrolment.credentials.certificate(_certificate(self.directory / f"{name}.pem").serial_number)
        return known is not None and (known.revoked is not None) == (name == CANARY)

    def _serves(self, name: str, authority: CertificateAuthority, now: datetime, hosts: Sequence[str] = ()) -> bool:
        """Returns whether certificate and key fit together, are of this authority, young, and name these hosts."""
        try:
            certificate = _certificate(self.directory / f"{name}.pem")
            key = load_private_key(self.directory / f"{name}.key")
            certificate.verify_directly_issued_by(authority.certificate)
            fits = isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key()
        except (OSError, ValueError, TypeError, InvalidSignature, EdgewardError):
            return False
        return fits and is_young(certificate, now) and names_hosts(certificate, hosts)

    def write_access(self, enrolment: Enrolment, now: datetime) -> None:
        """Writes the ACL again, and a new revocation list after parsing it."""
        own = "".join(f"pattern readwrite {each}\n" for each in self.topics)
        self._write("acl", (TEMPLATES / "acl").read_bytes() + own.encode())
        self._write("crl.pem", enrolment.revocations(now))

    def service_serials(self) -> tuple[int, ...]:
        """Serial numbers of the services' certificates."""
        return tuple(_certificate(self.directory / f"{name}.pem").serial_number for name in SERVICES)

    @property
    def ends(self) -> dict[str, datetime]:
        """Returns when each certificate of the broker and of the controller's connections expires."""
        names = ("server", *SERVICES)
        found = ((name, _certificate(self.directory / f"{name}.pem")) for name in names)
        return {f"certificate {name}": certificate.not_valid_after_utc for name, certificate in found}

    def client(self, config: BrokerConfig, name: str) -> BrokerConfig:
        """Returns `config` with the TLS files of a service."""
        files = (self.directory / "ca.pem", self.directory / f"{name}.pem", self.directory / f"{name}.key")
        ca, certificate, key = (str(file) for file in files)
        return msgspec.structs.replace(config, ca_file=ca, cert_file=certificate, key_file=key)

    def shows_its_newest(self, port: int) -> bool:
        """Returns whether the broker shows the certificate in its file."""
        shown = shown_certificate(self.host, port, self.directory / "ca.pem")
        return shown == _certificate(self.directory / "server.pem").public_bytes(serialization.Encoding.DER)

    def lets_in(self, port: int, name: str = CANARY) -> bool:
        """Returns whether the broker accepts the certificate `name`."""
        ca, certificate, key = (self.directory / file for file in ("ca.pem", f"{name}.pem", f"{name}.key"))
        return says_hello(self.host, port, ca, certificate, key)

    def end_session(self, port: int, device: str, authority: CertificateAuthority, now: datetime) -> bool:
        """Ends a device's open session by connecting under its name: revoking a certificate does not end a session."""
        key = new_key()
        certificate = authority.device(device, key.public_key(), now, days=1)
        paths = self.directory / "takeover.pem", self.directory / "takeover.key"
        self._write(paths[0].name, pem(certificate).encode())
        paths[1].unlink(missing_ok=True)
        write_secret(paths[1], private_pem(key))
        try:
            return says_hello(self.host, port, self.directory / "ca.pem", *paths)
        finally:
            for path in paths:
                path.unlink()

    def _new_secret(self, name: str) -> ec.EllipticCurvePrivateKey:
        key = new_key()
        (self.directory / f"{name}.key").unlink(missing_ok=True)
        write_secret(self.directory / f"{name}.key", private_pem(key))
        return key

    def _configuration(self, config: BrokerConfig, port: int, run_as: str) -> str:
        text = (TEMPLATES / "mosquitto.conf").read_text(encoding="utf-8")
        text = text.replace("listener 8883 0.0.0.0", f"listener {port} {config.host}")
        text = text.replace("/etc/mosquitto/edge", str(self.directory.resolve()))
        text = text.replace("/var/lib/mosquitto/", f"{(self.directory / 'data').resolve()}/")
        text = text.replace("memory_limit 2147483648", f"memory_limit {memory_limit_bytes()}")
        return text + (f"user {run_as}\n" if run_as == "root" else "")

    def _write(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        replace_file(path, data)
        return path


def shown_certificate(host: str, port: int, ca: Path) -> bytes:
    """Returns the certificate (DER) that a broker shows; empty if there is none that `ca` has issued."""
    context = ssl.create_default_context(cafile=str(ca))
    try:
        with (
            socket.create_connection((host, port), timeout=HELLO_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""
    except OSError:
        return b""


def says_hello(host: str, port: int, ca: Path, certificate: Path, key: Path) -> bool:
    """Returns whether a broker accepts an MQTT 5 CONNECT with this certificate."""
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(str(certificate), str(key))
    identifier = f"hello-{os.getpid()}".encode()
    body = b"\x00\x04MQTT\x05\x02\x00\x0a\x00" + len(identifier).to_bytes(2, "big") + identifier
    try:
        with (
            socket.create_connection((host, port), timeout=HELLO_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            secure.sendall(bytes([0x10, len(body)]) + body)
            answer = secure.recv(4)
    except OSError:  # TLS alerts and connection resets mean that the broker refuses
        return False
    return len(answer) == 4 and answer[0] == 0x20 and answer[3] == 0


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())
