"""Certificates valid for seconds on real processes: devices and the controller renew them without an interruption."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from controller.broker.mutual_tls import shown_certificate
from controller.broker.process import find_mosquitto
from edgeward.client import Client
from edgeward.demo.models import train_first, weather_file
from edgeward.demo.processes import Process, Site, wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto here: apt-get install mosquitto (CI does)"),
]
QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "0.3", "min_samples": 10}}
SHORT_LIVES = """\
import datetime, sys
from controller.trust import certificates
from controller.verbs import certificates as verbs
certificates.DEVICE_DAYS, certificates.SERVICE_DAYS = {device_s} / 86400, {service_s} / 86400
certificates.BACKDATE = datetime.timedelta(seconds=1)
verbs.LOOK_S = 1.0
from controller.cli import run
sys.exit(run(sys.argv[1:]))
"""
"""The controller, but its certificates are valid for seconds."""
SENSOR = """
[intervals]
heartbeat_s = 0.5
telemetry_s = 0.5
judge_s = 0.25
[[sensor]]
kind = "replay"
model = "weather"
path = "{data}"
rate_hz = 50.0
label = "rain"
start_row = 800
loop = true
"""


def short_lived(tmp_path: Path, *, device_s: float, service_s: float) -> tuple[Site, Client]:
    """A controller whose certificates are valid for the given seconds."""
    program = tmp_path / "short_lives.py"
    program.write_text(SHORT_LIVES.format(device_s=device_s, service_s=service_s))
    site = Site(tmp_path / "site", broker="mosquitto", broker_keys="tls = true\n")
    site.directory.mkdir(parents=True)
    config = site.directory / "controller.toml"
    config.write_text(
        f'[storage]\ndata_dir = "{site.data_dir}"\n[api]\nport = 0\n[broker]\nurl = "mosquitto"\nport = 0\ntls = true\n'
        "[fleet]\nsilent_s = 10.0\nreconcile_s = 0.2\n"
    )
    command = [sys.executable, str(program), "run", "-c", str(config)]
    site.controller = Process("controller", command, site.directory / "controller.log")
    site.controller.start()
    return site, wait_for("the controller", site._client, site.controller)


def enrolled(client: Client, tmp_path: Path) -> tuple[Path, Process]:
    """The directory and the agent of a new device."""
    home, claim = tmp_path / "device", tmp_path / "claim.json"
    claim.write_text(json.dumps(client.claim("cam-1").plain))
    agent = str(Path(sys.executable).with_name("edgeward-agent"))
    subprocess.run([agent, "enrol", str(claim), "--out", str(home)], check=True, timeout=60)
    with (home / "agent.toml").open("a") as config:
        config.write(SENSOR.format(data=weather_file()))
    return home, Process("agent", [agent, "run", "-c", str(home / "agent.toml")], tmp_path / "agent.log")


def of_device(client: Client) -> list[Any]:
    return list(client.certificates("cam-1"))


def inferences(client: Client) -> int:
    return sum(m.inferences for each in client.device("cam-1").models for m in each.measured)


def shown_serial(site: Site) -> int:
    tls = site.data_dir / "broker" / "tls"
    where = json.loads((site.data_dir / "controller.json").read_text())["broker"]
    port = int(where.rpartition(":")[2])
    der = shown_certificate("localhost", port, tls / "ca.pem")
    return x509.load_der_x509_certificate(der).serial_number if der else 0


def test_device_and_broker_renew_without_a_restart_and_the_device_keeps_serving(tmp_path: Path) -> None:
    site, client = short_lived(tmp_path, device_s=24, service_s=30)
    home, agent = enrolled(client, tmp_path)
    try:
        agent.start()
        wait_for("the device", lambda: client.devices() or None, agent)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        assert client.rollout("weather", strategy=QUICK).wait(timeout_s=60).status == "completed"
        first_shown, began = shown_serial(site), time.monotonic()

        wait_for("a second certificate", lambda: len(of_device(client)) >= 2 or None, agent, within_s=40)
        wait_for("the new pair", lambda: (home / "state" / "identity.pem").exists() or None, agent)
        wait_for("a new one of the broker", lambda: shown_serial(site) not in (0, first_shown), within_s=40)
        rows = inferences(client)
        while time.monotonic() - began < 45:  # longer than any certificate of the beginning has lived
            time.sleep(0.5)
        wait_for("more rows", lambda: inferences(client) > rows or None, agent)
        wait_for("presence", lambda: client.device("cam-1").presence == "online" or None, agent)
        assert agent.starts == 1
        assert agent.alive
        device = client.device("cam-1")
        assert {"certificate", "authority", "broker", "root", "timestamp"} <= set(device.expiries)
        assert all(entry.report.refusal is None for entry in device.history)
        services = [each for each in client.certificates() if each.subject == "svc.controller"]
        assert len(services) >= 2
        assert [each.revoked for each in services[1:]] == [True] * (len(services) - 1), "a key that is gone"
        assert "the certificate is renewed" in agent.log.read_text()
        assert any(entry["action"] == "certificate renewed" for entry in client._transport.get("/v1/audit"))
    finally:
        agent.stop()
        site.stop()


def test_a_device_that_was_off_past_its_expiry_renews_automatically(tmp_path: Path) -> None:
    site, client = short_lived(tmp_path, device_s=8, service_s=86_400)
    _, agent = enrolled(client, tmp_path)
    try:
        time.sleep(9)
        assert of_device(client)[0].expires_at < datetime.now(UTC)
        agent.start()
        wait_for("the device", lambda: client.devices() or None, agent, within_s=20)
        assert len(of_device(client)) >= 2
    finally:
        agent.stop()
        site.stop()


@pytest.mark.soak
def test_a_running_device_accepts_a_second_authority_and_the_first_is_retired(tmp_path: Path) -> None:
    site, client = short_lived(tmp_path, device_s=20, service_s=86_400)
    home, agent = enrolled(client, tmp_path)
    try:
        agent.start()
        wait_for("the device", lambda: client.devices() or None, agent)
        first, second = client.add_authority()
        assert (first.name, first.issues, second.name, second.issues) == ("ca", False, "ca-2", True)
        with pytest.raises(Exception, match=r"authority_in_use.*cam-1"):
            client.retire_authority("ca")
        wait_for("a certificate by it", lambda: of_device(client)[0].authority == "ca-2" or None, agent, within_s=40)
        wait_for(
            "both authorities",
            lambda: (
                (home / "state" / "authorities.pem").exists()
                and (home / "state" / "authorities.pem").read_text().count("BEGIN") == 2
            ),
            agent,
        )
        wait_for("the end of the first", lambda: client.authorities()[0].devices == 0 or None, within_s=40)
        assert [each.trusted for each in client.retire_authority("ca")] == [False, True]
        newest = of_device(client)[0].serial
        wait_for("the next one", lambda: of_device(client)[0].serial != newest, agent, within_s=40)
        wait_for("presence", lambda: client.device("cam-1").presence == "online" or None, agent)
        text = (home / "state" / "authorities.pem").read_text()
        wait_for("the first to be forgotten", lambda: text.count("BEGIN") == 1 or _count(home) == 1, agent, within_s=30)
        assert agent.starts == 1
    finally:
        agent.stop()
        site.stop()


def _count(home: Path) -> int:
    return (home / "state" / "authorities.pem").read_text().count("BEGIN")


def test_a_revoked_certificate_of_a_service_is_refused_and_the_controller_continues(tmp_path: Path) -> None:
    site, client = short_lived(tmp_path, device_s=86_400, service_s=86_400)
    try:
        tls = site.data_dir / "broker" / "tls"
        stolen = tmp_path / "stolen.pem"
        stolen.write_bytes((tls / "svc.controller.pem").read_bytes() + (tls / "svc.controller.key").read_bytes())
        serial = next(each.serial for each in client.certificates() if each.subject == "svc.controller")
        assert client.revoke_certificate(serial).revoked
        wait_for("a new one", lambda: next(iter(client.certificates("svc.controller"))).serial != serial)
        wait_for("the controller", lambda: client.health().broker_connected or None)
        from controller.broker.mutual_tls import says_hello

        port = int(json.loads((site.data_dir / "controller.json").read_text())["broker"].rpartition(":")[2])
        assert not says_hello("localhost", port, tls / "ca.pem", stolen, stolen)
    finally:
        site.stop()
