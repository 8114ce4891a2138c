"""Fixtures that several rooms share, one thread for each library that would take all processors, files in memory."""

import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from controller.broker.process import find_mosquitto
from tests.in_memory import go_there

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
"""Threads of OpenMP spin while they wait for each other, and workers share the processors: test_compact_trees took
62 s of them in place of 18 s. Conversion children inherit these variables."""

os.environ["TZ"] = "UTC"  # commands show times in the zone of the machine
time.tzset()

WRITTEN = go_there()
"""The directory of this run in memory: None in a worker, which inherits it, and where all stays on the disk."""

settings.register_profile(
    "edgeward", deadline=None, derandomize=True
)  # the same examples on every machine, slow or not
settings.load_profile("edgeward")


def pytest_sessionfinish(exitstatus: int) -> None:
    """Frees the memory; files of failed tests are kept until the next run."""
    if WRITTEN is not None and exitstatus == 0:
        shutil.rmtree(WRITTEN, ignore_errors=True)


@pytest.fixture(params=["embedded", "mosquitto"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("no mosquitto on this machine: apt-get install mosquitto (CI does)")
    return str(request.param)


SPREAD_OVER = 0.85
"""The fraction of all other tests among which those that wait are spread: none of them is left to the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distributes tests that wait for real processes among those that compute.

    One after the other, the first left half of the processors idle for six minutes, and the others took five.
    """
    waiting = [item for item in items if {"slow", "broker"} & {mark.name for mark in item.iter_markers()}]
    chosen = set(waiting)
    others = [item for item in items if item not in chosen]
    others.sort(key=lambda item: "firmware_sim" not in item.path.parts)  # the longest of them
    between = math.ceil(SPREAD_OVER * len(others) / max(len(waiting), 1))
    items[:] = []
    for number, item in enumerate(waiting):
        items += [item, *others[number * between : (number + 1) * between]]
    items += others[len(waiting) * between :]


ONE_WORKER = {
    "tests/agent/test_machine_laws.py",  # one search
    "tests/controller/test_one_conversion.py",
    "tests/controller/test_warm_starter.py",  # one starter for the tests that leave it alive
    "tests/integration/test_broker_access.py",  # one broker
    "tests/edgeward/test_mistakes.py",  # one controller
    "tests/integration/test_bucket.py",  # one environment with a store
    "tests/integration/test_real_onnx.py",  # one download of models
    "tests/integration/test_page.py",  # one controller with a fleet, and one browser
    "tests/integration/test_rollout_page.py",
    "tests/integration/test_watch_page.py",
    "tests/integration/test_page_accessibility.py",
    "tests/integration/test_page_pinning.py",
    "tests/integration/test_page_trainings.py",
}
"""Files whose tests share costly objects: one worker runs them all. pytest 9.2 ignores the marks xdist_group of
pytest-xdist 3.8, which sets an attribute that is no longer read: each worker made its own."""


class FilesInOnePiece(LoadScopeScheduling):
    """Sends each file of ONE_WORKER as a whole to one worker, and all other tests one by one."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return path if path in ONE_WORKER else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesInOnePiece | None:
    return FilesInOnePiece(config, log) if config.getvalue("dist") == "loadgroup" else None


MAX_OPEN_FILES = 300
"""paho waits by select(), which cannot use file numbers above 1023: tests that leave files open break later tests."""


@pytest.fixture(autouse=True)
def few_open_files() -> Iterator[None]:
    """Fails the test that exceeds the limit of open files."""
    yield
    listing = Path("/proc/self/fd")
    assert not listing.exists() or len(list(listing.iterdir())) < MAX_OPEN_FILES, "close what this test file opens"
