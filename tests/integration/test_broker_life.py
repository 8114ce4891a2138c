"""A broker that a controller has started ends with the controller, in whatever way the controller ends."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from edgeward.demo.processes import Site, wait_for

pytestmark = pytest.mark.broker


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_broker_never_outlives_its_controller(broker_kind: str, end: str, tmp_path: Path) -> None:
    site = Site(tmp_path, broker=broker_kind)
    client = site.start_controller()
    assert site.controller is not None
    assert site.controller.child is not None
    (broker,) = psutil.Process(site.controller.child.pid).children()
    try:
        port = urlsplit(client.health().broker.split()[-1]).port
        assert port is not None
        assert is_listening(port)
        getattr(site.controller, end)()
        wait_for("the broker's end", lambda: not broker.is_running() or broker.status() == psutil.STATUS_ZOMBIE)
        wait_for("the port to be free", lambda: not is_listening(port))  # the last of its threads may end later
    finally:
        site.stop()
        if broker.is_running():
            broker.kill()
