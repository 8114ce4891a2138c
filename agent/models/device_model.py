"""One model on this device: its machine's state, its slot, its download, and replaced sessions that still answer.

Decides when replaced sessions are dropped and when stable is tested again. Refuses to know other models, the device's
identity, and the wire.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from weakref import ref

from agent.core import machine
from agent.core.events import HealthJudged, ModelBroken
from agent.core.health import judge
from agent.core.judged import JudgedInferences
from agent.core.limits import MIN_STABLE_INFERENCES
from agent.core.model import (
    Assignment,
    Baseline,
    Fetching,
    Probing,
    Ready,
    Record,
    State,
    Steady,
    Trial,
    Verdict,
    yardstick,
)
from agent.models.golden_probes import GoldenProbes
from agent.ports import Runtime
from agent.serving.lineup import Lineup
from agent.serving.plan import plan_lineup
from agent.serving.serving import Serving
from agent.serving.slot import ModelSlot
from agent.transfer.download import Download, Result
from contract.errors import Code
from contract.messages import GoldenProbe, ModelInterval, ModelState, Phase, Progress

DRAIN_S = 5.0
"""Seconds after which a replaced session is dropped even if inferences run on it: they hold their own reference."""
DRAIN_LOOK_S = 0.02
PROVE_EVERY_S = 3600.0
"""Seconds between two tests that stable is intact on flash."""
PROVE_AGAIN_S = 60.0
"""Seconds until the next test after one that failed."""


@dataclass
class DeviceModel:
    """The volatile side of one model."""

    name: str
    slot: ModelSlot
    runtime: Runtime
    lineup: Lineup
    new_download: Callable[[Assignment], Download]
    probes: GoldenProbes
    state: State = field(default_factory=lambda: Steady(Record()))
    download: Download | None = None
    code: str = ""
    detail: str = ""
    stall_ms: float = 0.0
    rss_mb_before: float = 0.0
    """Resident memory in MB at the beginning of the newest swap."""
    _draining: list[tuple[Serving, float]] = field(default_factory=list)
    _drain_look_at: float | None = None
    _asked: str = ""
    """Digest of the version that was tested last."""
    _prove_at: float = 0.0
    _intervals: list[ModelInterval] = field(default_factory=list)
    _judged: tuple[JudgedInferences, int, int] | None = None
    _said: tuple[tuple[object, ...], ModelState] | None = None

    @property
    def in_trial(self) -> bool:
        """Whether a version is on trial: it serves, answers a part of the requests, or runs as a shadow."""
        return self.state.record.trial is not None

    @property
    def phase(self) -> Phase:
        """The phase as messages name it."""
        return _PHASES[type(self.state)]

    @property
    def kept_digests(self) -> set[str]:
        """Blobs that must stay on disk for this model."""
        kept = set(self.state.record.kept_digests)
        match self.state:
            case Fetching(_, assignment) | Probing(_, assignment) | Ready(_, assignment):
                kept |= {blob.sha256 for blob in assignment.blobs}
                kept |= {assignment.delivery.blob.sha256} if assignment.delivery is not None else set()
            case _:
                pass
        return kept

    def begin_download(self, assignment: Assignment, now: float) -> Result:
        """Starts a fetch in place of any other."""
        if self.download is not None:
            self.download.cancel()
        self.download = self.new_download(assignment)
        return self.download.start(now)

    def end_stale_download(self) -> None:
        """Cancels a download for which the machine no longer waits."""
        if self.download is not None and not isinstance(self.state, Fetching):
            self.download.cancel()
            self.download = None

    def load(self, assignment: Assignment | None, now: float) -> None:
        """Serves `assignment`; during a trial its policy says how. WorldError if it is damaged or cannot be loaded."""
        self.slot.due = assignment is not None
        self.probes.abandon()
        self.slot.watch_stall()
        self.rss_mb_before = self.runtime.usage().rss_mb
        plan = plan_lineup(assignment, self.state.record.stable, in_trial=self.in_trial)
        for old in self.lineup.arrange(plan):
            self._retire(old, now)
        self._drain_look_at = now

    def prove(self, now: float) -> ModelBroken | None:
        """Tests from time to time whether stable is intact on flash; ModelBroken if it is not."""
        stable = self.state.record.stable
        if stable is None or self.lineup.of(stable.digest) is None:
            return None
        if self._asked == stable.digest and now < self._prove_at:
            return None
        whole = self.lineup.test_flash(stable)
        self._asked, self._prove_at = stable.digest, now + (PROVE_EVERY_S if whole else PROVE_AGAIN_S)
        if whole:
            return None
        return ModelBroken(stable.digest, Code.DIGEST_MISMATCH, "stable is not complete on flash")

    def probe_golden(self, now: float) -> ModelBroken | None:
        """Continues the golden probe of the session that answers, if one is due; ModelBroken after a miss.

        That session is not used again: when the machine orders a load of the version, it is loaded from flash.
        """
        missed = self.probes.tick(self.slot.serving, now)
        if missed is None:
            return None
        self.lineup.distrusted = ref(missed.session)
        return ModelBroken(missed.assignment.digest, Code.GOLDEN_MISMATCH, missed.detail)

    def _keep_interval(self, old: Serving) -> None:
        if (interval := old.take_interval()) is not None:
            self._intervals.append(interval)

    def _retire(self, old: Serving, now: float) -> None:
        self._keep_interval(old)
        self._draining.append((old, now + DRAIN_S))
        self._drain_look_at = now

    def run_shadow(self, now: float) -> None:
        """Runs the shadow on inferences that stable has answered, within its budget."""
        if self.lineup.shadow is not None:
            self.lineup.shadow.run(now)

    def drop_drained(self, now: float) -> bool:
        """Drops replaced sessions on which no inference runs; returns True if memory can be trimmed."""
        if not self.in_trial and (self.slot.fallback is not None or self.lineup.shadow is not None):
            for old in self.lineup.end_trial():
                self._retire(old, now)
        if self._drain_look_at is None or now < self._drain_look_at:
            return False
        draining = [(old, until) for old, until in self._draining if old.in_flight and now < until]
        for old, _ in self._draining:
            self._keep_interval(old)  # counts its answers since it was replaced
        self._draining = draining
        self._drain_look_at = now + DRAIN_LOOK_S if self._draining else None
        if self._draining:
            return False
        self.stall_ms = max(self.stall_ms, self.slot.take_stall_ms())
        return True

    def judge(self) -> HealthJudged | None:
        """Judges the health of the trial; None if no inference and no label came since the last judgement."""
        trial = self.state.record.trial
        serving = self.lineup.of(trial.digest) if trial is not None else None
        if serving is None or trial is None:
            return None
        judged = serving.observed.judged_inferences
        counted = (judged, judged.seen + judged.seen_labels + judged.refused, trial.generation)
        if self._judged == counted:
            return None
        self._judged = counted
        found = judge(judged, trial.policy, self._yardstick(trial))
        measured = judged.baseline if found.verdict is Verdict.PASS else None
        return HealthJudged(trial.digest, found.verdict, found.code, found.detail, measured)

    def _yardstick(self, trial: Assignment) -> Baseline | None:
        """The measurements of stable over the same time if it runs beside the trial, else from before the trial."""
        stable = self.state.record.stable
        beside = self.lineup.of(stable.digest) if stable is not None else None
        measured = beside.observed.judged_inferences.baseline if beside is not None else None
        if measured is not None and measured.inferences < MIN_STABLE_INFERENCES:
            measured = None
        return yardstick(measured, self.state.record.baseline, trial.policy.min_samples)

    def baseline(self) -> Baseline | None:
        """The measurements of the serving version in its newest inferences; None without inferences."""
        return self.slot.serving.observed.judged_inferences.baseline if self.slot.serving is not None else None

    def take_faults(self) -> Iterator[tuple[int, str, str]]:
        """Yields (release, code, words) of each fault that is new since the last call."""
        for serving in self.lineup.loaded:
            for code, words in serving.observed.take_faults().items():
                yield serving.assignment.manifest.release, code, words

    def take_labels(self, room: int) -> list[ModelInterval]:
        """Returns late labels and metrics, by version: at most `room` intervals of labels."""
        return self.slot.truth.take(room)

    def take_intervals(self) -> list[ModelInterval]:
        """Returns the intervals of inferences since the last call, by version."""
        intervals, self._intervals = self._intervals, []
        for each in self.lineup.loaded:
            try:
                interval = each.take_interval()
            except Exception:  # a fault in one version's measures must not lose those of others
                self.slot.dropped["intervals_skipped"] += 1
                continue
            intervals += [interval] if interval is not None else []
        return intervals

    def wake_at(self, *, online: bool) -> float:
        """Returns when this model must be called next; infinity for never."""
        fetching = self.download is not None and (online or not self.download.needs_link)
        fetch_at = self.download.wake_at() if self.download is not None and fetching else None
        due = math.inf
        shadow = self.lineup.shadow
        shadow_at = shadow.wake_at() if shadow is not None else None
        for at in (machine.deadline(self.state), self._drain_look_at, fetch_at, shadow_at, self.probes.wake_at()):
            if at is not None and at < due:
                due = at
        return due

    def message(self) -> ModelState:
        """Returns the state as a message."""
        stable = self.state.record.stable
        golden = self.probes.ended.get(stable.digest) if stable is not None else None
        proven = golden is not None and golden.passed and golden.digest in self.lineup.whole
        progress = self.download.progress if self.download is not None else None
        detail = self.detail or self._waits()
        facts = (self.state, self.slot.serving, self.code, proven, progress, golden)
        said = self._said
        if said is None or said[1].detail != detail or any(a is not b for a, b in zip(said[0], facts, strict=True)):
            self._said = said = (facts, self._message(progress, detail, golden, proven=proven))
        return said[1]

    def _waits(self) -> str:
        """Says in words how many inferences, or compared rows, a trial has of those that it needs; empty once it
        has enough.
        """
        trial = self.state.record.trial if isinstance(self.state, Trial) else None
        serving = self.lineup.of(trial.digest) if trial is not None else None
        if trial is None or serving is None:
            return ""
        judged, wanted = serving.observed.judged_inferences, trial.policy.min_samples
        if len(judged) < wanted:
            many = f" (requests; they had {judged.rows_seen:,} rows)" if judged.rows_seen > judged.seen else ""
            return f"{len(judged)} of {wanted} inferences{many}"
        compares = trial.policy.mode == "shadow" and judged.compared < wanted
        return f"{judged.compared} of {wanted} compared rows" if compares else ""

    def _message(
        self, progress: Progress | None, detail: str, golden: GoldenProbe | None, *, proven: bool
    ) -> ModelState:
        record, serving = self.state.record, self.slot.serving
        target = self.state.assignment if isinstance(self.state, Fetching | Probing | Ready) else None
        return ModelState(
            model=self.name,
            phase=self.phase,
            generation=machine.newest_generation(self.state),
            stable=record.stable.ref if record.stable else None,
            trial=record.trial.ref if record.trial else None,
            target=target.ref if target else None,
            progress=progress,
            serving=serving.assignment.digest if serving else "",
            stable_proven=proven,
            golden=golden,
            outcome=record.outcome,
            code=self.code,
            detail=detail,
        )


_PHASES: dict[type[State], Phase] = {
    Steady: "steady",
    Fetching: "fetching",
    Probing: "probing",
    Ready: "ready",
    Trial: "trial",
}
