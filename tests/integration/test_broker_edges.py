"""TLS to a real Mosquitto, and rows that arrive over the broker itself."""

import datetime
import ipaddress
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controller.broker.configurations import free_port
from controller.broker.process import find_mosquitto
from edgeward.demo.models import load_weather, train_first
from edgeward.demo.processes import Process, Site, wait_for

pytestmark = pytest.mark.broker

QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 10}}


def certificate(
    directory: Path, name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    )
    made = builder.sign(issuer[1] if issuer else key, hashes.SHA256())
    (directory / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made, key


@pytest.mark.timeout(120)
def test_an_update_works_over_mutual_tls_on_an_external_broker(tmp_path: Path) -> None:
    mosquitto = find_mosquitto()
    if mosquitto is None:
        pytest.skip("no mosquitto on this machine: apt-get install mosquitto (CI does)")
    authority = certificate(tmp_path, "ca", None)
    for name in ("server", "controller", "device-1"):
        certificate(tmp_path, name, authority)
    port = free_port()
    (tmp_path / "m.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\nuser root\n"
        f"cafile {tmp_path}/ca.pem\ncertfile {tmp_path}/server.pem\nkeyfile {tmp_path}/server.key\n"
    )
    broker = Process("mosquitto", [mosquitto, "-c", str(tmp_path / "m.conf")], tmp_path / "mosquitto.log")
    broker.start()
    site = Site(tmp_path / "site", broker=f"mqtts://127.0.0.1:{port}")
    site.agent_broker_keys = (
        f'ca_file = "{tmp_path}/ca.pem"\ncert_file = "{tmp_path}/{{name}}.pem"\nkey_file = "{tmp_path}/{{name}}.key"\n'
    )
    site.broker_keys = site.agent_broker_keys.format(name="controller")
    try:
        client = site.start_controller()
        site.start_agent(1)
        wait_for("the device", lambda: bool(client.devices()) or None)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        assert client.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"
    finally:
        site.stop()
        broker.stop()


@pytest.mark.timeout(120)
def test_rows_from_a_topic_are_answered_and_bad_ones_counted(broker_kind: str, tmp_path: Path) -> None:
    site = Site(tmp_path, broker=broker_kind, broker_keys="tls = false\n")
    try:
        client = site.start_controller()
        agent = site.prepare_agent(1)
        config = tmp_path / "device-1" / "agent.toml"
        text = config.read_text()
        config.write_text(
            text[: text.index("[[sensor]]")]
            + '[[sensor]]\nkind = "topic"\nmodel = "weather"\ntopic = "plant/weather"\nlabel = "rain"\n'
        )
        agent.start()
        wait_for("the device", lambda: bool(client.devices()) or None)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        patient = {**QUICK, "trial": {"soak_s": "1", "min_samples": 0}}
        assert client.rollout("weather", strategy=patient).wait(timeout_s=60).status == "completed"
        features, rain = load_weather()
        plant = paho.Client(paho.CallbackAPIVersion.VERSION2, "plant", protocol=paho.MQTTv5)
        broker = urlsplit(client.enrolment().broker_url)
        plant.username_pw_set(broker.username or "", broker.password)
        plant.connect("127.0.0.1", broker.port or 0)
        plant.loop_start()
        for number in range(50):
            row = {**features.iloc[number].astype(float).to_dict(), "rain": int(rain[number])}
            plant.publish("plant/weather", json.dumps(row), qos=1)
        plant.publish("plant/weather", b"not json", qos=1)
        plant.publish("plant/weather", b'{"temperature": 1}', qos=1).wait_for_publish(5)

        def device() -> dict | None:
            found = client.devices()[0]
            measured = found.models[0].measured
            done = measured and measured[0].labelled == 50 and found.dropped.get("rows_failed") == 1
            return found if done else None

        assert wait_for("fifty answers", device).dropped["rows_malformed"] == 1
        plant.disconnect()
        plant.loop_stop()
    finally:
        site.stop()


@pytest.mark.timeout(60)
def test_an_agent_whose_broker_is_unreachable_reports_it_and_keeps_running(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        site.start_controller()
        agent = site.prepare_agent(1)
        config = tmp_path / "device-1" / "agent.toml"
        text = config.read_text()
        line = next(line for line in text.splitlines() if line.startswith("url"))
        config.write_text(text.replace(line, f'url = "mqtt://127.0.0.1:{free_port()}"'))
        agent.start()
        wait_for("the log", lambda: "broker_unreachable" in agent.log.read_text() or None, agent)
        time.sleep(1.5)
        assert agent.alive
    finally:
        site.stop()


@pytest.mark.timeout(60)
def test_the_embedded_broker_requires_a_password_and_prints_none(tmp_path: Path) -> None:
    site = Site(tmp_path, broker="embedded")
    try:
        client = site.start_controller()
        broker = urlsplit(client.enrolment().broker_url)
        assert broker.password
        assert broker.password not in client.health().broker
        assert broker.password not in (tmp_path / "controller.log").read_text()
        assert "one password for everybody" in (tmp_path / "controller.log").read_text()
        for password, welcome in ((broker.password, True), ("guess", False), (None, False)):
            guest = paho.Client(paho.CallbackAPIVersion.VERSION2, "guest", protocol=paho.MQTTv5)
            if password:
                guest.username_pw_set("edgeward", password)
            guest.connect("127.0.0.1", broker.port or 0)
            guest.loop_start()
            time.sleep(0.7)
            assert guest.is_connected() is welcome
            guest.disconnect()
            guest.loop_stop()
    finally:
        site.stop()
