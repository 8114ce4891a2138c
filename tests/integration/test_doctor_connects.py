"""`edgeward-agent doctor` connects to the broker and says in words what is wrong: real sockets, real TLS, Mosquitto."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.adapters.mqtt.hello import say_hello
from agent.config import Broker, Config, Device
from agent.doctor import examine
from controller.broker.configurations import free_port
from controller.broker.process import RunningBroker, find_mosquitto, start_broker
from controller.config import BrokerConfig
from controller.registry.credentials import Credentials
from controller.trust.authorities import Authorities
from controller.trust.certificates import CertificateAuthority, new_key, open_pki, pem
from controller.trust.enrolment import Enrolment, credential_of
from controller.trust.keys import private_pem

pytestmark = pytest.mark.broker
TODAY = datetime.now(UTC)
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto here: apt-get install mosquitto")


def hello(broker: Broker, today: datetime = TODAY) -> tuple[bool, str]:
    found = say_hello(broker, "cam-1", today)
    return found.accepted, found.words


def files(directory: Path, name: str, authority: CertificateAuthority, *, days: float, begins: datetime = TODAY) -> str:
    """Returns one file with a device's key and certificate."""
    key = new_key()
    made = authority.device(name, key.public_key(), begins, days)
    path = directory / f"{name}-{days}.pem"
    path.write_bytes(private_pem(key) + pem(made).encode())
    return str(path)


def authority_in(directory: Path) -> CertificateAuthority:
    directory.mkdir()
    return open_pki(directory, TODAY - timedelta(days=1000))


class TlsServer:
    """Shows one certificate to each client that connects, then closes the connection."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(str(certificate))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            try:
                self._context.wrap_socket(stream, server_side=True).close()
            except OSError:
                stream.close()

    def close(self) -> None:
        self._listener.close()


def server_of(
    tmp_path: Path, authority: CertificateAuthority, host: str, begins: datetime, monkeypatch: pytest.MonkeyPatch
) -> TlsServer:
    monkeypatch.setattr("controller.trust.certificates.SERVICE_DAYS", 30)
    key = new_key()
    path = tmp_path / "server.pem"
    path.write_bytes(private_pem(key) + pem(authority.server([host], key.public_key(), begins)).encode())
    return TlsServer(path)


def test_doctor_names_a_host_that_does_not_resolve_and_a_closed_port() -> None:
    found = hello(Broker(url="mqtt://no-such-host.invalid:1883"))
    assert found[0] is False
    assert "the name no-such-host.invalid cannot be resolved" in found[1]
    refused = hello(Broker(url=f"mqtt://127.0.0.1:{free_port()}"))
    assert "refuses connections: is the broker up" in refused[1]


@pytest.mark.parametrize(
    ("host", "begins_days", "clock_and_words"),
    [
        ("127.0.0.1", -60, (TODAY, "is expired; it is valid from")),
        ("127.0.0.1", +10, (TODAY, "is not yet valid; it is valid from")),
        ("127.0.0.1", +10, (datetime(1970, 1, 1, tzinfo=UTC), "the clock is wrong, set it")),
        ("other.example.org", 0, (TODAY, "use a name that it holds in broker.url")),
    ],
)
def test_doctor_names_what_is_wrong_with_the_brokers_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, begins_days: int, clock_and_words: tuple[datetime, str]
) -> None:
    clock, words = clock_and_words
    authority = authority_in(tmp_path / "pki")
    server = server_of(tmp_path, authority, host, TODAY + timedelta(days=begins_days), monkeypatch)
    try:
        ca = str(tmp_path / "pki" / "ca.pem")
        accepted, said = hello(Broker(url=f"mqtts://127.0.0.1:{server.port}", ca_file=ca), clock)
        assert not accepted
        assert words in said
    finally:
        server.close()


def test_doctor_names_an_authority_that_this_device_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority_in(tmp_path / "known")
    server = server_of(tmp_path, authority_in(tmp_path / "other"), "127.0.0.1", TODAY, monkeypatch)
    try:
        ca = str(tmp_path / "known" / "ca.pem")
        said = hello(Broker(url=f"mqtts://127.0.0.1:{server.port}", ca_file=ca))[1]
        assert "of an unknown authority: look at broker.ca_file" in said
    finally:
        server.close()


def test_doctor_names_a_plain_port_where_tls_is_expected_and_the_reverse(tmp_path: Path) -> None:
    authority_in(tmp_path / "pki")
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), tmp_path / "broker")
    try:
        url = f"mqtts://127.0.0.1:{broker.port}"
        accepted, said = hello(Broker(url=url, ca_file=str(tmp_path / "pki" / "ca.pem")))
        assert not accepted
        assert said
    finally:
        broker.stop()


def test_doctor_refuses_a_wrong_password_and_accepts_a_right_one(broker_kind: str, tmp_path: Path) -> None:
    broker = start_broker(BrokerConfig(url=broker_kind, port=free_port()), tmp_path)
    try:
        assert hello(Broker(url=broker.url)) == (True, f"127.0.0.1:{broker.port} accepts cam-1")
        accepted, said = hello(Broker(url=f"mqtt://edgeward:guessed@127.0.0.1:{broker.port}"))
        assert not accepted
        assert "credentials" in said or "not authorized" in said
    finally:
        broker.stop()


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningBroker, Enrolment, Path]]:
    directory, now = tmp_path_factory.mktemp("mutual"), datetime.now(UTC)
    enrolment = Enrolment(Authorities(directory / "pki", now), Credentials(directory / "c.sqlite"))
    broker = start_broker(
        BrokerConfig(url="mosquitto", tls=True, port=free_port()), directory / "broker", (enrolment, now)
    )
    yield broker, enrolment, directory
    broker.stop()


@needs_mosquitto
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("good", "accepts cam-1"),
        ("expired", "it has expired"),
        ("not yet valid", "not yet valid"),
        ("stranger", "does not know its authority"),
        ("none", "none was shown"),
    ],
)
def test_doctor_names_what_is_wrong_with_the_devices_certificate(
    mutual: tuple[RunningBroker, Enrolment, Path], tmp_path: Path, how: str, words: str
) -> None:
    broker, enrolment, directory = mutual
    begins = {"expired": TODAY - timedelta(days=30), "not yet valid": TODAY + timedelta(days=5)}.get(how, TODAY)
    authority = authority_in(tmp_path / "other") if how == "stranger" else enrolment.authority
    pair = files(tmp_path, "cam-1", authority, days=10, begins=begins)
    ca = str(directory / "broker" / "tls" / "ca.pem")
    given = {} if how == "none" else {"cert_file": pair, "key_file": pair}
    found = say_hello(Broker(url=f"mqtts://localhost:{broker.port}", ca_file=ca, **given), "cam-1", TODAY)
    assert found.accepted is (how == "good")
    assert words in found.words
    assert found.reached
    assert found.broker_expires is not None
    assert found.broker_expires > TODAY


@needs_mosquitto
def test_a_revoked_certificate_is_reported_as_revoked(
    mutual: tuple[RunningBroker, Enrolment, Path], tmp_path: Path
) -> None:
    broker, enrolment, directory = mutual
    key = new_key()
    made = enrolment.authority.device("cam-2", key.public_key(), TODAY)
    enrolment.credentials.add_certificate(credential_of(made, "cam-2"))
    enrolment.credentials.revoke("cam-2", TODAY.timestamp())
    assert broker.files is not None
    broker.files.write_access(enrolment, datetime.now(UTC))
    assert broker.reload()
    pair = tmp_path / "pair.pem"
    pair.write_bytes(private_pem(key) + pem(made).encode())
    ca = str(directory / "broker" / "tls" / "ca.pem")
    said = Broker(url=f"mqtts://localhost:{broker.port}", ca_file=ca, cert_file=str(pair), key_file=str(pair))
    assert "it is revoked: ask the operator for a new claim" in say_hello(said, "cam-2", TODAY).words


@needs_mosquitto
def test_doctor_prints_when_certificates_expire(mutual: tuple[RunningBroker, Enrolment, Path], tmp_path: Path) -> None:
    broker, enrolment, directory = mutual
    ca = str(directory / "broker" / "tls" / "ca.pem")
    for days, fine in ((80.0, True), (5.0, False)):
        pair = files(tmp_path, "cam-1", enrolment.authority, days=days)
        reads = Broker(url=f"mqtts://localhost:{broker.port}", ca_file=ca, cert_file=pair, key_file=pair)
        config = Config(device=Device(name="cam-1", state_dir=str(tmp_path / "state")), broker=reads)
        found = {each.check: each for each in examine(config, tmp_path / "agent.toml")}
        assert found["certificates"].ok is fine
        assert "certificate expires in" in found["certificates"].detail
        assert "authority expires in 36" in found["certificates"].detail
        assert found["broker"].ok
        assert "its certificate is good until" in found["broker"].detail
