"""The dashboard for Grafana and the rules for Prometheus: each query gives figures from a real scrape."""

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import TestServer

from controller.api.app import make_app
from controller.api.metrics import FAMILIES as OF_CONTROLLER
from controller.config import Config, StorageConfig
from controller.events.attempts import Fare
from controller.state import State, open_state
from tests.controller.test_metrics import hear
from tests.integration.test_prometheus import Device, prometheus, pytestmark, scraped

__all__ = ["pytestmark"]
CONFIGS = Path(__file__).parents[2] / "configs"
RULES = CONFIGS / "prometheus" / "alerts.yml"
DASHBOARD: dict[str, Any] = json.loads((CONFIGS / "grafana" / "edgeward.json").read_text())
QUERIES = {
    f"{panel['title']}: {each['expr']}": each["expr"] for panel in DASHBOARD["panels"] for each in panel["targets"]
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "controller"))))
    hear(made, 0, 10)
    made.event_fares = [Fare("hook", "webhook", sent=3, refused=1)]
    yield made
    made.close()


def expressions() -> dict[str, str]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def measured(expression: str) -> str:
    """Returns the expression without its comparisons: the compared series must exist even if nothing is wrong."""
    first = expression.partition(" and ")[0].replace('reason="failed"', 'reason="refused"')  # the device has no other
    return re.sub(r"\s(==|>|<)\s[\d. *]+$", "", first)


def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(expressions())} rules found" in done.stdout


def test_every_query_of_dashboard_and_rules_gives_figures_from_a_real_scrape(state: State, tmp_path: Path) -> None:
    wanted = {**QUERIES, **{name: measured(each) for name, each in expressions().items()}}

    async def run() -> dict[str, float | None]:
        device, server = Device(), TestServer(make_app(state, "edg_test"))
        served = device.served()
        await server.start_server()
        targets = {"device": f"127.0.0.1:{served.port}", "edgeward": f"127.0.0.1:{server.port}"}
        try:
            with prometheus(tmp_path, targets) as address:
                return {name: await scraped(address, query) for name, query in wanted.items()}
        finally:
            await server.close()
            served.stop()

    assert [name for name, value in asyncio.run(run()).items() if value is None] == []


def test_no_panels_of_the_dashboard_overlap_and_all_its_metrics_exist() -> None:
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for query in (*QUERIES.values(), *expressions().values()):
        for name in re.findall(r"edgeward_controller_\w+", query):
            assert name in OF_CONTROLLER or name.removesuffix("_sum").removesuffix("_count") in OF_CONTROLLER, name
