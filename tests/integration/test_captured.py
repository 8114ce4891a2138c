"""Captured rows on real processes: after a kill and an offline controller each row arrives exactly once."""

from pathlib import Path

import pytest

from controller.broker.configurations import free_port
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward.demo.models import train_first
from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker

CAPTURE = '\n[spool]\nbatch_s = 0.2\n[[capture]]\nmodel = "weather"\nrate = 0.2\nremove = ["dew_point", "x1"]\n'


@pytest.mark.timeout(120)
def test_captured_rows_survive_kill_9_and_reach_the_controller_once(tmp_path: Path) -> None:
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), tmp_path / "broker")
    site = Site(tmp_path, broker=broker.url, rate_hz=50.0)
    try:
        client = site.start_controller()
        agent = site.prepare_agent(1)
        config = tmp_path / "device-1" / "agent.toml"
        config.write_text(config.read_text() + CAPTURE)
        agent.start()
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        wait_for("the device", lambda: client.devices() or None)
        client.rollout("weather", strategy="all_at_once")
        wait_for("captured rows", lambda: len(client.captured("weather")) > 20)
        assert site.controller is not None
        site.controller.kill()
        (site.data_dir / "controller.json").unlink()
        spool = tmp_path / "device-1" / "state" / "captured"
        wait_for("batches on flash", lambda: len(list(spool.glob("captured-*"))) >= 5)
        agent.kill()
        waiting = len(list(spool.glob("captured-*")))
        client = site.start_controller()
        before = len(client.captured("weather"))
        agent.start()
        wait_for("what waited", lambda: len(client.captured("weather")) >= before + waiting)
        rows = client.captured("weather").to_frame()
        assert not rows.duplicated(subset=["_answer"]).any()
        assert set(rows["_device"]) == {"device-1"}
        assert set(rows["_why"]) == {"sampled"}
        assert "temperature" in rows
        assert "dew_point" not in rows
    finally:
        site.stop()
        broker.stop()
