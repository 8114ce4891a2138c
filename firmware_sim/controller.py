"""The real reconcile and publisher over a store that survives kills, in virtual time: the service without sockets.

Decides nothing about rollouts. Refuses to know what devices are.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from contract import topics
from contract.errors import EdgewardError
from contract.messages import Heartbeat, Presence, Report, Telemetry
from contract.wire import decode, encode
from controller.broker.messages import Publisher, Retained, blobs_in_use, sentinel
from controller.gates.verdict import GateVerdict
from controller.reconcile.durable import remember, save_devices, save_quarantine, save_rollouts
from controller.reconcile.world import FromDevice, World, reconcile
from controller.registry.registry import Lineage, Registry, Version
from controller.registry.store import Doc
from controller.rollout.model import FINAL, Rollout, Strategy
from controller.trust.metadata import Authority, Keyring
from controller.verbs.previews import plan_rollout
from firmware_sim.clock import Clock
from firmware_sim.device import MODEL
from firmware_sim.fleet_keys import FIRST, KEY_RING, RELEASE, TARGETS, WORLD_BEGAN
from firmware_sim.models import SimModel
from firmware_sim.network import Network

SILENT_S = 600.0
_KINDS: dict[str, type[FromDevice]] = {
    topics.UP_HEARTBEAT: Heartbeat,
    topics.UP_REPORT: Report,
    topics.UP_PRESENCE: Presence,
    topics.UP_TELEMETRY: Telemetry,
}
_LINEAGE = Lineage(created_at="", created_by="simulator", source="onnx", source_sha256="")


class DurableStore:
    """The Store interface in memory: what `put` has returned from survives every kill of the controller."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, Doc]] = {}

    def get(self, table: str, key: str) -> Doc | None:
        """One document, or None."""
        return self._tables.get(table, {}).get(key)

    def all(self, table: str) -> Mapping[str, Doc]:
        """Every document of a table."""
        return self._tables.get(table, {})

    def put(self, table: str, docs: Mapping[str, Doc]) -> None:
        """Insert or replace."""
        self._tables.setdefault(table, {}).update(docs)

    def delete(self, table: str, key: str) -> None:
        """Remove."""
        self._tables.get(table, {}).pop(key, None)


class _Blobs:
    """Blobs by digest, in memory."""

    def __init__(self) -> None:
        self.by_digest: dict[str, bytes] = {}

    def get(self, digest: str) -> bytes:
        """The bytes."""
        return self.by_digest[digest]


class SimController:
    """Lives, is killed, starts again. `trace` hears of every change of a rollout."""

    def __init__(self, clock: Clock, network: Network, every_s: float) -> None:
        self.store = DurableStore()
        self.history: list[tuple[float, Rollout]] = []
        self.offers: list[tuple[float, str, int, int]] = []
        """(time, device, release, generation)"""
        self.states: dict[str, list[dict[str, Any]]] = {}
        """What each device has reported of itself, in order, a report that came twice once."""
        self.kills = 0
        self._clock = clock
        self._network = network
        self._every_s = every_s
        self._registry = Registry(self.store)
        self._blobs = _Blobs()
        self._authority = Authority(self.store, Keyring([*KEY_RING, TARGETS, RELEASE], RELEASE))
        self._authority.begin(FIRST, WORLD_BEGAN)
        self._publisher = Publisher(self._registry, self._blobs, self._authority)
        self._last_words: dict[str, bytes] = {}
        self._inbox: list[tuple[str, FromDevice]] = []
        self._reported: dict[str, tuple[int, int]] = {}
        self._epoch = 0
        self.world = World(silent_s=SILENT_S)
        network.to_controller = self._message
        self._pass_later()

    def _register(self, model: SimModel) -> None:
        """A version that has passed its gates, and that the release signer vouches for."""
        for data in (model.artifact, model.golden):
            self._blobs.by_digest[_digest(model, data)] = data
        gate = GateVerdict(gate="parity", passed=True, detail="simulated")
        self._registry.add(
            Version(
                model=MODEL,
                release=model.release,
                manifest=model.manifest,
                lineage=_LINEAGE,
                evidence={},
                gates=(gate,),
            )
        )
        assert self._publisher.vouch(MODEL, (), self._today())

    def start_rollout(self, model: SimModel, strategy: Strategy) -> bool:
        """To every known device; False while another rollout is open or the controller is down."""
        release = model.release
        if not self._network.controller_up or not self.world.twins:
            return False
        if any(rollout.status not in FINAL for rollout in self.world.rollouts.values()):
            return False
        self._register(model)
        name = f"r-{release}"
        now = self._wall()
        rollout = plan_rollout(self.world, model.manifest, strategy, name=name, model=MODEL, selector={}, now=now)
        save_rollouts(self.store, [rollout])
        self.world.rollouts[name] = rollout
        self.history.append((self._clock.now, rollout))
        return True

    def kill(self) -> None:
        """SIGKILL: memory is gone."""
        self.kills += 1
        self._epoch += 1
        self._network.controller_up = False
        self._inbox.clear()

    def start(self) -> None:
        """Start from what is durable, and bring the broker up to date."""
        self.world = remember(self.store, self._last_words, SILENT_S)
        known = {rollout.id: rollout for _, rollout in self.history}
        became = [rollout for rollout in self.world.rollouts.values() if known.get(rollout.id) != rollout]
        self.history += [(self._clock.now, rollout) for rollout in became]  # durable, and killed before it was noted
        self._network.controller_up = True
        self.restore()
        self._pass_later()

    def restore(self) -> None:
        """After a reconnect: missing blobs by their sentinel, then the role, then all documents."""
        self._ensure_blobs()
        self._publish_for(sorted(device for device, twin in self.world.twins.items() if twin.document_version))

    def _wall(self) -> float:
        """The controller's clock: seconds since 1970."""
        return WORLD_BEGAN.timestamp() + self._clock.now

    def _today(self) -> datetime:
        return WORLD_BEGAN + timedelta(seconds=int(self._clock.now))

    def _pass_later(self) -> None:
        self._clock.after(self._every_s, self._pass, self._epoch)

    def _pass(self, epoch: int) -> None:
        if epoch != self._epoch:
            return
        inbox, self._inbox = self._inbox, []
        changes = reconcile(self.world, inbox, self._wall())
        save_devices(self.store, (self.world.twins[device] for device in sorted(changes.redesired)))
        save_quarantine(self.store, self.world.quarantine, sorted(changes.quarantined))
        save_rollouts(self.store, changes.rollouts)
        self._last_words.update((device, encode(beat)) for device, beat in changes.heartbeats)
        self._keep_states(changes.reports)
        self.history += [(self._clock.now, rollout) for rollout in changes.rollouts]
        self._authority.refresh(self._today())
        if to_publish := changes.redesired | changes.unheard:
            self._ensure_blobs()
            self._publish_for(sorted(to_publish), again=bool(changes.unheard))
        for device, ack in changes.acks:
            self._network.publish(topics.ack(device), encode(ack), retain=False)
        self._pass_later()

    def _keep_states(self, reports: tuple[tuple[str, Report], ...]) -> None:
        for device, report in reports:
            number = (report.boot, report.seq)
            if report.state is not None and number > self._reported.get(device, (0, 0)):
                self._reported[device] = number
                self.states.setdefault(device, []).append(msgspec.to_builtins(report.state))

    def _publish_for(self, devices: list[str], *, again: bool = False) -> None:
        if not devices:
            return
        for message in self._publisher.trust([MODEL]):
            if again or self._network.retained.get(message.topic) != message.payload:
                self._retain(message)
        for device in devices:
            twin = self.world.twins[device]
            assigned = twin.desired.get(MODEL)
            if assigned is not None:
                self.offers.append((self._clock.now, device, assigned.release, assigned.generation))
            self._retain(self._publisher.desired(twin))

    def _ensure_blobs(self) -> None:
        for blob in blobs_in_use(self.world.twins, self._publisher).values():
            if sentinel(blob) not in self._network.retained:
                for message in self._publisher.chunks(blob):
                    self._retain(message)

    def _retain(self, message: Retained) -> None:
        self._network.publish(message.topic, message.payload, retain=True)

    def _message(self, topic: str, payload: bytes) -> None:
        found = topics.parse_up(topic)
        if found is None:
            return
        device, kind = found
        try:
            self._inbox.append((device, decode(payload, _KINDS[kind])))
        except (EdgewardError, KeyError) as error:
            raise AssertionError(f"{device} sent what the controller does not understand: {error}") from error


def _digest(model: SimModel, data: bytes) -> str:
    return model.manifest.artifact.sha256 if data is model.artifact else model.manifest.golden.blob.sha256
