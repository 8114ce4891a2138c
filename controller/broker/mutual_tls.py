"""Mosquitto under mutual TLS: its files, its revocation list, and a check of access after every reload.

A reload of Mosquitto that meets a broken list or ACL fails open (measured on 2.0.11). So a list is parsed before it is
handed over, the ACL is put back before every reload, and afterwards a certificate that is always revoked must be
refused; otherwise the broker is started again, which fails closed. Refuses to know who is revoked, and why.
"""

import logging
import os
import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from controller.config import BrokerConfig
from controller.registry.atomic_file import replace_file
from controller.trust.certificates import CertificateAuthority, new_key, pem
from controller.trust.enrolment import Enrolment, credential_of
from controller.trust.keys import private_pem, write_secret

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

    def prepare(self, config: BrokerConfig, port: int, enrolment: Enrolment, now: datetime, run_as: str) -> Path:
        """Writes every file, with new keys and certificates; returns the path of the configuration."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "data").mkdir(exist_ok=True)
        (self.directory / "ca.pem").write_text(enrolment.authority.pem, encoding="ascii")
        hosts = list(dict.fromkeys((*config.names, self.host, "localhost", "127.0.0.1")))
        server = self._new_secret("server")
        self._write("server.pem", pem(enrolment.authority.server(hosts, server.public_key(), now)).encode())
        for name in (*SERVICES, CANARY):
            certificate = enrolment.authority.service(name, self._new_secret(name).public_key(), now)
            self._write(f"{name}.pem", pem(certificate).encode())
            if name == CANARY:
                enrolment.credentials.add_certificate(credential_of(certificate, CANARY))
                enrolment.credentials.revoke(CANARY, now.timestamp())
        self.write_access(enrolment, now)
        return self._write("mosquitto.conf", self._configuration(config, port, run_as).encode())

    def write_access(self, enrolment: Enrolment, now: datetime) -> None:
        """Writes the ACL again, and a new revocation list that was parsed first."""
        self._write("acl", (TEMPLATES / "acl").read_bytes())
        self._write("crl.pem", enrolment.revocations(now))

    @property
    def ends(self) -> dict[str, datetime]:
        """When each certificate of the broker and of the controller's connections expires."""
        names = ("server", *SERVICES)
        found = ((name, _certificate(self.directory / f"{name}.pem")) for name in names)
        return {f"certificate {name}": certificate.not_valid_after_utc for name, certificate in found}

    def client(self, config: BrokerConfig, name: str) -> BrokerConfig:
        """`config` with the TLS files of a service."""
        files = (self.directory / "ca.pem", self.directory / f"{name}.pem", self.directory / f"{name}.key")
        ca, certificate, key = (str(file) for file in files)
        return msgspec.structs.replace(config, ca_file=ca, cert_file=certificate, key_file=key)

    def lets_in(self, port: int, name: str = CANARY) -> bool:
        """Whether the broker accepts the certificate `name`."""
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
        return text + (f"user {run_as}\n" if run_as == "root" else "")

    def _write(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        replace_file(path, data)
        return path


def says_hello(host: str, port: int, ca: Path, certificate: Path, key: Path) -> bool:
    """Whether a broker accepts an MQTT 5 CONNECT with this certificate."""
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
