"""A broker that ends by itself is restarted, a damaged database is set aside, and no client is anonymous."""

import itertools
import os
import signal
import time
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import psutil
import pytest

from contract.errors import BadInput, Code, WorldError
from controller.broker import process as process_module
from controller.broker.configurations import free_port
from controller.broker.process import MAX_SET_ASIDE, RunningBroker, find_mosquitto, start_broker
from controller.config import BrokerConfig
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto here: apt-get install mosquitto")


def kill(broker: RunningBroker) -> None:
    assert broker.process is not None
    broker.process.kill()
    broker.process.wait()


def accepted(url: str, username: str | None, password: str | None) -> bool:
    answers: list[bool] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "someone", protocol=paho.MQTTv5)
    client.on_connect = lambda _c, _d, _f, reason, _p: answers.append(not reason.is_failure)
    if username is not None:
        client.username_pw_set(username, password)
    client.connect("127.0.0.1", urlsplit(url).port or 0)
    until = time.monotonic() + 3
    while not answers and time.monotonic() < until:
        if client.loop(0.1) != paho.MQTT_ERR_SUCCESS:
            break
    client.disconnect()
    return answers == [True]


def test_the_broker_accepts_no_anonymous_client_and_only_the_owner_can_read_the_password(
    broker_kind: str, tmp_path: Path
) -> None:
    broker = start_broker(BrokerConfig(url=broker_kind, port=free_port()), tmp_path)
    try:
        url = urlsplit(broker.url)
        assert not accepted(broker.url, None, None)
        assert not accepted(broker.url, url.username, "guessed")
        assert accepted(broker.url, url.username, url.password)
        assert str(url.password) not in broker.shown
        holders = [path for path in tmp_path.iterdir() if str(url.password).encode() in path.read_bytes()]
        assert holders
        secrets = {*holders, *tmp_path.glob("mosquitto.passwords")}
        assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    finally:
        broker.stop()


def test_a_broker_that_ended_by_itself_is_restarted_and_one_that_was_stopped_is_not(
    broker_kind: str, tmp_path: Path
) -> None:
    broker = start_broker(BrokerConfig(url=broker_kind, port=free_port()), tmp_path)
    try:
        now = time.monotonic()
        assert not broker.tend(now)
        kill(broker)
        assert broker.tend(now)
        assert "status -9" in broker.fault
        assert not broker.tend(now + 0.5), "the first attempt is after one second"
        assert broker.tend(now + 1.0)
        assert broker.fault == ""
        url = urlsplit(broker.url)
        assert accepted(broker.url, url.username, url.password)
    finally:
        broker.stop()
    assert not broker.tend(now + 60.0)
    assert broker.process is not None
    assert broker.process.poll() is not None


def test_without_a_broker_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "find_mosquitto", lambda: None)
    monkeypatch.setattr(process_module, "find_spec", lambda _: None)
    for kind in ("auto", "embedded"):
        with pytest.raises(BadInput, match="apt-get install mosquitto") as caught:
            start_broker(BrokerConfig(url=kind, port=0), tmp_path)
        assert caught.value.code == Code.CONFIG_INVALID


def test_pauses_between_restarts_of_a_broker_grow_up_to_a_limit(tmp_path: Path) -> None:
    def fails() -> None:
        attempts.append(now)
        raise WorldError(Code.BROKER_UNREACHABLE, "no")

    attempts: list[float] = []
    ended = process_module.subprocess.Popen(["true"])
    ended.wait()
    broker = RunningBroker("mqtt://127.0.0.1:1", "mosquitto", ended, restart=fails)  # type: ignore[arg-type]
    now = 1000.0
    while now < 1300.0:
        broker.tend(now)
        now += 0.5
    waits = [later - before for before, later in itertools.pairwise(attempts)]
    assert waits[:4] == [2.0, 4.0, 8.0, 16.0]
    assert set(waits[4:]) == {process_module.RESTART_MAX_S}


@needs_mosquitto
@pytest.mark.parametrize("damage", [b"", b"no database at all", b"\x00\xb5\x00mosquitto db"])
def test_a_damaged_database_is_set_aside_and_few_are_kept(damage: bytes, tmp_path: Path) -> None:
    config = BrokerConfig(url="mosquitto", port=free_port())
    for _ in range(MAX_SET_ASIDE + 2):
        (tmp_path / "mosquitto.db").write_bytes(damage)
        start_broker(config, tmp_path).stop()
    kept = sorted(tmp_path.glob("mosquitto.db.bad-*"))
    assert len(kept) in (0, MAX_SET_ASIDE), "none if Mosquitto reads the file as empty"
    assert all(path.read_bytes() == damage for path in kept)
    if damage == b"no database at all":
        assert kept


@needs_mosquitto
def test_a_broker_that_fails_for_another_reason_keeps_its_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.broker.configurations._MOSQUITTO", "listener {port} {host}\nno_such_key 1\n")
    (tmp_path / "mosquitto.db").write_bytes(b"precious")
    with pytest.raises(WorldError):
        start_broker(BrokerConfig(url="mosquitto", port=free_port()), tmp_path)
    assert (tmp_path / "mosquitto.db").read_bytes() == b"precious"
    assert not list(tmp_path.glob("*.bad-*"))


@pytest.mark.timeout(120)
def test_a_controller_reports_the_end_of_its_broker_and_devices_reconnect(broker_kind: str, tmp_path: Path) -> None:
    site = Site(tmp_path, broker=broker_kind)
    try:
        client = site.start_controller()
        site.start_agent(1)
        wait_for("the device", lambda: len(client.devices()) > 0)
        assert site.controller is not None
        assert site.controller.child is not None
        (broker,) = psutil.Process(site.controller.child.pid).children()
        os.kill(broker.pid, signal.SIGKILL)
        wait_for("the finding", lambda: client.health().findings == ("broker_lost",) or None)
        wait_for("health", lambda: client.health().status == "ok" or None)
        wait_for("the device", lambda: client.devices()[0].presence == "online")
        log = site.controller.log
        wait_for("the end of the finding", lambda: "health: broker_lost is over" in log.read_text())
        assert "it ended with status -9; starting it again in 1 s" in log.read_text()
    finally:
        site.stop()
