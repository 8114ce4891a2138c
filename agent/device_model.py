"""One model on this device: its machine's state, its slot, its download, and what waits to be drained.

Holds what the shell performs orders on. Refuses to know other models, the device's identity, and the wire.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.core import machine
from agent.core.events import HealthJudged
from agent.core.health import HealthWindow, judge
from agent.core.model import Assignment, Baseline, Fetching, Probing, Record, State, Steady, Trial
from agent.download import Download, Result
from agent.ports import Runtime
from agent.serving.slot import ModelSlot, Serving
from agent.store import Store
from contract.errors import Code, WorldError
from contract.messages import ModelState, ModelWindow, Phase

DRAIN_S = 5.0
"""Inferences that still run on a replaced session after this long keep it alive by themselves."""
DRAIN_LOOK_S = 0.02


@dataclass
class DeviceModel:
    """The volatile side of one model."""

    name: str
    slot: ModelSlot
    runtime: Runtime
    store: Store
    new_download: Callable[[Assignment], Download]
    state: State = field(default_factory=lambda: Steady(Record()))
    download: Download | None = None
    code: str = ""
    detail: str = ""
    stall_ms: float = 0.0
    rss_mb_before: float = 0.0
    """Resident memory when the newest swap began."""
    _draining: list[tuple[Serving, float]] = field(default_factory=list)
    _drain_look_at: float | None = None
    _windows: list[ModelWindow] = field(default_factory=list)
    _judged: tuple[HealthWindow, int, int] | None = None
    _said: tuple[tuple[object, ...], ModelState] | None = None

    @property
    def in_trial(self) -> bool:
        """Whether a trial serves."""
        return isinstance(self.state, Trial)

    @property
    def kept_digests(self) -> set[str]:
        """Blobs that must stay on disk for this model."""
        kept = set(self.state.record.kept_digests)
        match self.state:
            case Fetching(_, assignment) | Probing(_, assignment):
                kept |= {blob.sha256 for blob in assignment.blobs}
            case _:
                pass
        return kept

    def begin_download(self, assignment: Assignment, now: float) -> Result:
        """Start a fetch in place of any other."""
        if self.download is not None:
            self.download.cancel()
        self.download = self.new_download(assignment)
        return self.download.start(now)

    def end_stale_download(self) -> None:
        """A download whose machine no longer waits for it is cancelled."""
        if self.download is not None and not isinstance(self.state, Fetching):
            self.download.cancel()
            self.download = None

    def load(self, assignment: Assignment | None, now: float) -> None:
        """Serve `assignment` by one atomic swap. WorldError if it is damaged or does not load; then nothing changed."""
        self.slot.watch_stall()
        self.rss_mb_before = self.runtime.usage().rss_mb
        before = self.slot.swap(self._serving(assignment))
        spare, self.slot.fallback = self.slot.fallback, None
        if assignment is not None and assignment.policy.isolated and self.in_trial:
            self.slot.fallback, before = (before or spare or self._spare()), None
        for old in (before, spare):
            if old is not None and old is not self.slot.fallback:
                self._retire(old, now)
        self._drain_look_at = now

    def _spare(self) -> Serving | None:
        """Stable, loaded beside a trial that serves from a process of its own; None if it does not load."""
        try:
            return self._serving(self.state.record.stable)
        except WorldError:
            return None  # the trial serves all the same, and what it cannot answer fails

    def _retire(self, old: Serving, now: float) -> None:
        if (window := old.observed.take_tally()) is not None:
            self._windows.append(window)
        self._draining.append((old, now + DRAIN_S))
        self._drain_look_at = now

    def release_drained(self, now: float) -> bool:
        """Drop replaced sessions that nobody uses any more; True if memory can be trimmed."""
        if self.slot.fallback is not None and not self.in_trial:
            spare, self.slot.fallback = self.slot.fallback, None
            self._retire(spare, now)
        if self._drain_look_at is None or now < self._drain_look_at:
            return False
        self._draining = [(old, until) for old, until in self._draining if old.in_flight and now < until]
        self._drain_look_at = now + DRAIN_LOOK_S if self._draining else None
        if self._draining:
            return False
        self.stall_ms = max(self.stall_ms, self.slot.take_stall_ms())
        return True

    def judge(self) -> HealthJudged | None:
        """The health of the trial that serves; None if nothing was inferred since it was judged last."""
        serving, trial = self.slot.serving, self.state.record.trial
        if serving is None or trial is None or serving.assignment.digest != trial.digest:
            return None
        window = serving.observed.window
        if self._judged == (window, window.seen, trial.generation):
            return None
        self._judged = (window, window.seen, trial.generation)
        found = judge(window, trial.policy, self.state.record.baseline)
        return HealthJudged(trial.digest, found.verdict, found.code, found.detail, window.baseline)

    def baseline(self) -> Baseline | None:
        """How often stable was right of late."""
        return self.slot.serving.observed.window.baseline if self.slot.serving is not None else None

    def take_windows(self) -> list[ModelWindow]:
        """What was inferred since the last call, by version."""
        windows, self._windows = self._windows, []
        newest = self.slot.take_tally()
        return [*windows, newest] if newest is not None else windows

    def wake_at(self, *, online: bool) -> float:
        """When this model has something to do; infinity for never."""
        fetch_at = self.download.wake_at() if self.download is not None and online else None
        due = math.inf
        for at in (machine.deadline(self.state), self._drain_look_at, fetch_at):
            if at is not None and at < due:
                due = at
        return due

    def message(self) -> ModelState:
        """The state as a message."""
        facts = (self.state, self.slot.serving, self.code, self.detail)
        if self._said is None or any(before is not now for before, now in zip(self._said[0], facts, strict=True)):
            self._said = (facts, self._message())
        return self._said[1]

    def _message(self) -> ModelState:
        record, serving = self.state.record, self.slot.serving
        target = self.state.assignment if isinstance(self.state, Fetching | Probing) else None
        return ModelState(
            model=self.name,
            phase=_PHASES[type(self.state)],
            generation=machine.newest_generation(self.state),
            stable=record.stable.ref if record.stable else None,
            trial=record.trial.ref if record.trial else None,
            target=target.ref if target else None,
            serving=serving.assignment.digest if serving else "",
            outcome=record.outcome,
            code=self.code,
            detail=self.detail,
        )

    def _serving(self, assignment: Assignment | None) -> Serving | None:
        if assignment is None:
            return None
        artifact = assignment.manifest.artifact
        if not self.store.has(artifact):
            raise WorldError(Code.DIGEST_MISMATCH, f"blob {artifact.sha256[:12]} is damaged or missing on disk")
        path, isolated = self.store.path(artifact), assignment.policy.isolated
        session = self.runtime.load(path, assignment.manifest, isolated=isolated)
        return self.slot.prepare(assignment, session)


_PHASES: dict[type[State], Phase] = {Steady: "steady", Fetching: "fetching", Probing: "probing", Trial: "trial"}
