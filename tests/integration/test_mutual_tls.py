"""A fleet under mutual TLS with the real commands: claim, enrol, run, renew, revoke; and forged messages."""

import base64
import json
import os
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from agent.adapters.posix_disk import PosixDisk
from agent.adapters.timely import open_url
from agent.trust.enrol import enrol as enrol_device
from contract import topics
from contract.errors import BadInput, Code
from contract.keys import is_signed_by, signer_of
from contract.messages import Heartbeat, Report
from contract.signatures import renewal, sign_message
from contract.wire import encode
from controller.broker.process import find_mosquitto
from controller.registry.credentials import Credentials
from controller.trust.authorities import Authorities
from controller.trust.certificates import new_key, pem
from controller.trust.enrolment import CLAIM_LIFE_S, RENEWAL_GRACE_DAYS, ClaimRefused, Enrolment
from controller.trust.keys import private_pem
from controller.trust.senders import Senders
from edgeward.client import Client
from edgeward.demo.models import train_first
from edgeward.demo.processes import Process, Site, wait_for, weather_file

NOW = datetime.now(UTC)
QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "0.3", "min_samples": 10}}
SENSOR = """
[intervals]
heartbeat_s = 1.0
telemetry_s = 1.0
judge_s = 0.25
[[sensor]]
kind = "replay"
model = "weather"
path = "{data}"
rate_hz = 100.0
label = "rain"
start_row = 800
loop = true
"""


def script(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def told(command: list[str], site: Site) -> str:
    environment = {**os.environ, "EDGEWARD_DATA_DIR": str(site.data_dir), "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inferences(client: Client) -> int:
    return sum(each.inferences for model in client.device("cam-1").models for each in model.measured)


@pytest.mark.broker
@pytest.mark.timeout(180)
@pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto here: apt-get install mosquitto (CI does)")
def test_a_device_enrols_runs_renews_and_is_revoked(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", broker="mosquitto", broker_keys="tls = true\n")
    home = tmp_path / "device"
    agent = Process("agent", [script("edgeward-agent"), "run", "-c", str(home / "agent.toml")], tmp_path / "agent.log")
    try:
        client = site.start_controller()
        told([script("edgeward"), "device", "enrol", "cam-1", "--out", str(tmp_path / "claim.json")], site)
        enrol = [script("edgeward-agent"), "enrol", str(tmp_path / "claim.json"), "--out", str(home)]
        assert "next: edgeward-agent run" in told(enrol, site)
        assert {stat.S_IMODE((home / name).stat().st_mode) for name in ("device.key", "agent.toml")} == {0o600}
        with (home / "agent.toml").open("a") as config:
            config.write(SENSOR.format(data=weather_file()))
        agent.start()
        wait_for("the device", lambda: client.devices() or None, agent)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        assert client.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"
        assert "telemetry carries codes from here on" in (tmp_path / "agent.log").read_text()
        before = inferences(client)
        wait_for("telemetry that carries codes", lambda: inferences(client) > before or None, agent)

        agent.stop()
        assert "renewed, good until" in told([script("edgeward-agent"), "renew", "-c", str(home / "agent.toml")], site)
        renewed = home / "state" / "identity.pem"
        assert stat.S_IMODE(renewed.stat().st_mode) == 0o600
        agent.start()
        wait_for("it to be back", lambda: client.device("cam-1").presence == "online" or None, agent)

        began = time.monotonic()
        assert "revoked 2 certificates" in told([script("edgeward"), "device", "revoke", "cam-1"], site)
        wait_for("its session to end", lambda: client.device("cam-1").presence == "offline" or None, agent)
        assert time.monotonic() - began < 5
        time.sleep(2)
        assert client.device("cam-1").presence == "offline"
        second = subprocess.run([*enrol[:-1], str(tmp_path / "thief")], capture_output=True, text=True, timeout=60)
        assert (second.returncode, "claim_refused" in second.stderr) == (2, True)
        assert any(entry["detail"] == "claim of cam-1: used before" for entry in client._transport.get("/v1/audit"))
    finally:
        agent.stop()
        site.stop()


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_a_forged_health_report_does_not_advance_a_rollout(tmp_path: Path) -> None:
    """The owner of the broker reports an enrolled device as healthy: refused without the device's key."""
    site = Site(tmp_path / "site", broker_keys="tls = false\n")
    try:
        client = site.start_controller()
        claim = client.claim("cam-1")
        (tmp_path / "claim.json").write_text(json.dumps(claim.plain))
        enrol_device(tmp_path / "claim.json", tmp_path / "device", PosixDisk, open_url)
        forger = forging_client(claim.broker_url)
        beat: dict[str, Any] = json.loads(Path(__file__).parents[1].joinpath("data/wire/heartbeat.json").read_text())
        honest = msgspec.convert({**beat, "device": "cam-1"}, Heartbeat)
        key = signer_of((tmp_path / "device" / "device.key").read_bytes())
        stranger = signer_of(private_pem(new_key()))
        for forged in (honest, sign_message(honest, stranger)):
            forger.publish(topics.heartbeat("cam-1"), encode(forged), 1)
        wait_for("both forged messages to be refused", lambda: site_health(client)["messages_not_authentic"] == 2)
        assert [device.device for device in client.devices()] == []
        forger.publish(topics.heartbeat("cam-1"), encode(sign_message(honest, key)), 1)
        wait_for("the honest one", lambda: client.devices() or None)
    finally:
        site.stop()


def forging_client(url: str) -> paho.Client:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "forger", protocol=paho.MQTTv5)
    broker = urlsplit(url)
    client.username_pw_set(broker.username or "", broker.password)
    client.connect(str(broker.hostname), broker.port or 0)
    client.loop_start()
    return client


def site_health(client: Client) -> dict[str, Any]:
    return dict(client._transport.get("/v1/health"))


def enrolment(directory: Path) -> Enrolment:
    return Enrolment(Authorities(directory / "pki", NOW), Credentials(directory / "c.sqlite"))


def request(key: Any = None, name: str = "svc.controller") -> str:
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, algorithm)
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_the_name_is_taken_from_the_claim_and_never_from_the_request(tmp_path: Path) -> None:
    made = enrolment(tmp_path)
    certificate = made.enrol(made.claim("cam-1", NOW), request(name="svc.controller"), NOW)
    assert certificate.subject.rfc4514_string() == "CN=cam-1"
    assert certificate.not_valid_after_utc - NOW < timedelta(days=91)


def test_exactly_one_of_twenty_simultaneous_uses_of_a_claim_succeeds(tmp_path: Path) -> None:
    made, refused = enrolment(tmp_path), []
    token = made.claim("cam-1", NOW)

    def use(number: int) -> str:
        mine = Enrolment(made.authorities, Credentials(tmp_path / "c.sqlite"))
        try:
            mine.enrol(token, request(), NOW)
        except ClaimRefused as error:
            refused.append(error.words)
            return str(error.code)
        return "won"

    with ThreadPoolExecutor(20) as threads:
        ended = list(threads.map(use, range(20)))
    assert (ended.count("won"), ended.count("claim_refused")) == (1, 19)
    assert set(refused) == {"claim of cam-1: used before"}


def test_expired_unknown_and_revoked_claims_get_the_same_refusal(tmp_path: Path) -> None:
    made, refused = enrolment(tmp_path), []
    revoked = made.claim("cam-2", NOW)
    made.credentials.revoke("cam-2", NOW.timestamp())
    late = NOW + timedelta(seconds=CLAIM_LIFE_S + 1)
    for token, now in ((made.claim("cam-1", NOW), late), ("edc_guess", NOW), (revoked, NOW)):
        with pytest.raises(ClaimRefused) as caught:
            made.enrol(token, request(), now)
        assert (caught.value.code, caught.value.detail) == (Code.CLAIM_REFUSED, "ask the operator for a new claim")
        refused.append(caught.value.words)
    assert refused == ["claim of cam-1: expired", "unknown claim", "claim of cam-2: used before"]


def test_an_invalid_request_does_not_use_up_the_claim(tmp_path: Path) -> None:
    made = enrolment(tmp_path)
    token = made.claim("cam-1", NOW)
    broken = bytearray(base64.b64decode("".join(request().splitlines()[1:-1])))
    broken[-3] ^= 1
    armoured = base64.encodebytes(bytes(broken)).decode()
    bad = [
        "",
        "x" * 9000,
        f"-----BEGIN CERTIFICATE REQUEST-----\n{armoured}-----END CERTIFICATE REQUEST-----\n",
        request(rsa.generate_private_key(65537, 2048)),
        request(ec.generate_private_key(ec.SECP521R1())),
    ]
    for text in bad:
        with pytest.raises(BadInput) as caught:
            made.enrol(token, text, NOW)
        assert caught.value.code == Code.REQUEST_INVALID
    assert made.enrol(token, request(ed25519.Ed25519PrivateKey.generate()), NOW)


@pytest.mark.parametrize("name", ["a/b", "+", "#", "Bad Name", "svc.controller", "-x", "", "x" * 65, "a\n"])
def test_no_claim_is_made_for_a_name_that_could_be_a_topic_or_a_service(tmp_path: Path, name: str) -> None:
    made = enrolment(tmp_path)
    with pytest.raises(BadInput) as caught:
        made.claim(name, NOW)
    assert caught.value.code == Code.NAME_INVALID


def test_a_renewal_needs_the_old_key_and_a_valid_certificate(tmp_path: Path) -> None:
    made = enrolment(tmp_path)
    key = new_key()
    old = made.enrol(made.claim("cam-1", NOW), request(key), NOW)
    sign, fresh = signer_of(private_pem(key)), request()
    thief = signer_of(private_pem(new_key()))
    expired = NOW + timedelta(days=90 + RENEWAL_GRACE_DAYS + 1)
    for signature, certificate, now in (
        (thief(renewal(fresh)), pem(old), NOW),
        (sign(renewal(request())), pem(old), NOW),
        ("not base64", pem(old), NOW),
        (sign(renewal(fresh)), "garbage", NOW),
        (sign(renewal(fresh)), pem(old), expired),
    ):
        with pytest.raises(ClaimRefused) as caught:
            made.renew(certificate, fresh, signature, now)
        assert (caught.value.code, caught.value.words[:8]) == (Code.CLAIM_REFUSED, "renewal:")
    assert made.renew(pem(old), fresh, sign(renewal(fresh)), NOW).subject == old.subject
    made.credentials.revoke("cam-1", NOW.timestamp())
    with pytest.raises(ClaimRefused):
        made.renew(pem(old), fresh, sign(renewal(fresh)), NOW)


def test_messages_of_a_device_that_had_a_certificate_are_never_accepted_without_its_signature(tmp_path: Path) -> None:
    made = enrolment(tmp_path)
    report = Report(protocol=1, device="cam-1", boot=1, seq=1)
    now = NOW.timestamp()
    assert Senders(made.credentials, require_signed=False).is_authentic("cam-1", report, now)
    assert not Senders(made.credentials, require_signed=True).is_authentic("cam-1", report, now)
    key = new_key()
    made.enrol(made.claim("cam-1", NOW), request(key), NOW)
    senders = Senders(made.credentials, require_signed=False)
    signed = sign_message(report, signer_of(private_pem(key)))
    assert not senders.is_authentic("cam-1", report, now)
    assert senders.is_authentic("cam-1", signed, now)
    assert not senders.is_authentic("cam-2", signed, now), "the topic is the identity"
    assert not senders.is_authentic("cam-1", msgspec.structs.replace(signed, seq=2), now), "every field is signed"
    made.credentials.revoke("cam-1", now)
    senders.forget("cam-1")
    assert not senders.is_authentic("cam-1", signed, now)
    assert not is_signed_by(msgspec.structs.replace(signed, signature="####"), [])
