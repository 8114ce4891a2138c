"""Devices to which versions are not offered again because they failed there.

Decides how such a version is named, and which devices have a code. Refuses to know how a quarantine begins and
ends.
"""

from controller.reconcile.world import Durable
from controller.rollout.model import Rollout


def version_named(digest: str, rollout: Rollout | None) -> str:
    """Names a version by its number if its rollout is known, else by the beginning of its digest."""
    if rollout is None or not rollout.carries(digest):
        return f"version {digest[:12]}"
    return f"{rollout.model} v{rollout.release}"


def quarantined_on(durable: Durable, device: str) -> tuple[str, ...]:
    """The versions that are quarantined on a device, sorted."""
    held = durable.quarantine.get(device, {})
    return tuple(sorted({version_named(digest, durable.rollouts.get(name)) for digest, name in held.items()}))


def quarantined_devices(durable: Durable) -> frozenset[str]:
    """Every device on which a version is quarantined."""
    return frozenset(device for device, held in durable.quarantine.items() if held)


def quarantined_for(durable: Durable, code: str) -> frozenset[str]:
    """The devices on which a version is quarantined because it failed there with a code."""
    return frozenset(
        device
        for device, held in durable.quarantine.items()
        if any(
            (ending := durable.endings.get(rollout, {}).get(device)) is not None and ending.code == code
            for rollout in held.values()
        )
    )
