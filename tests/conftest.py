"""Fixtures that several rooms share."""

import pytest
from hypothesis import settings

from controller.broker import find_mosquitto

settings.register_profile(
    "edgeward", deadline=None, derandomize=True
)  # the same examples on every machine, slow or not
settings.load_profile("edgeward")


@pytest.fixture(params=["embedded", "mosquitto"])
def broker_kind(request: pytest.FixtureRequest) -> str:
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("no mosquitto on this machine: apt-get install mosquitto (CI does)")
    return str(request.param)
