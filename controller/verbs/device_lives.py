"""What an operator can do with the life of devices: retire, put new hardware under an old name, adopt.

Decides the effect of each on certificates, labels and history. A device that is refused does not affect the others:
each has its own answer. Refuses to know HTTP, and how certificates are made.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace as changed

from contract.enrolment import Claim
from contract.errors import BadInput, Code
from contract.names import is_device_name
from contract.wire import Message
from controller.broker.messages import farewell
from controller.clock import stamp, today
from controller.fleet.selection import select
from controller.fleet.twin import Twin
from controller.fleet.unmatched import unknown_device
from controller.reconcile.world import Retired, drop_twin, put_twin
from controller.state import State
from controller.verbs import devices

MAX_DEVICES = 10_000
"""The most devices in one call: a region of a large fleet. Each costs a certificate's row and a check of its
session."""


class DeviceAnswer(Message, frozen=True):
    """The result for one device in a call about many."""

    device: str
    certificates: int = 0
    """The number of revoked certificates."""
    claim: Claim | None = None
    """A password for an hour, if the device must enrol."""
    code: str = ""
    """Why nothing was done; empty if it was done."""
    detail: str = ""


def chosen(state: State, names: Iterable[str], selector: Mapping[str, str]) -> list[str]:
    """Returns devices by name and by their labels, each once. BadInput `request_invalid` for none or too many,
    `selector_empty`: an omitted field never selects the whole fleet.
    """
    found = dict.fromkeys(names)
    if selector:
        found |= dict.fromkeys(select(state.world.durable.twins.values(), selector))
    if not 0 < len(found) <= MAX_DEVICES:
        raise BadInput(Code.REQUEST_INVALID, f"{len(found)} devices: name 1 to {MAX_DEVICES}, or a selector of labels")
    return list(found)


async def retire(state: State, names: Iterable[str], *, actor: str) -> list[DeviceAnswer]:
    """Takes devices out of the fleet: certificates and sessions end, retained documents are deleted, history stays.

    They are not counted in rollouts, and messages in their names are ignored until they are adopted again.
    """
    at = stamp()
    known, answers = _known(state, names)
    counts = await _end_trust(state, known, today())
    state.records.retire({device: Retired(at=at, by=actor) for device in known})
    for device in known:
        state.world.durable.retired[device] = Retired(at=at, by=actor)
        drop_twin(state.world, device)
        state.telemetry.drop(device)
        state.vitals.drop(device)
        state.journal.audit(at, actor, "device retire", device, f"{counts[device]} certificates")
        if state.links:
            state.links[0].retain(farewell(device))
        answers.append(DeviceAnswer(device=device, certificates=counts[device]))
    state.poke()
    return answers


async def replace(state: State, names: Iterable[str], *, actor: str) -> list[DeviceAnswer]:
    """Prepares new hardware under known names: old keys end, labels and desired versions stay; returns a claim for
    each.

    What failed on the old hardware may be offered to the new one.
    """
    known, answers = _known(state, names)
    counts = await _end_trust(state, known, today())
    for device in known:
        if (twin := state.world.durable.twins.get(device)) is not None:
            put_twin(state.world, _without_hardware(twin))
        state.records.lift_quarantine(device)
        state.world.durable.quarantine.pop(device, None)
        state.journal.forget_last_words(device)
        claim = devices.claim(state, device, actor=actor, action="device replace")
        answers.append(DeviceAnswer(device=device, certificates=counts[device], claim=claim))
    return answers


def adopt(state: State, names: Iterable[str], *, actor: str) -> list[DeviceAnswer]:
    """Adopts devices of another controller, and devices that were retired here: returns a claim for each.

    A device still serves what it served: `edgeward-agent adopt` changes only its trust.
    """
    answers = []
    for device in names:
        try:
            answers.append(DeviceAnswer(device=device, claim=_adopted(state, device, actor)))
        except BadInput as error:
            answers.append(refused(device, error))
    return answers


def _adopted(state: State, device: str, actor: str) -> Claim:
    devices.check_free(state, device, actor=actor, action="device adopt")
    if device in state.world.durable.retired:
        state.records.take_in(device)
        state.journal.forget_last_words(device)
        del state.world.durable.retired[device]
    return devices.claim(state, device, actor=actor, action="device adopt")


def _known(state: State, names: Iterable[str]) -> tuple[list[str], list[DeviceAnswer]]:
    """Returns (devices of this fleet, answers for unknown names)."""
    durable, known, left_out = state.world.durable, [], []
    for device in names:
        if device in durable.retired:
            left_out.append(refused(device, BadInput(Code.DEVICE_RETIRED, f"{device} was retired before")))
        elif device in durable.twins or (is_device_name(device) and state.credentials.enrolled(device)):
            known.append(device)
        else:
            left_out.append(refused(device, unknown_device(device, durable.twins)))
    return known, left_out


def refused(device: str, error: BadInput) -> DeviceAnswer:
    """Returns why nothing was done about a device."""
    return DeviceAnswer(device=device[:64], code=error.code, detail=error.detail)


async def _end_trust(state: State, names: list[str], now: datetime) -> dict[str, int]:
    """Revokes certificates and claims and ends sessions, with one new list for all; returns how many certificates each
    had.
    """
    counts = {device: state.credentials.revoke(device, now.timestamp()) for device in names}
    for device in names:
        state.senders.forget(device)
    broker = state.broker
    if broker is not None and broker.files is not None and any(counts.values()):
        await devices.enforce_revocations(state, now)
        for device in (device for device in names if counts[device]):
            await asyncio.to_thread(broker.files.end_session, broker.port, device, state.enrolment.authority, now)
    return counts


def _without_hardware(twin: Twin) -> Twin:
    """Returns the twin with its labels and orders, but without reports of the former hardware."""
    bare = Twin(twin.device, labels=twin.labels, own_labels=twin.own_labels, connected=False)
    return changed(
        bare,
        given_labels=twin.given_labels,
        note=twin.note,
        config=twin.config,
        pins=twin.pins,
        document_version=twin.document_version,
        issued_at=twin.issued_at,
        desired=twin.desired,
        withdrawn=twin.withdrawn,
        answered=twin.answered,
    )
