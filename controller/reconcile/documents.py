"""Desired documents that are due although nothing new is desired: requested, past half of their life, or not acted on.

Decides which documents are issued or published again. Generations stay, so that devices change nothing.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from controller.fleet.twin import DOCUMENT_LIFE_S, Twin
from controller.reconcile.world import World

UNHEARD_S = 300.0
"""Seconds after which a document that an online device has not acted on is published again."""


def answer_nonces(world: World, devices: Iterable[str], now: float) -> set[str]:
    """Issues documents that repeat the nonces of their devices, with a new version and date; generations stay."""
    asking = {device for device in devices if (twin := world.durable.twins[device]).asks not in ("", twin.answered)}
    for device in sorted(asking):
        twin = world.durable.twins[device]
        version = twin.next_version(now)
        world.durable.twins[device] = replace(twin, document_version=version, issued_at=int(now), answered=twin.asks)
    return asking


def reissue_documents(world: World, now: float) -> set[str]:
    """Gives documents past half of their life a new version and date; returns the devices' names."""
    stale = [
        twin
        for twin in world.durable.twins.values()
        if twin.document_version and now - twin.issued_at > DOCUMENT_LIFE_S / 2
    ]
    for twin in stale:
        issue_again(world, twin, now)
    return {twin.device for twin in stale}


def issue_reordered(world: World, now: float) -> set[str]:
    """Issues again the documents in which an operator has changed something; returns the devices' names."""
    reordered, world.caches.reordered = world.caches.reordered, set()
    known = {device for device in reordered if device in world.durable.twins}
    for device in sorted(known):
        issue_again(world, world.durable.twins[device], now)
    return known


def issue_again(world: World, twin: Twin, now: float) -> None:
    """Gives a device's document a new version and date; generations stay."""
    world.durable.twins[twin.device] = replace(twin, document_version=twin.next_version(now), issued_at=int(now))


def unheard_documents(world: World, now: float) -> set[str]:
    """Returns online devices that have not acted on their document for `UNHEARD_S` since it was published.

    Retained does not mean delivered: a broker whose queue for a device is full drops messages silently.
    """
    said_before = now - UNHEARD_S
    return {
        device
        for device in world.caches.waiting
        if world.caches.published_at.get(device, now) < said_before
        and (twin := world.durable.twins.get(device)) is not None
        and twin.presence(now, world.silent_s) == "online"
    }
