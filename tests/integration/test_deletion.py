"""Rows are deleted at a real controller, in data sets and on five devices, and three trained models are named."""

from pathlib import Path

import pytest

import edgeward
from controller.broker.configurations import free_port
from controller.broker.process import start_broker
from controller.config import BrokerConfig
from edgeward.client import Client
from edgeward.demo.models import train_first
from edgeward.demo.processes import Site, wait_for
from edgeward.runs.deleted import forget_rows
from edgeward.runs.store import RunStore

pytestmark = [pytest.mark.broker, pytest.mark.soak]

CAPTURE = '\n[spool]\nbatch_s = 0.2\n[[capture]]\nmodel = "weather"\nrate = 0.2\n'
AGENTS = 5
MODELS = ("rain", "frost", "storm")


def rows_on_flash(directory: Path) -> int:
    return sum(each.read_bytes().count(b'"why"') for each in directory.glob("device-*/state/captured/captured-*"))


@pytest.mark.timeout(180)
def test_a_deletion_reaches_the_controller_data_sets_and_devices_that_were_offline(tmp_path: Path) -> None:
    broker = start_broker(BrokerConfig(url="auto", port=free_port()), tmp_path / "broker")
    site = Site(tmp_path, broker=broker.url, rate_hz=20.0, agent_tables=CAPTURE)
    try:
        client = site.start_controller()
        for number in range(1, AGENTS + 1):
            site.start_agent(number)
        model, sample = train_first()
        client.push(model, name="weather", sample=sample)
        wait_for("the devices", lambda: len(client.devices()) == AGENTS)
        client.rollout("weather", strategy="all_at_once")
        wait_for("captured rows", lambda: len({row.device for row in client.captured("weather")}) == AGENTS)
        three_models(client, tmp_path)
        assert site.controller is not None
        site.controller.kill()
        (site.data_dir / "controller.json").unlink()
        wait_for("rows on flash", lambda: rows_on_flash(tmp_path) > 20)
        site.agents["device-5"].kill()
        client = site.start_controller()
        asked = client.delete_rows("a person asked", devices=[f"device-{n}" for n in range(1, AGENTS + 1)], since=1)
        assert asked.captured_rows > 0
        assert {each.model for each in asked.trained} == set(MODELS)
        assert client.deletion(asked.id).devices["device-5"] is None
        kept_by_runs = forget_rows(RunStore(tmp_path / "runs"), frozenset(asked.data_sets))
        assert len(kept_by_runs) == len(MODELS)
        site.agents["device-5"].start()
        done = wait_for("the end", lambda: found if (found := client.deletion(asked.id)).done_at else None)
        print(f"deleted on {AGENTS} agents, of {len(MODELS)} models' rows, in {done.took_s} s")
        assert done.devices["device-5"] is not None
        assert done.devices["device-5"] > 0
        entry = next(each for each in client.audit_entries(action="rows deleted"))
        assert entry.subject == asked.id
        assert "frost v1, rain v1, storm v1" in entry.detail
        assert not [each for each in client.captured("weather") if each.row.at < done.asked_at.timestamp()]
        assert client.data_sets()[0].sha256 == ""
    finally:
        site.stop()
        broker.stop()


def three_models(client: Client, directory: Path) -> None:
    """Three models that name a data set of captured rows in their lineage, by their runs."""
    assert client.make_data_set("rows", "weather").new
    rows = client.data_rows("rows@1")
    model, sample = train_first()
    for name in MODELS:
        with edgeward.run(name, directory=directory / "runs") as run:
            run.log_data(rows[rows["_release"] == 1], "train")
            pushed = client.push(model, name=name, sample=sample[:500])
        lineage = client.version(name, pushed.release).lineage
        assert (lineage.run, lineage.data_sets) == (run.id, ("rows@1",))
