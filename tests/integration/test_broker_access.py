"""The 41 broker checks, on a real Mosquitto started by the product's own code with the shipped configuration and ACL.

Attack table: stolen device credential, Mosquitto reload fail-open. SUBACK and (in MQTT 3.1.1) PUBACK say yes to what
the ACL denies: every check is made on what is delivered, never on an acknowledgement.
"""

import shutil
import signal
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from contract import topics
from controller.broker.process import find_mosquitto, start_broker
from controller.config import BrokerConfig
from controller.registry.credentials import Credentials
from controller.trust.authorities import Authorities
from controller.trust.certificates import open_pki
from controller.trust.enrolment import Enrolment
from tests.integration.broker_lab import BLOBS, ROOT, Client, Lab, until

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(120),
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto here: apt-get install mosquitto (CI does)"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("lab")
    now = datetime.now(UTC)
    enrolment = Enrolment(Authorities(directory / "pki", now), Credentials(directory / "c.sqlite"))
    config = BrokerConfig(url="mosquitto", tls=True, port=0, topics=("plant/#",))
    broker = start_broker(config, directory / "broker", (enrolment, now))
    made = Lab(directory, enrolment, broker)
    yield made
    for client in made.clients:
        client.mqtt.loop_stop()
    broker.stop()


def prepared(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def controller(lab: Lab) -> Iterator[Client]:
    client = lab.named("svc.controller")
    client.subscribe(f"{ROOT}/#", f"{BLOBS}/#")
    client.publish(f"{ROOT}/d/dev-a/down/desired", b"A", retain=True)
    client.publish(f"{ROOT}/d/dev-b/down/desired", b"B", retain=True)
    client.publish(f"{ROOT}/pub/trust", b"T", retain=True)
    client.publish(f"{BLOBS}/{'0' * 64}/0", b"C", retain=True)
    client.heard.clear()
    yield client
    client.mqtt.disconnect()


def test_controller_and_devices_connect_and_a_device_reads_its_own_and_public_topics(
    lab: Lab, controller: Client
) -> None:
    device = lab.named("dev-a")
    assert controller.up
    assert device.up
    device.subscribe(f"{ROOT}/d/dev-a/down/#", f"{ROOT}/pub/#", f"{BLOBS}/#")
    assert sorted(payload for _, payload in device.heard) == [b"A", b"C", b"T"]


@pytest.mark.parametrize(
    "topic",
    [
        f"{ROOT}/d/dev-b/down/#",
        f"{ROOT}/#",
        "#",
        f"{ROOT}/d/+/down/desired",
        f"$share/g/{ROOT}/d/dev-b/down/desired",
        "$share/g/#",
        "$SYS/#",
        f"{ROOT}/d/+/up/#",
        "$CONTROL/#",
    ],
)
def test_no_message_for_another_device_is_delivered(lab: Lab, controller: Client, topic: str) -> None:
    device, other = lab.named("dev-a"), lab.named("dev-b")
    device.subscribe(topic)
    controller.publish(f"{ROOT}/d/dev-b/down/desired", b"B2", retain=True)
    other.publish(f"{ROOT}/d/dev-b/up/report", b"r")
    own = (f"{ROOT}/d/dev-a/", f"{ROOT}/pub/", f"{BLOBS}/")
    assert [heard for heard in device.heard if not heard[0].startswith(own)] == []


@pytest.mark.parametrize(
    "topic",
    [
        f"{ROOT}/d/dev-b/up/report",
        f"{ROOT}/d/dev-a/down/desired",
        f"{ROOT}/d/dev-b/down/desired",
        f"{ROOT}/pub/trust",
        f"{BLOBS}/{'0' * 64}/0",
        "$SYS/x",
        f"{ROOT}/d/dev-a/upx",
        f"{ROOT}/d/dev-a/up/anything",
        f"{ROOT}/d/dev-a/up/report/more",
        f"{ROOT}/cmd",
    ],
)
@pytest.mark.parametrize("protocol", [paho.MQTTv5, paho.MQTTv311], ids=["5", "3.1.1"])
def test_a_device_can_write_only_to_its_own_topics(lab: Lab, controller: Client, topic: str, protocol: Any) -> None:
    device = lab.named("dev-a", protocol=protocol)
    device.publish(topic, b"EVIL", retain=True)
    assert [heard for heard in controller.heard if heard[1] == b"EVIL"] == []


def test_a_device_that_retains_many_messages_leaves_one_on_each_of_its_topics(lab: Lab, controller: Client) -> None:
    device = lab.named("dev-d")
    kinds = [kind for name, kind in vars(topics).items() if name.startswith("UP_")]
    assert len(kinds) >= 6
    for topic in (*kinds, *(f"junk-{number}" for number in range(20)), *(f"report/{number}" for number in range(20))):
        sent = device.mqtt.publish(f"{ROOT}/d/dev-d/up/{topic}", b"EVIL", 1, retain=True)
        assert until(sent.is_published, 3)
    device.mqtt.disconnect()
    late = lab.named("svc.controller")
    late.subscribe("#")
    found = sorted(topic for topic, payload in late.heard if payload == b"EVIL")
    assert found == sorted(f"{ROOT}/d/dev-d/up/{kind}" for kind in kinds)
    for kind in kinds:
        late.publish(f"{ROOT}/d/dev-d/up/{kind}", b"", retain=True)


def test_rows_and_predictions_pass_if_the_configuration_names_their_topics(lab: Lab) -> None:
    device, plant = lab.named("dev-a"), lab.named("dev-b")
    device.subscribe("plant/7/rows", "shop/rows")
    plant.subscribe("plant/7/predictions")
    for topic in ("plant/7/rows", "shop/rows"):
        plant.publish(topic, topic.encode())
    device.publish("plant/7/predictions", b"1")
    assert until(lambda: plant.heard == [("plant/7/predictions", b"1")], 3)
    assert device.heard == [("plant/7/rows", b"plant/7/rows")]


def test_the_devices_own_report_arrives(lab: Lab, controller: Client) -> None:
    lab.named("dev-a").publish(f"{ROOT}/d/dev-a/up/report", b"hello")
    assert (f"{ROOT}/d/dev-a/up/report", b"hello") in controller.heard


def test_the_telemetry_service_can_read_telemetry_only(lab: Lab, controller: Client) -> None:
    service, device = lab.named("svc.telemetry"), lab.named("dev-a")
    service.subscribe("#", f"{ROOT}/d/+/up/telemetry")
    for kind in ("telemetry", "report"):
        device.publish(f"{ROOT}/d/dev-a/up/{kind}", kind.encode())
    assert {payload for _, payload in service.heard} - {b"T", b"C"} == {b"telemetry"}, "and what is public"


def test_a_client_id_gives_no_rights_and_a_second_session_replaces_the_first(lab: Lab) -> None:
    other = lab.named("dev-b")
    hijacker = lab.named("dev-a", identifier="dev-b")
    assert until(lambda: hijacker.up, 1)
    assert other.up
    again = lab.named("dev-a")
    assert again.up
    assert until(lambda: not hijacker.up, 2)


def test_a_last_will_onto_a_foreign_topic_is_not_delivered(lab: Lab, controller: Client) -> None:
    device = lab.named("dev-a", will=f"{ROOT}/d/dev-b/down/desired")
    if device.up:
        device.mqtt._sock.close()  # type: ignore[union-attr]
    time.sleep(1)
    assert [heard for heard in controller.heard if heard[1] == b"EVIL"] == []


@pytest.mark.parametrize(
    "how", ["no certificate", "another authority", "expired", "not yet valid", "for servers", "TLS 1.2"]
)
def test_a_bad_credential_is_refused(lab: Lab, tmp_path: Path, how: str) -> None:
    stranger = open_pki(prepared(tmp_path / "pki"), datetime.now(UTC))
    certificates = {
        "no certificate": lambda: None,
        "another authority": lambda: lab.certificate("dev-b", stranger, known=False),
        "expired": lambda: lab.certificate("dev-a", from_now=timedelta(days=-100)),
        "not yet valid": lambda: lab.certificate("dev-a", from_now=timedelta(days=1)),
        "for servers": lambda: lab.certificate("dev-a", usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "TLS 1.2": lambda: lab.certificate("dev-a"),
    }
    newest = ssl.TLSVersion.TLSv1_2 if how == "TLS 1.2" else None
    assert not lab.connect(certificates[how](), newest_tls=newest).up


@pytest.mark.parametrize("name", ["dev-b/up", "+", "#"])
def test_a_name_with_wildcards_or_slashes_cannot_read_or_write_topics_of_others(
    lab: Lab, controller: Client, name: str
) -> None:
    """The authority issues no such name. If one existed, it would have only these rights."""
    odd = lab.named(name)
    if odd.up:
        odd.subscribe(f"{ROOT}/d/+/down/#", f"{ROOT}/d/#", "#")
        odd.publish(f"{ROOT}/d/dev-b/up/report", b"EVIL")
    private = [heard for heard in odd.heard if "/d/" in heard[0]]
    assert (private, [heard for heard in controller.heard if heard[1] == b"EVIL"]) == ([], [])


def test_a_message_larger_than_the_limit_is_refused(lab: Lab, controller: Client) -> None:
    device = lab.named("dev-a")
    assert device.up
    device.publish(f"{ROOT}/d/dev-a/up/report", b"z" * 1_200_000)
    assert not device.up, "the broker ends the session"
    assert [heard for heard in controller.heard if len(heard[1]) > 1_000_000] == []


def test_a_revoked_device_is_disconnected_within_five_seconds_and_others_stay_connected(
    lab: Lab, controller: Client
) -> None:
    certificate = lab.certificate("dev-c")
    device, other = lab.connect(certificate), lab.named("dev-b")
    assert device.up
    began, now = time.monotonic(), datetime.now(UTC)
    assert lab.enrolment.credentials.revoke("dev-c", now.timestamp()) == 1
    assert lab.broker.files is not None
    lab.broker.files.write_access(lab.enrolment, now)
    assert lab.broker.reload()
    assert device.up, "a live session survives the reload: that is why it is taken over"
    assert lab.broker.files.end_session(lab.broker.port, "dev-c", lab.enrolment.authority, now)
    assert until(lambda: not device.up, 5)
    assert time.monotonic() - began < 5
    assert not lab.connect(certificate).up
    assert other.up
    assert controller.up
    assert lab.named("dev-a").up


def test_a_damaged_revocation_list_accepts_the_canary_and_the_broker_is_restarted(lab: Lab) -> None:
    """After a failed reload Mosquitto accepts everybody. The canary notices it; a restart corrects it."""
    files = lab.broker.files
    assert files is not None
    assert not files.lets_in(lab.broker.port)
    assert lab.broker.process is not None
    before = lab.broker.process.pid
    good = (files.directory / "crl.pem").read_bytes()
    (files.directory / "crl.pem").write_bytes(b"garbage")
    lab.broker.process.send_signal(signal.SIGHUP)
    assert until(lambda: files.lets_in(lab.broker.port), 3), "the canary is not needed for this Mosquitto"
    restart = lab.broker.restart
    assert restart is not None

    def with_the_good_list() -> Any:
        (files.directory / "crl.pem").write_bytes(good)
        return restart()

    lab.broker.restart = with_the_good_list
    assert not lab.broker.reload()
    lab.broker.restart = restart
    assert lab.broker.process.pid != before
    assert not files.lets_in(lab.broker.port)
    assert lab.named("dev-a").up


def test_an_expired_revocation_list_refuses_every_device_and_is_never_given_to_the_broker(lab: Lab) -> None:
    authority, now = lab.enrolment.authority, datetime.now(UTC)
    stale = authority.revocations([], 99, now - timedelta(days=8))
    with pytest.raises(ValueError, match="out of date"):
        authority.check_revocations(stale, now)
    stranger = open_pki(prepared(lab.directory / "stranger"), now)
    with pytest.raises(ValueError, match="not signed"):
        authority.check_revocations(stranger.revocations([], 1, now), now)
    fresh = x509.load_pem_x509_crl(lab.enrolment.revocations(now))
    assert (fresh.next_update_utc or now) > now + timedelta(days=6)


def test_the_private_files_of_the_controller_have_mode_0600(lab: Lab) -> None:
    files = lab.broker.files
    assert files is not None
    assert {path.stat().st_mode & 0o777 for path in files.directory.glob("*.key")} == {0o600}
    assert shutil.which("mosquitto") or find_mosquitto()


def test_much_telemetry_delays_no_report(lab: Lab) -> None:
    """One device sends too much telemetry, which is read slowly. All reports of another device arrive."""
    reports, telemetry = lab.named("svc.controller"), lab.named("svc.telemetry")
    telemetry.mqtt.on_message = lambda *_: time.sleep(0.0005)
    telemetry.subscribe(f"{ROOT}/d/+/up/telemetry")
    reports.subscribe(f"{ROOT}/d/+/up/report")
    flooder, honest = lab.named("dev-b"), lab.named("dev-a")
    for number in range(30_000):
        flooder.mqtt.publish(f"{ROOT}/d/dev-b/up/telemetry", b"x" * 300, 1)
        if number % 750 == 0:
            honest.mqtt.publish(f"{ROOT}/d/dev-a/up/report", b"%d" % (number // 750), 1)
    assert until(lambda: len([1 for topic, _ in reports.heard if "dev-a" in topic]) >= 40, 20)
    assert [int(payload) for topic, payload in reports.heard if "dev-a" in topic] == list(range(40))
