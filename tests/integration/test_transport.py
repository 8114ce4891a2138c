"""Bytes that are sent to real devices over a real broker: changes in place of whole artifacts."""

import queue
import re
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt import _packet

from agent.adapters.mqtt.paho_link import PahoLink
from agent.config import Broker
from agent.stimuli import LinkUp, MessageArrived
from benchmarks.upload import upload
from contract import topics
from contract.blobs import describe
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward.client import Client
from edgeward.demo.models import FIRST_YEAR, TRAINED_UNTIL, load_weather
from edgeward.demo.processes import Site, wait_for
from edgeward.settings import find_settings

pytestmark = pytest.mark.broker

AT_ONCE = {
    "name": "at_once",
    "waves": [{"percent": 100}],
    "trial": {"soak_s": "1", "min_samples": 10, "max_accuracy_drop": "0.5"},
}


def forests() -> tuple[Any, Any, Any]:
    """(a forest, the same forest with a few more trees, sample rows)."""
    from copy import deepcopy

    from sklearn.ensemble import RandomForestClassifier

    features, rain = load_weather()
    rows, labels = features[:FIRST_YEAR], rain[:FIRST_YEAR]
    first = RandomForestClassifier(61, min_samples_leaf=3, random_state=0, warm_start=True).fit(rows, labels)
    more = deepcopy(first).set_params(n_estimators=65).fit(rows, labels)
    return first, more, features[:TRAINED_UNTIL]


def test_a_chunk_is_received_without_pahos_search_for_properties(
    broker_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[bytes] = []
    decode = _packet.decode_publish
    monkeypatch.setattr(_packet, "decode_publish", lambda *packet: searched.append(packet[1]) or decode(*packet))
    data = b"a" * 1024 + b"b" * 1024
    blob = describe(data, 1024)
    first, second = (topics.chunk(blob.sha256, index) for index in range(2))
    broker = start_broker(BrokerConfig(url=broker_kind, port=0), tmp_path)
    heard: queue.Queue[Any] = queue.Queue()
    link = PahoLink(Broker(url=broker.url), "device-1", 1, heard.put)
    try:
        upload(broker.url, data, blob)
        searched.clear()
        link.start()
        assert heard.get(timeout=30) == LinkUp()
        link.subscribe([second], qos=0)
        assert heard.get(timeout=30) == MessageArrived(second, b"b" * 1024)
        assert searched == []
        link.subscribe([first], qos=1)
        assert heard.get(timeout=30) == MessageArrived(first, b"a" * 1024)
        assert len(searched) == 1, "with QoS 1 paho has to acknowledge it"
    finally:
        link.stop()
        broker.stop()


@pytest.mark.timeout(240)
def test_a_device_that_has_the_forest_gets_only_the_new_trees(tmp_path: Path) -> None:
    first, more, sample = forests()
    site = Site(tmp_path / "site", rate_hz=20.0)
    client = site.start_controller()
    site.start_agent(1)
    try:
        wait_for("the device", lambda: len(client.devices()) == 1, within_s=60)
        client.push(first, name="weather", sample=sample)
        assert client.rollout("weather", strategy=AT_ONCE).wait(timeout_s=90).status == "completed"
        size_bytes = client.push(more, name="weather", sample=sample).size_bytes
        handle = client.rollout("weather", strategy=AT_ONCE)
        assert handle.wait(timeout_s=90).status == "completed"
        assert releases(client) == [2]
        (agent,) = site.agents.values()
        said = re.findall(r"unpacked: (\d+) bytes were sent for (\d+)", agent.log.read_text())
        assert [int(total) for _, total in said][-1] == size_bytes
        assert int(said[-1][0]) < 0.1 * size_bytes
    finally:
        site.stop()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("source", ["stick", "api"])
def test_a_real_device_fetches_blobs_from_a_stick_or_from_the_api(tmp_path: Path, source: str) -> None:
    first, _, sample = forests()
    site = Site(tmp_path / "site", rate_hz=20.0)
    client = site.start_controller()
    client.push(first, name="weather", sample=sample)
    stick = tmp_path / "stick"
    wait_for("the encoding", lambda: client.version("weather", 1).deliveries or None)
    client.export("weather", 1, stick)
    assert len(list(stick.iterdir())) == 6, "artifact, golden set, encoded artifact, each with its list"
    address = find_settings(environment={"EDGEWARD_DATA_DIR": str(site.data_dir)}).url
    api = f"{address}/v1/blobs/{{sha256}}"
    site.agent_tables = f'\n[transfer]\nsources = ["{stick.as_uri() if source == "stick" else api}"]\n'
    agent = site.start_agent(1)
    try:
        wait_for("the device", lambda: len(client.devices()) == 1, within_s=60)
        assert client.rollout("weather", strategy=AT_ONCE).wait(timeout_s=90).status == "completed"
        assert releases(client) == [1]
        assert "source" not in agent.log.read_text(), "nothing failed, so the broker was not asked"
    finally:
        site.stop()


@pytest.mark.timeout(240)
def test_a_real_device_fetches_a_version_from_its_neighbour(tmp_path: Path) -> None:
    first, _, sample = forests()
    site = Site(tmp_path / "site", rate_hz=20.0, controller_tables='[publish]\nneighbours = "site"\n')
    client = site.start_controller()
    client.push(first, name="weather", sample=sample)
    agents = []
    for number, port in ((1, 18472), (3, 18473)):
        site.agent_tables = f'\n[transfer]\nserve_at = "127.0.0.1:{port}"\n'
        agents.append(site.start_agent(number))
    try:
        wait_for("the devices", lambda: len(client.devices()) == 2, within_s=60)
        one_by_one = {**AT_ONCE, "waves": [{"devices": ["device-1"]}, {"percent": 100}]}
        assert client.rollout("weather", strategy=one_by_one).wait(timeout_s=90).status == "completed"
        assert releases(client) == [1, 1]
        digest = client.version("weather", 1).digest
        giver, taker = (agent.log.read_text() for agent in agents)
        assert f"neighbour 127.0.0.1 has taken the end of {digest[:12]}" in giver
        assert "source" not in taker, "nothing failed, so the broker was not asked"
    finally:
        site.stop()


def releases(client: Client) -> list[int]:
    models = [device.models[0] for device in client.devices() if device.models]
    return sorted(model.stable_release or 0 for model in models)
