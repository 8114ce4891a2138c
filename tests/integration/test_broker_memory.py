"""One client's subscriptions do not fill the machine: a real Mosquitto, as the controller starts it, with less memory.

Decides only what the broker does at its limit. The file of its memory and the access list are other tests' subject.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.broker import configurations, mutual_tls
from controller.broker.memory import FRACTION, memory_limit_bytes
from controller.broker.process import find_mosquitto, start_broker
from controller.config import BrokerConfig
from controller.registry.credentials import Credentials
from controller.trust.authorities import Authorities
from controller.trust.enrolment import Enrolment
from tests.integration.broker_lab import BLOBS, PATIENCE_S, ROOT, Lab, until

SMALL_BYTES = 8 << 20
FILTERS, AT_ONCE = 20_000, 500
"""At 800 bytes each they take twice the limit."""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    if find_mosquitto() is None:
        pytest.skip("no mosquitto here: apt-get install mosquitto (CI does)")
    for module in (configurations, mutual_tls):
        monkeypatch.setattr(module, "memory_limit_bytes", lambda: SMALL_BYTES)
    now = datetime.now(UTC)
    enrolment = Enrolment(Authorities(tmp_path / "pki", now), Credentials(tmp_path / "c.sqlite"))
    broker = start_broker(BrokerConfig(url="mosquitto", tls=True, port=0), tmp_path / "broker", (enrolment, now))
    made = Lab(tmp_path, enrolment, broker)
    yield made
    for client in made.clients:
        client.mqtt.loop_stop()
    broker.stop()


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_a_device_that_subscribes_without_end_is_disconnected_and_others_go_on(small: Lab) -> None:
    controller, honest, evil = (small.named(name) for name in ("svc.controller", "dev-a", "dev-b"))
    controller.subscribe(f"{ROOT}/d/+/up/report")
    honest.subscribe(f"{ROOT}/d/dev-a/down/#")
    for start in range(0, FILTERS, AT_ONCE):
        if evil.ended:
            break
        filters = [f"{BLOBS}/{number:08}/{'x' * 400}" for number in range(start, start + AT_ONCE)]
        evil.mqtt.subscribe([(each, 1) for each in filters])
    assert until(lambda: evil.ended, PATIENCE_S), "20,000 subscriptions fit into 8 MB"
    honest.publish(f"{ROOT}/d/dev-a/up/report", b"well")
    controller.publish(f"{ROOT}/d/dev-a/down/desired", b"v2", retain=True)
    assert (honest.up, controller.up) == (True, True)
    assert controller.heard == [(f"{ROOT}/d/dev-a/up/report", b"well")]
    assert honest.heard == [(f"{ROOT}/d/dev-a/down/desired", b"v2")]


def test_the_limit_is_half_of_the_machine_or_of_the_container(tmp_path: Path) -> None:
    machine = memory_limit_bytes(tmp_path / "none")
    group = tmp_path / "memory.max"
    group.write_text("max\n")
    assert memory_limit_bytes(group) == machine > 0
    group.write_text("1000000\n")
    assert memory_limit_bytes(group) == FRACTION * 1_000_000


def test_both_configurations_name_the_limit(tmp_path: Path) -> None:
    configurations.mosquitto_command("mosquitto", BrokerConfig(), 1, tmp_path, "secret")
    secure = mutual_tls.BrokerFiles(tmp_path, "localhost")._configuration(BrokerConfig(), 1, "nobody")
    for text in ((tmp_path / "mosquitto.conf").read_text(), secure):
        assert f"memory_limit {memory_limit_bytes()}\n" in text
