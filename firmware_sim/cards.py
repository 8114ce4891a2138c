"""Faults of a device's card: restored from a backup, flashed again after a start with a wrong clock, copied.

Decides which devices they affect and when. Refuses to know laws: what was observed is noted for `checkers.identity`.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import msgspec

from contract.wire import Message
from firmware_sim.clock import stream
from firmware_sim.device import REBOOT_S, Device
from firmware_sim.network import Seconds

if TYPE_CHECKING:
    from firmware_sim.world import FleetWorld

HEARD_WITHIN_S = 60.0
"""The seconds within which the controller must accept a device with another card after its start: it connects and
sends a heartbeat."""
TOLD_WITHIN_S = 180.0
"""A second device with the same name must be reported within so many seconds: three heartbeats of a scenario, which are
60 s apart."""
DAY_S = 86_400.0

Positive = Annotated[float, msgspec.Meta(gt=0, le=1e7)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class RestoredCard(Message, frozen=True, tag_field="kind", tag="restored_card"):
    """The first devices get their own backup card back, while they run something newer."""

    taken_at_s: Seconds
    at_s: Seconds
    devices: Count = 1


class ReflashedCard(Message, frozen=True, tag_field="kind", tag="reflashed_card"):
    """The first devices start with an empty card and a clock in the future, then with another one and a right clock."""

    at_s: Seconds
    for_s: Positive
    devices: Count = 1
    ahead_days: Positive = 400.0


class ClonedIdentity(Message, frozen=True, tag_field="kind", tag="cloned_identity"):
    """Copies of the first devices run beside them for a time, with the same names."""

    at_s: Seconds
    for_s: Positive
    devices: Count = 1


CardFault = RestoredCard | ReflashedCard | ClonedIdentity


@dataclass
class Seen:
    """The controller's facts at times at which it had to have them."""

    heard: list[tuple[float, str, bool]] = field(default_factory=list)
    """(time, device, whether its newest start was accepted)."""
    told: list[tuple[float, str, bool]] = field(default_factory=list)
    """(time, device, whether a second one was reported)."""


def arrange_card_fault(world: "FleetWorld", fault: CardFault) -> list[str]:
    """Puts a fault into the world's clock. Returns the affected devices."""
    names = list(world.devices)[: fault.devices]
    match fault:
        case RestoredCard():
            for name in names:
                _restore(world, world.devices[name], fault)
        case ReflashedCard():
            for name in names:
                _flash_again(world, world.devices[name], fault)
        case ClonedIdentity():
            for name in names:
                _copy(world, name, fault)
    return names


def _restore(world: "FleetWorld", device: Device, fault: RestoredCard) -> None:
    backup: dict[str, bytes] = {}
    world.clock.at(fault.taken_at_s, lambda: backup.update(device.flash.image()))
    world.clock.at(fault.at_s, lambda: device.change_card(backup))
    _look_whether_heard(world, device, fault.at_s)


def _flash_again(world: "FleetWorld", device: Device, fault: ReflashedCard) -> None:
    def start(ahead_s: float) -> None:
        device.clock_ahead_s = ahead_s
        device.change_card({})

    world.clock.at(fault.at_s, lambda: start(fault.ahead_days * DAY_S))
    world.clock.at(fault.at_s + fault.for_s, lambda: start(0.0))
    _look_whether_heard(world, device, fault.at_s + fault.for_s)


def _copy(world: "FleetWorld", name: str, fault: ClonedIdentity) -> None:
    copy = world.new_copy(name, stream(world.seed, f"copy/{name}"))
    began = fault.at_s + REBOOT_S

    def begin() -> None:
        copy.flash.load(world.devices[name].flash.image())
        copy.boots = 1_000_000  # it counts its own starts
        copy.boot()

    def look() -> None:
        twin = world.controller.world.durable.twins[name]
        world.seen.told.append((world.clock.now, name, twin.boots.is_taken(world.clock.now)))

    world.clock.at(began, begin)
    world.clock.at(began + TOLD_WITHIN_S, look)
    world.clock.at(fault.at_s + fault.for_s, copy.switch_off)


def _look_whether_heard(world: "FleetWorld", device: Device, at_s: float) -> None:
    def look() -> None:
        current = world.controller.world.durable.twins[device.name].boots.current
        is_heard = current is not None and current.id == device.boot_id
        world.seen.heard.append((world.clock.now, device.name, is_heard))

    world.clock.at(at_s + REBOOT_S + HEARD_WITHIN_S, look)
