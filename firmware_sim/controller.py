"""The real passes and the real publisher over a disk that survives kills, in virtual time: the service without sockets.

Decides nothing about rollouts or the order of steps in a pass. Refuses to know devices.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

import msgspec

from contract import topics
from contract.blobs import Blob
from contract.captured import Captured
from contract.errors import EdgewardError, WorldError
from contract.messages import Ack, Heartbeat, Presence, Report, Telemetry
from contract.wire import decode, encode
from controller.broker.foreign import Foreign
from controller.broker.messages import Publisher, Retained, sentinel
from controller.broker.retained import RetainedState
from controller.broker.skipped import Skipped
from controller.gates.verdict import GateVerdict
from controller.health import FREE_BYTES_WANTED, Facts, PassRecord, findings_of
from controller.reconcile import restored
from controller.reconcile.durable import FleetRecords
from controller.reconcile.one_pass import Passes
from controller.reconcile.preview import plan_rollout
from controller.reconcile.series import VerdictPoint
from controller.reconcile.world import FromDevice
from controller.registry.registry import Registry
from controller.registry.version import Lineage, Version
from controller.rollout.model import FINAL, Rollout, Strategy
from controller.trust.keyring import Keyring
from controller.trust.metadata import TrustMetadata
from firmware_sim.blobs import Blobs
from firmware_sim.clock import Clock
from firmware_sim.device import MODEL
from firmware_sim.durable import ControllerKilled, DurableHistory, DurableStore, DurableTables, Faults
from firmware_sim.fleet_keys import FIRST, KEY_RING, RELEASE, TARGETS, WORLD_BEGAN
from firmware_sim.models import SimModel
from firmware_sim.network import Network

SILENT_S = 600.0
LOOK_S = 5.0
"""Seconds between two checks of health, as in the service."""
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


@dataclass(frozen=True, slots=True)
class _Backup:
    """The durable state at one moment."""

    made_at: str
    store: DurableStore
    tables: DurableTables
    words: dict[str, bytes]


class SimController:
    """A controller that can be killed and restarted. Its passes are `reconcile.one_pass`, on this disk and broker."""

    def __init__(self, clock: Clock, network: Network, every_s: float) -> None:
        self.faults = Faults()
        self.back_after_s = 0.0
        """Seconds until it starts again after `faults` killed it."""
        self.history: list[tuple[float, Rollout]] = []
        """(time, rollout) for every change of one that has become durable."""
        self.offers: list[tuple[float, str, int, int]] = []
        """(time, device, release, generation)"""
        self.published: list[tuple[float, str, int, int]] = []
        """(time, device, version of the document that was published, version that was durable then)"""
        self.acknowledged: list[tuple[float, str, Ack, bool]] = []
        """(time, device, acknowledged message, whether it was durable then)"""
        self.passes: list[tuple[float, bool]] = []
        """(time, whether the pass succeeded) for every pass, including one during which the controller was killed."""
        self.told: list[tuple[float, frozenset[str] | None]] = []
        """(time, codes that health reports from then on); None while the controller does not run."""
        self.hears: Callable[[str, FromDevice], FromDevice] = lambda _, message: message
        """Returns what replaces a device's message: an attacker may send false messages in its name."""
        self.kills = 0
        self.restores = 0
        self._clock = clock
        self._network = network
        self._every_s = every_s
        self.tables = DurableTables(self.faults)
        self._history = DurableHistory(self.faults)
        self.blobs = Blobs(clock)
        self._open(DurableStore())
        self._trust_metadata.begin(FIRST, WORLD_BEGAN)
        self._backup: _Backup | None = None
        self._inbox: list[tuple[str, FromDevice]] = []
        self._epoch = 0
        network.to_controller = self._message
        self._load()
        self._pass_later()

    @property
    def states(self) -> dict[str, list[dict[str, Any]]]:
        """What each device has reported about itself, in order; a repeated report counts once."""
        return self._history.states

    @property
    def refusals(self) -> list[tuple[str, str, str]]:
        """(date and time, device, code) of every refusal of a device."""
        return self._history.refusals

    def _open(self, store: DurableStore) -> None:
        self._store = store
        self._registry = Registry(store)
        self._trust_metadata = TrustMetadata(store, Keyring([*KEY_RING, TARGETS, RELEASE], RELEASE))
        self._publisher = Publisher(self._registry, self.blobs, self._trust_metadata)

    def _load(self) -> None:
        """Loads the durable state."""
        self._records = FleetRecords(self.tables)
        self.world = self._records.load_world(self._history.last_words, SILENT_S)
        self.world.registered, self.world.past = self._registry.registered, self._history.past
        self.world.past_shapes, self.world.measured.heard = self._history.shapes, self._history.heard()
        self._passes = Passes(self.world, self._records, history=self._history, broker=self, listener=self)
        self._skipped, self._foreign = Skipped(), Foreign(lambda: self._clock.now)
        self._retained = RetainedState(
            self.world.durable,
            self._publisher,
            self._records,
            self._skipped,
            self._foreign,
            lost=self._lost,
            clock=lambda: self._clock.now,
        )
        self._retained.link = self
        self._trust_changed = False
        self._pass_record = PassRecord(self._clock.now)
        self.told.append((self._clock.now, frozenset()))
        self._look(self._epoch)

    def _register(self, model: SimModel) -> None:
        """Registers a version that has passed its gates and is signed."""
        for data in (model.artifact, model.golden):
            self.blobs.by_digest[_digest(model, data)] = data
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
        """Starts a rollout to every known device; False if one is open, the controller is down or its disk is full."""
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
        """Kills the controller as SIGKILL does: its memory is lost."""
        self.kills += 1
        self._epoch += 1
        self.told.append((self._clock.now, None))
        self._network.controller_up = False
        self._inbox.clear()

    def start(self) -> None:
        """Starts from the durable state, and brings the broker up to date."""
        if self._network.controller_up:
            return
        self._load()
        known = {rollout.id: rollout for _, rollout in self.history}
        became = [rollout for rollout in self.world.durable.rollouts.values() if known.get(rollout.id) != rollout]
        self._note(became)  # durable, and killed before it was noted
        self._network.controller_up = True
        self._retained.restore_needed = True
        self._run_pass()
        self._pass_later()

    def restore(self) -> None:
        """Makes the next pass bring the broker up to date, after a reconnect."""
        self._retained.restore_needed = True
        self._run_pass()

    async def publish(self, devices: frozenset[str], *, again: bool) -> bool:
        """Publishes as in `reconcile.ports.Broker`."""
        if not self._network.broker_up:
            self._retained.restore_needed = True
            return False
        await self._retained.publish(devices, again=again, trust_changed=self._trust_changed)
        self._trust_changed = False
        return True

    def retain(self, messages: Iterable[Retained]) -> None:
        """Retains as in `broker.retained.Link`: each message is an operation during which the process may be killed."""
        for message in messages:
            self.faults.operation()
            self._network.publish(message.topic, message.payload, retain=True)
            if (device := topics.parse_desired(message.topic)) is not None:
                self._note_published(device)

    def acknowledge(self, device: str, ack: Ack) -> None:
        """Acknowledges as in `reconcile.ports.Broker`."""
        self.faults.operation()
        durable = self._history.holds(device, ack.boot, ack.seq)
        self.acknowledged.append((self._clock.now, device, ack, durable))
        self._network.publish(topics.ack(device), encode(ack), retain=False)

    def saved(self, rollouts: Sequence[Rollout]) -> None:
        """Notes as in `reconcile.ports.Listener`."""
        self._note(rollouts)

    def _note(self, rollouts: Iterable[Rollout]) -> None:
        """Writes to the trace, except for a rollout that had ended before a restore removed that ending."""
        ended = {rollout.id for _, rollout in self.history if rollout.status in FINAL} if self.restores else set()
        self.history += [(self._clock.now, rollout) for rollout in rollouts if rollout.id not in ended]

    def back_up(self) -> None:
        """Keeps a copy of the durable state."""
        words = dict(self._history.last_words)
        self._backup = _Backup(self._today().isoformat(), self._store.copy(), self.tables.copy(), words)

    def restore_backup(self) -> None:
        """Replaces the durable state by the newest backup, and starts."""
        assert self._backup is not None
        self.restores += 1
        self.tables = self._backup.tables.copy()
        self._open(self._backup.store.copy())
        self._history.last_words = dict(self._backup.words)
        self._load()
        devices, ended = restored.take_up(self.world, self._backup.made_at, self._wall())
        self._records.save(self.world.durable, devices, [rollout.id for rollout in ended], ())
        self._trust_metadata.after_restore(_no_key, self._today())
        self.start()

    def judged(self, points: Sequence[VerdictPoint]) -> None:
        """Does nothing: the series is in the history."""

    def reported(self, reports: Sequence[tuple[str, Report]]) -> None:
        """Does nothing: checkers read what devices report."""

    def take(self) -> tuple[list[tuple[str, FromDevice]], list[tuple[str, Captured]]]:
        """Takes messages as in `reconcile.ports.Inbox`."""
        inbox, self._inbox = self._inbox, []
        return inbox, []

    def _wall(self) -> float:
        """Returns the controller's clock: seconds since 1970."""
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
        self._trust_changed |= self._trust_metadata.refresh(self._today())
        self.passes.append((self._clock.now, False))
        try:
            _to_the_end(self._passes.run(self, self._wall()))
        except EdgewardError as error:  # the next pass begins with the write that failed
            self._pass_record.failed(self._clock.now, str(error))
        except ControllerKilled:
            self._die()
        else:
            self._pass_record.passed(self._clock.now)
            self.passes[-1] = (self._clock.now, True)
        if unusable := self.world.measured.left_out.unusable_told():  # the service goes on: here every sender is honest
            raise AssertionError(f"messages were not folded: {unusable}")
        if undecided := self.world.measured.undecided:
            raise AssertionError(f"rollouts were not decided: {undecided}")

    def _die(self) -> None:
        self.kill()
        self._clock.after(self.back_after_s, self.start)

    def _note_published(self, device: str) -> None:
        twin = self.world.durable.twins[device]
        self.published.append((self._clock.now, device, twin.document_version, self._durable_version(device)))
        assigned = twin.desired.get(MODEL)
        if assigned is not None:
            self.offers.append((self._clock.now, device, assigned.release, assigned.generation))

    def _durable_version(self, device: str) -> int:
        row = self.tables.rows("devices").get(device)
        return 0 if row is None else msgspec.json.decode(row, type=_Version).document_version

    async def _lost(self, blobs: Sequence[Blob]) -> set[str]:
        """Answers as `broker.retained.LookForBlobs`, without waiting."""
        return {blob.sha256 for blob in blobs if sentinel(blob) not in self._network.retained}

    def _look(self, epoch: int) -> None:
        """Checks health as the service does, and notes the result."""
        if epoch != self._epoch:
            return
        found = frozenset(each.code for each in findings_of(self._facts()))
        if found != self.told[-1][1]:
            self.told.append((self._clock.now, found))
        self._clock.after(LOOK_S, self._look, epoch)

    def _facts(self) -> Facts:
        now, record = self._clock.now, self._pass_record
        return Facts(
            pass_age_s=now - record.good_at,
            failing_s=None if record.failing_since is None else now - record.failing_since,
            last_error=record.last_error,
            reconcile_s=self._every_s,
            broker="simulated",
            broker_connected=self._network.broker_up,
            broker_fault="",
            free_bytes=10 * FREE_BYTES_WANTED,
            expiry_days={},
            skipped=self._skipped.why,
            foreign=self._foreign.told(),
            unreadable=self._records.unreadable,
        )

    def _message(self, topic: str, payload: bytes) -> None:
        found = topics.parse_up(topic)
        if found is None:
            return
        device, kind = found
        try:
            self._inbox.append((device, self.hears(device, decode(payload, _KINDS[kind]))))
        except (EdgewardError, KeyError) as error:
            raise AssertionError(f"{device} sent what the controller does not understand: {error}") from error


def _no_key(role: str) -> NoReturn:
    raise AssertionError(f"the root keys of a simulated fleet are with people: no key for {role} can be put in place")


def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine whose ports never wait, without an event loop."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("a simulated port has waited")


def _digest(model: SimModel, data: bytes) -> str:
    return model.manifest.artifact.sha256 if data is model.artifact else model.manifest.golden.blob.sha256
