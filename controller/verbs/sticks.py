"""The documents and blobs that a stick carries to devices without a broker, and the messages that it brings back.

Decides which documents and blobs a device needs. Refuses to know how a stick is written.
"""

from collections.abc import Iterable

from contract.blobs import Blob
from contract.errors import BadInput, Code
from contract.stick import StickMessages
from controller.broker.messages import blobs_in_use
from controller.clock import stamp
from controller.state import State


def export(state: State, devices: Iterable[str]) -> tuple[dict[str, str], list[Blob], list[str]]:
    """Returns what a stick for these devices holds: documents by topic, blobs that they name, devices with a document.

    BadInput `unknown_device` for a device that has never reported.
    """
    twins = state.world.durable.twins
    named = list(devices)
    if unknown := [device for device in named if device not in twins]:
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {unknown[0][:64]!r} has reported")
    chosen = {device: twins[device] for device in named if twins[device].document_version}
    models = {model for twin in chosen.values() for model in twin.desired}
    retained = [*state.publisher.trust(models), *map(state.publisher.desired, chosen.values())]
    documents = {message.topic: message.payload.decode() for message in retained}
    return documents, list(blobs_in_use(chosen, state.publisher).values()), sorted(chosen)


def take_messages(state: State, stick: StickMessages, *, actor: str) -> int:
    """Puts the messages on a stick into the inbox, like messages from the broker; returns how many were authentic."""
    taken = sum(state.inbox.put(each.topic, each.text.encode()) for each in stick.messages)
    state.journal.audit(stamp(), actor, "stick import", f"{taken} of {len(stick.messages)} messages")
    return taken
