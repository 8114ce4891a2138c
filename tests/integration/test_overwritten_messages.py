"""Messages that other clients retain over the controller's documents on a Mosquitto are corrected and reported."""

import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import paho.mqtt.client as paho
import pytest

from contract import topics
from controller.broker.process import find_mosquitto
from edgeward.client import Client
from edgeward.demo.models import train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = [
    pytest.mark.broker,
    pytest.mark.timeout(150),
    pytest.mark.skipif(find_mosquitto() is None, reason="no mosquitto here: apt-get install mosquitto (CI does)"),
]
SOON_S = 20.0
QUICK = {"name": "quick", "waves": [{"percent": 100}], "trial": {"soak_s": "1", "min_samples": 1}}


class Stranger:
    """Another client with the broker's password, which every client of a broker without TLS has."""

    def __init__(self, client: Client) -> None:
        url = urlsplit(client.enrolment().broker_url)
        self.retained: dict[str, bytes] = {}
        self.heard: list[tuple[str, bytes]] = []
        self.mqtt = paho.Client(paho.CallbackAPIVersion.VERSION2, "stranger", protocol=paho.MQTTv5)
        self.mqtt.username_pw_set(url.username or "", url.password)
        self.mqtt.on_message = self._message
        self.mqtt.connect("127.0.0.1", url.port or 0)
        self.mqtt.loop_start()
        options = paho.SubscribeOptions(qos=1, retainAsPublished=True)
        self.mqtt.subscribe([(f"{topics.ROOT}/#", options), (f"{topics.BLOB_ROOT}/#", options)])

    def retain(self, topic: str, payload: bytes) -> None:
        self.mqtt.publish(topic, payload, 1, retain=True).wait_for_publish(5)

    def said_again(self, topic: str, right: bytes, times: int = 1) -> bool:
        return [payload for name, payload in self.heard if name == topic].count(right) >= times

    def _message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))
        if message.retain:
            self.retained[message.topic] = bytes(message.payload)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A device that runs v1."""
    made = Site(tmp_path_factory.mktemp("site"), broker="mosquitto", broker_keys="tls = false\n", rate_hz=20.0)
    client = made.start_controller()
    made.start_agent(1)
    wait_for("the device", client.devices)
    model, sample = train_first()
    client.push(model, name="weather", sample=sample)
    client.rollout("weather", strategy=QUICK).wait(timeout_s=90)
    yield made
    made.stop()


@pytest.fixture
def client(site: Site) -> Client:
    return Client(f"http://{_address(site)}", (site.data_dir / "token").read_text())


def _address(site: Site) -> str:
    return str(json.loads((site.data_dir / "controller.json").read_text())["url"]).removeprefix("http://")


def test_overwritten_documents_are_published_again_within_seconds_and_reported(site: Site, client: Client) -> None:
    stranger = Stranger(client)
    chunk = wait_for("blobs", lambda: next((t for t in stranger.retained if t.endswith("/list")), ""))
    written = (topics.desired("device-1"), topics.trust(), topics.root(1), topics.model_role("weather"), chunk)
    right = {topic: stranger.retained[topic] for topic in written}
    put_right = client.health().retained_put_right
    stranger.heard.clear()
    for topic, evil in zip(written, (b"EVIL", b"", b"EVIL", b"EVIL", b"EVIL"), strict=True):
        stranger.retain(topic, evil)
    for topic in written:
        wait_for(topic, lambda topic=topic: stranger.said_again(topic, right[topic]), within_s=SOON_S)  # type: ignore[misc]
    assert stranger.retained | right == stranger.retained, "a device that connects now gets this document"
    assert client.health().retained_put_right - put_right == len(written)
    wait_for("the finding", lambda: "retained_by_others" in client.health().findings, within_s=SOON_S)
    assert site.controller is not None
    log = site.controller.log
    assert f"{topics.trust()} was retained by somebody else (1 times): put right" in log.read_text()
    wait_for("the log", lambda: "health: retained_by_others" in log.read_text(), within_s=SOON_S)
    event = next(each for each in client.events("1") if each.type.startswith("dev.edgeward.health"))
    assert event.type == "dev.edgeward.health.failing"
    assert [found.code for found in event.data.findings] == ["retained_by_others"]
    stranger.mqtt.disconnect()


def test_two_clients_that_overwrite_each_other_publish_only_a_limited_number_of_messages(client: Client) -> None:
    """Another client overwrites each message at once: messages are limited, and the device stays healthy."""
    stranger, topic = Stranger(client), topics.desired("device-1")
    wait_for("the document", lambda: topic in stranger.retained)
    right = stranger.retained[topic]
    answers = 0

    def answer(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        nonlocal answers
        if message.topic == topic and bytes(message.payload) == right:
            answers += 1
            stranger.mqtt.publish(topic, b"EVIL", 1, retain=True)

    stranger.mqtt.on_message = answer
    stranger.retain(topic, b"EVIL")
    time.sleep(7.5)
    assert 2 <= answers <= 3, "after 0, 2 and 6 seconds"
    stranger.mqtt.on_message = stranger._message
    assert client.device("device-1").models[0].stable_release == 1
    stranger.mqtt.disconnect()


def test_messages_retained_on_a_presence_topic_are_cleared(client: Client) -> None:
    stranger, topic = Stranger(client), topics.report("device-9")
    stranger.retain(topic, b"x" * 100_000)
    wait_for("it to be cleared", lambda: stranger.retained.get(topic) == b"", within_s=SOON_S)
    assert stranger.retained[topics.presence("device-1")], "presence stays"
    assert [device.device for device in client.devices()] == ["device-1"]
    stranger.mqtt.disconnect()
