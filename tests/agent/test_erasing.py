"""Captured rows are deleted from a device's queue and flash by order, once, and after a refusal of the disk again."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from agent.uplink.captures import Captures
from agent.uplink.erasing import Erasing
from contract.captured import Captured, CapturedRow
from contract.erasure import Erasure
from contract.errors import WorldError
from contract.wire import decode
from firmware_sim.flash import Flash
from firmware_sim.power import Power, PowerCut
from firmware_sim.power import at as cut_at
from tests.agent.test_capture import Device, row

OF_ADA = Erasure(id="del-1", keys=("ada",))


def rows(device: Device) -> list[list[str]]:
    """Keys of the rows of each batch on flash."""
    found = [device.spool.read(name) for name in device.spool.names()]
    return [[each.key for each in decode(body, Captured).rows] for body in found if body is not None]


def of(key: str, at: int = 1) -> CapturedRow:
    return replace(row(at), key=key)


def device_with(flash: Flash, *batches: tuple[str, ...]) -> Device:
    device = Device(flash)
    for number, keys in enumerate(batches):
        device.queue.extend(map(of, keys))
        device.tick(number * 10.0, online=False)
    return device


def test_named_rows_are_deleted_from_queue_and_flash_and_the_others_keep_their_order() -> None:
    device = device_with(Flash(Random(1)), ("ada", "bob"), ("ada",), ("eve",))
    device.queue.extend([of("ada"), of("bob")])
    erasing = Erasing(device.captures)
    assert erasing.take((OF_ADA,))
    assert erasing.done == {"del-1": 3}
    assert rows(device) == [["bob"], ["eve"]]
    assert [each.key for each in device.queue] == ["bob"]


def test_a_repeated_order_is_executed_once_and_forgotten_with_its_document() -> None:
    device = device_with(Flash(Random(1)), ("ada",))
    erasing = Erasing(device.captures)
    assert erasing.take((OF_ADA,))
    device.queue.append(of("ada"))
    assert not erasing.take((OF_ADA,))
    assert (erasing.done, len(device.queue)) == ({"del-1": 1}, 1)
    erasing.take(())
    assert erasing.done == {}


def test_an_order_stays_open_while_the_disk_refuses_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_with(Flash(Random(1)), ("ada", "bob"))
    erasing = Erasing(device.captures)
    erase = Captures.erase

    def refuses(*_: Any) -> None:
        raise WorldError("disk_full", "no space")  # type: ignore[arg-type]

    monkeypatch.setattr(Captures, "erase", refuses)
    assert not erasing.take((OF_ADA,))
    assert erasing.done == {}
    monkeypatch.setattr(Captures, "erase", erase)
    assert erasing.try_again()
    assert (erasing.done, rows(device)) == ({"del-1": 1}, [["bob"]])


def test_a_device_that_captures_nothing_reports_the_order_as_done() -> None:
    erasing = Erasing(None)
    assert erasing.take((OF_ADA,))
    assert erasing.done == {"del-1": 0}


def test_a_power_cut_at_every_operation_loses_no_other_row_and_the_next_start_finishes_the_order() -> None:
    cuts = 0
    for at in range(1, 200):
        flash = Flash(Random(at))
        device_with(flash, ("ada", "bob"), ("ada",), ("ada", "eve"))
        flash.power = Power(cut_at(at))
        try:
            Erasing(Device(flash).captures).take((OF_ADA,))
        except PowerCut:
            cuts += 1
        else:
            break
        flash.lose_power()
        again = Device(flash, 2)
        Erasing(again.captures).take((OF_ADA,))
        assert rows(again) == [["bob"], ["eve"]]
    assert cuts > 5


@pytest.mark.parametrize(
    ("order", "matches"),
    [
        ({"keys": ("ada",)}, True),
        ({"keys": ("bob",)}, False),
        ({"answers": ("7.1",)}, True),
        ({"keys": ("ada",), "answers": ("8",)}, False),
        ({"model": "n", "keys": ("ada",)}, False),
        ({"since": 10, "before": 11}, True),
        ({"since": 11}, False),
        ({"before": 10}, False),
    ],
)
def test_a_row_is_deleted_only_if_it_matches_every_part_of_an_order(order: dict[str, Any], matches: bool) -> None:
    wanted = replace(row(10), key="ada", id="7.1")
    assert Erasure(id="x", **order).matches(wanted) is matches
