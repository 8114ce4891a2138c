"""Power cuts at every operation on flash while remote configurations are tried: the good one is in force at the end."""

from collections.abc import Callable

import pytest

from agent.core.remote_config import TRIAL_S, ConfigRecord
from agent.tuner import Tuner
from contract.remote_config import RemoteConfig
from firmware_sim.solo import Solo
from tests.agent.test_remote_config import V5, V6, solo, try_out


def operations(run: Callable[[Solo], object]) -> range:
    calm = solo()
    first = calm.flash.power.operations + 1
    run(calm)
    return range(first, calm.flash.power.operations + 1)


def good_then_bad(device: Solo) -> ConfigRecord:
    device.device.tuned.breaks_on = frozenset({6})
    try_out(device, V5, 6 * TRIAL_S)
    return try_out(device, V6, 6 * TRIAL_S)


def cut_everywhere() -> list[str]:
    """Returns the faults after a power cut at each operation on flash of a good and a bad configuration."""
    broken = []
    for cut in operations(good_then_bad):
        device = solo(cut)
        record = good_then_bad(device)
        if (record.confirmed, record.trial, record.refused) != (V5, None, 6):
            broken.append(f"cut {cut}: {record.state}")
        if not all(durable for _, durable in device.device.tuned.applied):
            broken.append(f"cut {cut}: applied before it was durable")
        if device.device.tuned.applied[-1][0] != 5:
            broken.append(f"cut {cut}: {device.device.tuned.applied[-1]} counts in the end")
    return broken


def test_after_a_power_cut_at_any_operation_the_good_configuration_is_confirmed_and_the_bad_one_rolled_back() -> None:
    assert len(operations(good_then_bad)) >= 10
    assert cut_everywhere() == []


def test_applying_a_configuration_before_it_is_durable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Tuner.desired

    def hasty(self: Tuner, wanted: RemoteConfig, now: float) -> None:
        self._apply(wanted)
        original(self, wanted, now)

    monkeypatch.setattr(Tuner, "desired", hasty)
    device = solo()
    good_then_bad(device)
    assert not all(durable for _, durable in device.device.tuned.applied)
