"""Late labels on real processes: a controller, a device whose rows have no label, and labels by the id of answers."""

import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from contract.errors import BadInput
from controller.broker.configurations import free_port
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward.demo.models import train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker

TABLES = """
[sensor.sink]
kind = "file"
path = "answers.jsonl"
[serving]
listen = "127.0.0.1:{port}"
[feedback]
labels_topic = "line-7/labels"
metrics_topic = "line-7/metrics"
[spool]
batch_s = 0.3
[[capture]]
model = "weather"
rate = 1.0
"""


def post(url: str, body: Any) -> int:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def answers_at(url: str) -> bool | None:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200 or None
    except OSError:
        return None


def by_name(number: str, label: str, on_missing: str) -> dict[str, Any]:
    """A strategy that judges an application's number and a class."""
    rules = [
        {"metric": "metric_increase", "name": number, "threshold": 0.1, "on_missing": on_missing},
        {"metric": "class_share", "name": label, "threshold": 0.05, "on_missing": on_missing},
    ]
    return {"name": "by_name", "waves": [{"percent": 100}], "rules": rules}


def publisher(url: str) -> mqtt.Client:
    found = re.match(r"mqtt://(?:([^:]*):([^@]*)@)?([^:]+):(\d+)", url)
    assert found is not None
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    if found[1]:
        client.username_pw_set(found[1], found[2])
    client.connect(found[3], int(found[4]))
    client.loop_start()
    return client


@pytest.mark.timeout(120)
def test_labels_by_http_and_mqtt_and_application_metrics_reach_the_controller_for_their_release(
    tmp_path: Path,
) -> None:
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), tmp_path / "broker")
    site, port = Site(tmp_path, broker=broker.url, rate_hz=20.0), free_port()
    labeller = publisher(broker.url)
    try:
        client = site.start_controller()
        agent = site.prepare_agent(1)
        config = tmp_path / "device-1" / "agent.toml"
        text = re.sub(r'\nlabel = ".*"', "", config.read_text())
        config.write_text(text + TABLES.format(port=port))
        agent.start()
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        wait_for("the device", lambda: client.devices() or None)
        client.rollout("weather", strategy="all_at_once")
        answers = tmp_path / "device-1" / "answers.jsonl"

        def lines() -> list[Any]:
            return [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []

        wait_for("answers", lambda: len(lines()) >= 40)
        found = lines()[:40]
        time.sleep(1.5)  # their interval has been told: the labels are late
        feedback = f"http://127.0.0.1:{port}/v2/models/weather/feedback"
        for answer in found[:20]:
            assert post(feedback, {"id": answer["id"], "label": answer["value"]}) == 200
        assert post(feedback, {"id": found[0]["id"], "label": 0}) == 409
        assert post(feedback, {"id": found[39]["id"], "label": "neither"}) == 400
        for answer in found[20:]:
            other = json.dumps({"id": answer["id"], "label": "0" if str(answer["value"]) == "1" else "1"})
            labeller.publish("line-7/labels", other, qos=1).wait_for_publish(10)
            number = json.dumps({"model": "weather", "name": "scrap_rate", "value": 0.25, "id": answer["id"]})
            labeller.publish("line-7/metrics", number, qos=1).wait_for_publish(10)

        def measured() -> Any:
            (of_device,) = client.device("device-1").models[0].measured
            return of_device if of_device.labelled >= 40 and of_device.metrics else None

        told = wait_for("the labels", measured)
        assert (told.release, told.labelled, told.accuracy, told.labels_unknown) == (1, 40, 0.5, 1)

        def labelled() -> Any:
            rows = client.captured("weather").to_frame()
            given = rows[rows["_label"].notna()].set_index("_answer")
            return [given] if len(given) >= 40 else None

        (rows,) = wait_for("the labels of captured rows", labelled)
        right = [str(rows["_label"][each["id"]]) == str(each["value"]) for each in found]
        assert right == [True] * 20 + [False] * 20
        assert isinstance(rows["temperature"].iloc[0], float), "a sensor that reads CSV gives the signature's types"
        shown = client.version("weather", 1).measured
        assert shown.metrics["scrap_rate"].count == 20
        assert shown.metrics["scrap_rate"].mean == 0.25
        assert sum(shown.predictions.values()) >= 40
        label = max(shown.predictions, key=lambda name: shown.predictions[name])
        said = client.plan("weather", strategy=by_name("scrap_rate", label, "skip")).power
        assert said[0].startswith("metric_increase scrap_rate: ")
        assert said[1].startswith(f"class_share {label}: ")
        with pytest.raises(BadInput, match=r"nothing to compare with"):  # its only device is in the first wave
            client.plan("weather", strategy=by_name("scrap_rate", label, "wait"))
        with pytest.raises(BadInput, match=r"scarp_rate .* known are scrap_rate"):
            client.plan("weather", strategy=by_name("scarp_rate", label, "wait"))
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
        assert 'edgeward_labels_total{model_name="weather",result="counted"} 40\n' in page
        assert 'edgeward_application_metric_count{model_name="weather",name="scrap_rate"} 20\n' in page
        assert 'edgeward_sensor_up{sensor="replay-1",model_name="weather"} 1\n' in page
        assert 'edgeward_sink_up{sink="file-1"} 1\n' in page
        assert "edgeward_link_up 1\n" in page
        assert re.search(
            r'edgeward_model_serving{model_name="weather",model_version="1",role="(stable|trial)"} 1\n', page
        )
        killed_with = lines()
        agent.kill()
        agent.start()
        health = f"http://127.0.0.1:{port}/v2/models/weather/ready"
        wait_for("the agent after the kill", lambda: answers_at(health))
        assert post(feedback, {"id": found[0]["id"], "label": 0}) == 409, "its label was counted before the kill"
        for answer in killed_with[40:50]:
            assert post(feedback, {"id": answer["id"], "label": answer["value"]}) == 200
            assert post(feedback, {"id": answer["id"], "label": answer["value"]}) == 409

        def measured_again() -> Any:
            of_device = client.device("device-1").models[0].measured
            return next((each for each in of_device if each.labelled >= 50), None)

        assert wait_for("labels after the kill", measured_again).release == 1
    finally:
        labeller.loop_stop()
        labeller.disconnect()
        site.stop()
        broker.stop()
