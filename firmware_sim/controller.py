"""The real passes and the real publisher over a disk that survives kills, in virtual time: the service without sockets.

Decides nothing about rollouts, nor in which order a pass does things. Refuses to know what devices are.
"""

from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from contract import topics
from contract.captured import Captured
from contract.errors import EdgewardError, WorldError
from contract.messages import Ack, Heartbeat, Presence, Report, Telemetry
from contract.wire import decode, encode
from controller.broker.messages import Publisher, Retained, blobs_in_use, sentinel
from controller.gates.verdict import GateVerdict
from controller.reconcile.durable import FleetRecords
from controller.reconcile.one_pass import Passes
from controller.reconcile.preview import plan_rollout
from controller.reconcile.world import FromDevice
from controller.registry.registry import Lineage, Registry, Version
from controller.rollout.model import FINAL, Rollout, Strategy
from controller.trust.metadata import Keyring, TrustMetadata
from firmware_sim.clock import Clock
from firmware_sim.device import MODEL
from firmware_sim.durable import ControllerKilled, DurableHistory, DurableStore, DurableTables, Faults
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


class _Version(msgspec.Struct):
    """The one field of a device's row that the trace needs: the rest of it is not decoded."""

    document_version: int


class _Blobs:
    """Blobs by digest, in memory."""

    def __init__(self) -> None:
        self.by_digest: dict[str, bytes] = {}

    def get(self, digest: str) -> bytes:
        """The bytes."""
        return self.by_digest[digest]


class SimController:
    """Lives, is killed, starts again. Its passes are `reconcile.one_pass`; this is the disk and the broker for them."""

    def __init__(self, clock: Clock, network: Network, every_s: float) -> None:
        self.faults = Faults()
        self.back_after_s = 0.0
        """How long it is gone when `faults` kill it."""
        self.history: list[tuple[float, Rollout]] = []
        """(time, rollout) for every change of one that has become durable."""
        self.offers: list[tuple[float, str, int, int]] = []
        """(time, device, release, generation)"""
        self.published: list[tuple[float, str, int, int]] = []
        """(time, device, version of the document that was published, version that was durable then)"""
        self.acknowledged: list[tuple[float, str, Ack, bool]] = []
        """(time, device, what was acknowledged, whether it was durable then)"""
        self.kills = 0
        self._clock = clock
        self._network = network
        self._every_s = every_s
        store = DurableStore()
        self.tables = DurableTables(self.faults)
        self._history = DurableHistory(self.faults)
        self._registry = Registry(store)
        self._blobs = _Blobs()
        self._trust_metadata = TrustMetadata(store, Keyring([*KEY_RING, TARGETS, RELEASE], RELEASE))
        self._trust_metadata.begin(FIRST, WORLD_BEGAN)
        self._publisher = Publisher(self._registry, self._blobs, self._trust_metadata)
        self._inbox: list[tuple[str, FromDevice]] = []
        self._epoch = 0
        self._restore_needed = False
        network.to_controller = self._message
        self._load()
        self._pass_later()

    @property
    def states(self) -> dict[str, list[dict[str, Any]]]:
        """What each device has reported of itself, in order, a report that came twice once."""
        return self._history.states

    def _load(self) -> None:
        """Begins from what is durable."""
        self._records = FleetRecords(self.tables)
        self.world = self._records.load_world(self._history.last_words, SILENT_S)
        self.world.registered = self._registry.registered
        self._passes = Passes(self.world, self._records, history=self._history, broker=self, listener=self)

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
        """To every known device; False while another rollout is open, the controller is down or its disk is full."""
        release = model.release
        known = self.world.durable
        if not self._network.controller_up or not known.twins:
            return False
        if any(rollout.status not in FINAL for rollout in known.rollouts.values()):
            return False
        if release > max((version.release for version in self._versions()), default=0):
            self._register(model)
        name = f"r-{release}"
        now = self._wall()
        rollout = plan_rollout(self.world, model.manifest, strategy, name=name, model=MODEL, selector={}, now=now)
        try:
            self._records.save_rollouts(rollout)
        except WorldError:
            return False
        except ControllerKilled:
            self._die()
            return False
        known.rollouts[name] = rollout
        self.history.append((self._clock.now, rollout))
        return True

    def _versions(self) -> list[Version]:
        return self._registry.versions(MODEL) if self._registry.models() else []

    def kill(self) -> None:
        """SIGKILL: memory is gone."""
        self.kills += 1
        self._epoch += 1
        self._network.controller_up = False
        self._inbox.clear()

    def start(self) -> None:
        """Starts from what is durable, and brings the broker up to date."""
        if self._network.controller_up:
            return
        self._load()
        known = {rollout.id: rollout for _, rollout in self.history}
        became = [rollout for rollout in self.world.durable.rollouts.values() if known.get(rollout.id) != rollout]
        self.history += [(self._clock.now, rollout) for rollout in became]  # durable, and killed before it was noted
        self._network.controller_up = True
        self._restore_needed = True
        self._run_pass()
        self._pass_later()

    def restore(self) -> None:
        """After a reconnect a pass brings the broker up to date at once."""
        self._restore_needed = True
        self._run_pass()

    async def publish(self, devices: frozenset[str], *, again: bool) -> bool:
        """As `reconcile.ports.Broker` says; after a reconnect everything."""
        if self._restore_needed:
            twins = self.world.durable.twins
            devices = frozenset(name for name, twin in twins.items() if twin.document_version)
            self._restore_needed = False
        if devices:
            self._ensure_blobs()
            self._publish_for(sorted(devices), again=again)
        return True

    def acknowledge(self, device: str, ack: Ack) -> None:
        """As `reconcile.ports.Broker` says."""
        self.faults.operation()
        durable = self._history.holds(device, ack.boot, ack.seq)
        self.acknowledged.append((self._clock.now, device, ack, durable))
        self._network.publish(topics.ack(device), encode(ack), retain=False)

    def saved(self, rollouts: Sequence[Rollout]) -> None:
        """As `reconcile.ports.Listener` says."""
        self.history += [(self._clock.now, rollout) for rollout in rollouts]

    def reported(self, reports: Sequence[tuple[str, Report]]) -> None:
        """Nobody listens: checkers read what devices say themselves."""

    def take(self) -> tuple[list[tuple[str, FromDevice]], list[tuple[str, Captured]]]:
        """As `reconcile.ports.Inbox` says."""
        inbox, self._inbox = self._inbox, []
        return inbox, []

    def _wall(self) -> float:
        """The controller's clock: seconds since 1970."""
        return WORLD_BEGAN.timestamp() + self._clock.now

    def _today(self) -> datetime:
        return WORLD_BEGAN + timedelta(seconds=int(self._clock.now))

    def _pass_later(self) -> None:
        if self._network.controller_up:
            self._clock.after(self._every_s, self._pass, self._epoch)

    def _pass(self, epoch: int) -> None:
        if epoch == self._epoch:
            self._run_pass()
            self._pass_later()

    def _run_pass(self) -> None:
        if not self._network.controller_up:
            return
        self._trust_metadata.refresh(self._today())
        try:
            _to_the_end(self._passes.run(self, self._wall()))
        except WorldError:
            pass  # the disk is full: the next pass begins with what this one could not write
        except ControllerKilled:
            self._die()

    def _die(self) -> None:
        self.kill()
        self._clock.after(self.back_after_s, self.start)

    def _publish_for(self, devices: list[str], *, again: bool = False) -> None:
        if not devices:
            return
        for message in self._publisher.trust([MODEL]):
            if again or self._network.retained.get(message.topic) != message.payload:
                self._retain(message)
        for device in devices:
            twin = self.world.durable.twins[device]
            durable = self._durable_version(device)
            self._retain(self._publisher.desired(twin))
            self.published.append((self._clock.now, device, twin.document_version, durable))
            assigned = twin.desired.get(MODEL)
            if assigned is not None:
                self.offers.append((self._clock.now, device, assigned.release, assigned.generation))

    def _durable_version(self, device: str) -> int:
        row = self.tables.rows("devices").get(device)
        return 0 if row is None else msgspec.json.decode(row, type=_Version).document_version

    def _ensure_blobs(self) -> None:
        for blob in blobs_in_use(self.world.durable.twins, self._publisher).values():
            if sentinel(blob) not in self._network.retained:
                for message in self._publisher.chunks(blob):
                    self._retain(message)

    def _retain(self, message: Retained) -> None:
        self.faults.operation()
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


def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine whose ports never wait, without an event loop."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("a simulated port has waited")


def _digest(model: SimModel, data: bytes) -> str:
    return model.manifest.artifact.sha256 if data is model.artifact else model.manifest.golden.blob.sha256
