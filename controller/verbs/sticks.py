"""The documents and blobs that a stick carries to devices without a broker, and the messages that it brings back.

Decides which documents and blobs a device needs. A fault affects only the device that it concerns. Refuses to know how
a stick is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from contract.blobs import Blob
from contract.errors import BadInput, Code
from contract.stick import StickMessages
from contract.topics import UP_PRESENCE, parse_up
from controller.broker.messages import blobs_in_use
from controller.clock import stamp
from controller.state import State


@dataclass(frozen=True, slots=True)
class Export:
    """The content of a stick, and the missing parts."""

    documents: Mapping[str, str]
    """The documents by topic."""
    blobs: Sequence[Blob]
    """The blobs that the documents name."""
    devices: Sequence[str]
    """Devices for which the stick holds a document."""
    missing: Mapping[str, str]
    """The reason why a device's document could not be made, by device."""


def export(state: State, devices: Iterable[str]) -> Export:
    """Collects documents and blobs for these devices. If one cannot be made for a device, it is omitted and named.

    BadInput `unknown_device` for a device that has never reported.
    """
    twins = state.world.durable.twins
    named = list(devices)
    if unknown := [device for device in named if device not in twins]:
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {unknown[0][:64]!r} has reported")
    chosen = {device: twins[device] for device in named if twins[device].document_version}
    made, missing = [], {}
    for device, twin in sorted(chosen.items()):
        try:
            made.append(state.publisher.desired(twin))
        except BadInput as error:
            missing[device] = str(error)
    found = {device: twin for device, twin in chosen.items() if device not in missing}
    models = {model for twin in found.values() for model in twin.desired}
    documents = {each.topic: each.payload.decode() for each in (*state.publisher.trust(models), *made)}
    return Export(documents, list(blobs_in_use(found, state.publisher).values()), sorted(found), missing)


def take_messages(state: State, stick: StickMessages, *, actor: str) -> int:
    """Puts the messages on a stick into the inbox, like messages from the broker; returns how many were authentic.

    Presence has no effect, though agents write it, because it has no signature, and a file says nothing about a
    connection.
    """
    taken = sum(_is_presence(each.topic) or state.inbox.put(each.topic, each.text.encode()) for each in stick.messages)
    state.journal.audit(stamp(), actor, "stick import", f"{taken} of {len(stick.messages)} messages")
    return taken


def _is_presence(topic: str) -> bool:
    return (parse_up(topic) or ("", ""))[1] == UP_PRESENCE
