"""A broken sensor, unequal groups and rows to label, from a real device over a real broker to the client."""

from pathlib import Path

import pytest

from controller.broker.configurations import free_port
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward import HeldOut
from edgeward.demo.models import load_weather, train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker

CAPTURE = '\n[spool]\nbatch_s = 0.2\n[[capture]]\nmodel = "weather"\nrate = 0.5\nremove = ["dew_point"]\n'


@pytest.mark.timeout(240)
def test_breaches_groups_and_rows_to_label_arrive_from_a_device(tmp_path: Path) -> None:
    features, rain = load_weather()
    rows = features.assign(side=["left", "right"] * (len(features) // 2) + ["left"] * (len(features) % 2))
    rows.loc[rows.index % 5 == 0, "visibility"] = 999.0
    rows.to_csv(tmp_path / "rows.csv", index=False)
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), tmp_path / "broker")
    site = Site(tmp_path, broker=broker.url, rate_hz=50.0)
    try:
        client = site.start_controller()
        client.set_gate_policy("weather", {"fairness": {"groups": ["side"], "positive": "1"}})
        model, sample = train_first()
        held_out = HeldOut(features[5000:5400], rain[5000:5400], groups={"side": rows["side"][5000:5400]})
        client.push(model, name="weather", sample=sample, held_out=held_out)
        agent = site.prepare_agent(1)
        config = tmp_path / "device-1" / "agent.toml"
        lines = [line for line in config.read_text().splitlines() if not line.startswith(("label =", "path ="))]
        lines.insert(lines.index("[[sensor]]") + 1, f'path = "{tmp_path / "rows.csv"}"')
        config.write_text("\n".join(lines) + CAPTURE)
        agent.start()
        wait_for("the device", lambda: client.devices() or None)
        client.rollout("weather", strategy="all_at_once")
        wait_for("groups", lambda: any(len(each.groups) == 2 for each in client.fairness("weather").columns) or None)
        (breach,) = client.drift("weather").breaches
        assert (breach.what, breach.kind, list(breach.devices)) == ("visibility", "out_of_range", ["device-1"])
        assert breach.rate == pytest.approx(0.2, abs=0.1)
        told = {each.kind for each in client.signals("weather")}
        assert told >= {"estimated_quality", "contract_breach_ratio", "fairness"}
        wait_for("rows", lambda: len(client.labels_wanted("weather").rows) == 20 or None)
        wanted = client.labels_wanted("weather")
        assert all("temperature" in each.row.inputs and "dew_point" not in each.row.inputs for each in wanted.rows)
        assert client.label("weather", {each.id: "1" for each in wanted.rows}) == 20
        assert client.labels_wanted("weather").rows == ()
    finally:
        site.stop()
        broker.stop()
