"""What of the world is durable, and the world as it is rebuilt from that: the same for the service and the simulator.

Decides what a controller that starts again must find. Refuses to know when it is written.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from contract.desired import Delivery
from contract.messages import Heartbeat
from contract.wire import decode
from controller.fleet.twin import Assigned, Twin, fold_heartbeat
from controller.reconcile.world import World
from controller.registry.store import Store
from controller.rollout.model import Rollout


def save_devices(store: Store, twins: Iterable[Twin]) -> None:
    """Make the desired side of these twins durable, in one step."""
    store.put("devices", {twin.device: _desired_side(twin) for twin in twins})


def save_rollouts(store: Store, rollouts: Iterable[Rollout]) -> None:
    """Make these rollouts durable, in one step."""
    store.put("rollouts", {rollout.id: msgspec.to_builtins(rollout) for rollout in rollouts})


def save_quarantine(store: Store, quarantine: Mapping[str, Mapping[str, str]], devices: Iterable[str]) -> None:
    """Make durable which versions are kept from these devices, in one step."""
    store.put("quarantine", {device: {"digests": dict(quarantine.get(device, {}))} for device in devices})


def save_delivery(store: Store, artifact: str, base: str, delivery: Delivery | None) -> None:
    """Make durable in how few bytes an artifact comes; None where encoding it saves too little."""
    store.put("deliveries", {f"{artifact}/{base}": {"delivery": msgspec.to_builtins(delivery)}})


def remember(store: Store, last_words: Mapping[str, bytes], silent_s: float) -> World:
    """The world of a controller that starts: desired from the store, reported from each device's last heartbeat."""
    world = World(silent_s=silent_s)
    for device, body in last_words.items():
        twin = fold_heartbeat(Twin(device), decode(body, Heartbeat), 0.0)
        world.twins[device] = replace(twin, connected=None, seen_at=None)
    for device, doc in store.all("devices").items():
        twin = world.twins.get(device) or Twin(device)
        desired = {model: msgspec.convert(assigned, Assigned) for model, assigned in doc["desired"].items()}
        version, issued_at, answered = doc["document_version"], doc["issued_at"], doc["answered"]
        world.twins[device] = replace(
            twin, document_version=version, issued_at=issued_at, desired=desired, answered=answered
        )
    for name, doc in store.all("rollouts").items():
        world.rollouts[name] = msgspec.convert(doc, Rollout)
    for key, doc in store.all("deliveries").items():
        artifact, _, base = key.partition("/")
        if doc["delivery"] is not None:
            delivery = msgspec.convert(doc["delivery"], Delivery)
            world.deliveries.setdefault(artifact, {})[base] = delivery
    for device, doc in store.all("quarantine").items():
        world.quarantine[device] = dict(doc["digests"])
    world.joining = set(world.twins)
    return world


def _desired_side(twin: Twin) -> dict[str, object]:
    return {
        "document_version": twin.document_version,
        "issued_at": twin.issued_at,
        "desired": msgspec.to_builtins(twin.desired),
        "answered": twin.answered,
    }
