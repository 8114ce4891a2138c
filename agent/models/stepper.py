"""Steps the machines of all models of a device, and performs the commands that they order.

Decides the order of commands, which is law 2: if the record changes, `Save` is the first command, and later
commands are performed only once the record is durable. Refuses to know what an event means (`core` does) and its
source.
"""

from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime

from agent.core import machine
from agent.core.commands import Activate, Command, Fetch, Load, Probe, Prune, Report, Save
from agent.core.events import Event, ModelBroken
from agent.core.model import Assignment, Record, Steady
from agent.flash.store import Store
from agent.models.activation import activation
from agent.models.device_model import DeviceModel
from agent.ports import Runtime
from agent.stimuli import ProbeEnded, Stimulus
from agent.transfer.download import Download
from agent.uplink.reporter import Reporter
from contract.errors import Code, EdgewardError, WorldError

SAVE_RETRY_S = 5.0
"""Seconds until a step whose record the disk refused is repeated: people need time to empty a full disk."""


class Stepper:
    """The models of one device by name. `now` is monotonic seconds.

    `holds` says whether an application holds updates; `enqueue` takes the result of a probe, from any thread.
    """

    def __init__(
        self,
        *,
        store: Store,
        runtime: Runtime,
        reporter: Reporter,
        new_model: Callable[[str], DeviceModel],
        enqueue: Callable[[Stimulus], None],
        local_clock: Callable[[], datetime],
        holds: Callable[[], bool],
        dropped: Counter[str],
    ) -> None:
        self.models: dict[str, DeviceModel] = {}
        self.before_save: Callable[[], None] = lambda: None
        """Called before each record is saved; WorldError keeps it from being saved."""
        self._store = store
        self._runtime = runtime
        self._reporter = reporter
        self._new_model = new_model
        self._enqueue = enqueue
        self._local_clock = local_clock
        self._holds = holds
        self._dropped = dropped
        self._retry: dict[str, tuple[float, Event | None]] = {}
        """When to step each model again, and the event; None for the resumption after a boot."""
        self._refused: WorldError | None = None

    def downloads(self) -> list[tuple[str, Download]]:
        """Returns the models that fetch something, each with its download."""
        found = ((name, model.download) for name, model in self.models.items())
        return [(name, download) for name, download in found if download is not None]

    @property
    def transfers(self) -> bool:
        """Whether chunks are being received; not while a fetch waits for its hours, or decodes."""
        return any(download.transfers for _, download in self.downloads())

    @property
    def is_busy(self) -> bool:
        """Whether a version is being fetched, probed or tried."""
        return any(model.in_trial or model.phase != "steady" for model in self.models.values())

    @property
    def kept_digests(self) -> set[str]:
        """Blobs that some model needs."""
        return {digest for model in self.models.values() for digest in model.kept_digests}

    def source_failed(self, source: str, now: float) -> None:
        """Tells the running downloads that a source cannot provide what they fetch."""
        for name, download in self.downloads():
            self.step(name, download.source_failed(source, now), now)

    def add(self, name: str, record: Record) -> DeviceModel:
        """Returns the model of this name; a new one starts from `record`."""
        if name not in self.models:
            self.models[name] = self._new_model(name)
            self.models[name].state = Steady(record)
        return self.models[name]

    def resume(self, name: str, now: float) -> None:
        """Performs what the durable record orders after a boot."""
        self._apply(name, machine.resume(self.models[name].state.record, now), now)

    def step(self, name: str, event: Event | None, now: float) -> None:
        """Steps one event, then the events that performing its commands causes; None is no event."""
        if event is None:
            return
        before = self.models[name].state
        after = machine.step(before, event, now)
        if after[0] is before and not after[1]:
            self._dropped["events_ignored"] += 1
            return
        self._apply(name, after, now, event)

    def retry(self, now: float) -> None:
        """Repeats the steps whose records the disk refused, if they are due."""
        for name, (at, event) in sorted(self._retry.items()) if self._retry else ():
            if now >= at:
                del self._retry[name]
                if event is None:
                    self.resume(name, now)
                else:
                    self.step(name, event, now)

    @property
    def disk_fault(self) -> WorldError | None:
        """Why the disk has refused a record that is still to be saved; None if there is none."""
        return self._refused if self._retry else None

    def probe_fault(self, now: float) -> WorldError | None:
        """Returns which models have had no golden probe for too long, and why; None if there are none."""
        found = [f"{name}: {words}" for name, model in self.models.items() if (words := model.probes.overdue(now))]
        return WorldError(Code.GOLDEN_OVERDUE, "; ".join(sorted(found))) if found else None

    def retry_at(self) -> float:
        """Returns when `retry` is due; infinity for never."""
        return min((at for at, _ in self._retry.values()), default=float("inf"))

    def prune(self, now: float) -> None:
        """Deletes from flash what no model needs."""
        try:
            self._store.prune(self.kept_digests)
        except WorldError as error:
            self._reporter.refuse(error, now)

    def _apply(self, name: str, outcome: machine.Step, now: float, event: Event | None = None) -> None:
        model = self.models[name]
        state, commands = outcome
        followups: deque[Event] = deque()
        for command in commands:
            if isinstance(command, Save) and not self._saved(name, command, event, now):
                self._serve_stable_at_least(model, now)
                return
            model.state = state
            followup = self._perform(model, command, now)
            if followup is not None:
                followups.append(followup)
        model.state = state
        model.end_stale_download()
        while followups:
            self.step(name, followups.popleft(), now)

    def _saved(self, name: str, command: Save, event: Event | None, now: float) -> bool:
        """Whether the record is durable; if not, the whole step is repeated later."""
        try:
            self.before_save()
            self._store.save_record(name, command.record)
        except WorldError as error:
            self._reporter.refuse(error, now)
            self._retry[name], self._refused = (now + SAVE_RETRY_S, event), error
            return False
        return True

    def _serve_stable_at_least(self, model: DeviceModel, now: float) -> None:
        """Serves stable after a boot even if the disk accepts no record: only the step is delayed."""
        if model.slot.serving is None:
            self._perform(model, Load(model.state.record.stable), now)

    def _perform(self, model: DeviceModel, command: Command, now: float) -> Event | None:
        match command:
            case Fetch(assignment):
                return model.begin_download(assignment, now)
            case Probe(assignment):
                self._probe(model.name, assignment)
            case Activate(assignment, since):
                held, local = self._holds(), self._local_clock()
                return activation(assignment, held=held, waited_s=now - since, local=local, baseline=model.baseline())
            case Load(assignment):
                return self._load(model, assignment, now)
            case Prune():
                self.prune(now)
            case Report(code, detail):
                model.code, model.detail = code, detail
                self._reporter.report(model.message(), now)
            case Save():
                pass  # durable already
        return None

    def _probe(self, name: str, assignment: Assignment) -> None:
        golden, artifact = (self._store.path(blob) for blob in assignment.blobs)
        self._runtime.probe(assignment, artifact, golden, lambda report: self._enqueue(ProbeEnded(name, report)))

    def _load(self, model: DeviceModel, assignment: Assignment | None, now: float) -> Event | None:
        try:
            model.load(assignment, now)
        except EdgewardError as error:
            assert assignment is not None  # serving nothing cannot fail
            return ModelBroken(assignment.digest, error.code, error.detail)
        return None
