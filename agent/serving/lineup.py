"""Which versions of a model are loaded side by side, and which one answers: stable, a trial, a shadow.

Decides what is loaded, kept, reused and dropped when the machine orders `Load`, and what happens without enough
memory. Refuses to know why the machine ordered it.
"""

from collections import Counter
from collections.abc import Mapping
from weakref import ReferenceType

from agent.core.model import Assignment
from agent.flash.store import Store
from agent.ports import ProbeReport, Runtime, Session
from agent.serving.distribution import Distribution
from agent.serving.plan import Plan
from agent.serving.serving import Serving
from agent.serving.shadow import Shadow
from agent.serving.slot import ModelSlot
from agent.serving.split import Split
from contract.desired import TrialPolicy
from contract.errors import Code, EdgewardError, WorldError
from contract.manifest import Manifest
from contract.tensors import Array, decode_tensors

MAX_KNOWN_NEEDS = 8
"""The most versions whose memory use is kept."""
ROOM = 1.3
"""A session is loaded beside another if its size times this factor is free."""


class Lineup:
    """The loaded versions of one model. `arrange` and `end_trial` return the replaced versions."""

    def __init__(self, slot: ModelSlot, runtime: Runtime, store: Store, dropped: Counter[str]) -> None:
        self._slot = slot
        self._runtime = runtime
        self._store = store
        self._dropped = dropped
        self.shadow: Shadow | None = None
        self.memory_mb: dict[str, float] = {}
        """MB that versions need, by digest, as probed since boot; others count with half the manifest's limit."""
        self.whole: set[str] = set()
        """Digests of versions that were intact on flash at the last test since boot."""
        self.distrusted: ReferenceType[Session] | None = None
        """A session with other answers to its golden set: it is not used again, and its version is loaded again."""

    @property
    def loaded(self) -> tuple[Serving, ...]:
        """All versions in memory."""
        shadow = (self.shadow.candidate,) if self.shadow is not None else ()
        return (*self._slot.versions, *shadow)

    def of(self, digest: str) -> Serving | None:
        """Returns the loaded version of this digest; None if there is none."""
        return next((each for each in self.loaded if each.assignment.digest == digest), None)

    def arrange(self, plan: Plan) -> list[Serving]:
        """Loads missing versions and swaps them in atomically; returns the versions that are no longer needed.

        WorldError if a version that must answer is damaged or cannot be loaded; then the versions before continue to
        answer.
        """
        before = self.loaded
        answers = self._required(plan.answers, plan)
        candidate = self._required(plan.shadow, plan)
        spare = self._optional(plan.beside, plan)
        reverse = spare or self._optional(plan.reverse, plan)
        self._compare(plan, (answers, candidate, spare, reverse))
        self._install(plan, answers, spare)
        if (repeats := candidate or (reverse if plan.reverse is not None else None)) is not None:
            self._begin_shadow(repeats, plan)
        now = self.loaded
        return [each for each in before if each not in now]

    def _compare(self, plan: Plan, versions: tuple[Serving | None, ...]) -> None:
        """Prepares both sides of a trial: stable is judged by later inferences only, and refusals by what stable
        accepts.
        """
        if plan.stable is None:
            return
        for each in {id(version): version for version in versions if version is not None}.values():
            if each.assignment.digest == plan.stable.digest:
                each.observed.judge_anew()
            else:
                each.predecessor = _unlike(plan.stable.manifest, each.assignment.manifest)

    def end_trial(self) -> list[Serving]:
        """Removes the versions beside a trial that has ended; returns them."""
        before = self.loaded
        for each in before:
            each.predecessor = None
        self._slot.split = None
        self._slot.fallback = None
        self._end_shadow()
        return [each for each in before if each not in self.loaded]

    def _install(self, plan: Plan, answers: Serving | None, spare: Serving | None) -> None:
        """Swaps versions in such an order that a request can always be answered."""
        slot, trial = self._slot, plan.answers
        self._end_shadow()
        if spare is not None:
            slot.fallback = spare
        divided = trial is not None and spare is not None and trial.policy.traffic_share < 1
        slot.split = Split(float(trial.policy.traffic_share), trial.digest) if divided and trial is not None else None
        slot.swap(answers)
        slot.fallback = spare

    def _begin_shadow(self, candidate: Serving, plan: Plan) -> None:
        trial, slot = plan.shadow or plan.answers, self._slot
        assert trial is not None
        self.shadow = Shadow(candidate, trial.policy, perf_s=slot.perf_s, dropped=self._dropped)
        slot.watchers = (*slot.watchers, self.shadow)

    def _end_shadow(self) -> None:
        if self.shadow is not None:
            self._slot.watchers = tuple(each for each in self._slot.watchers if each is not self.shadow)
            self.shadow = None

    def _optional(self, assignment: Assignment | None, plan: Plan) -> Serving | None:
        """Loads stable beside a trial. A trial that answers a part of the requests requires it; a trial in a worker
        does not.
        """
        try:
            return self._required(assignment, plan)
        except EdgewardError:
            if plan.answers is not None and plan.answers.policy.traffic_share < 1:
                raise
            return None  # the trial serves without it; requests that the trial cannot answer fail

    def _required(self, assignment: Assignment | None, plan: Plan) -> Serving | None:
        if assignment is None:
            return None
        known = self.of(assignment.digest)
        if known is not None and self.distrusted is not None and self.distrusted() is known.session:
            return self._load(assignment, plan)
        if known is not None and known.assignment == assignment:
            return known
        if known is not None and _runs_alike(known.assignment.policy, assignment.policy):
            return self._slot.prepare(assignment, known.session, known.distribution, known.streams)
        return self._load(assignment, plan)

    def _load(self, assignment: Assignment, plan: Plan) -> Serving:
        artifact = assignment.manifest.artifact
        if not self._store.has(artifact):
            raise WorldError(Code.DIGEST_MISMATCH, f"blob {artifact.sha256[:12]} is damaged or missing on disk")
        unloaded = self._make_room(assignment, plan)
        try:
            session = self._runtime.load(self._store.path(artifact), assignment.manifest, assignment.policy)
        except WorldError:
            if unloaded is not None:
                self._slot.swap(self._required(unloaded, Plan(unloaded)))
            raise
        return self._slot.prepare(assignment, session, self._distribution(assignment))

    def probed(self, report: ProbeReport) -> None:
        """Stores how much memory a version needs."""
        self.memory_mb[report.digest] = report.memory_mb
        while len(self.memory_mb) > MAX_KNOWN_NEEDS:
            del self.memory_mb[next(iter(self.memory_mb))]

    def golden(self, assignment: Assignment) -> bytes:
        """Returns the golden set of a version. EdgewardError if it is damaged or missing."""
        return self._store.read(assignment.manifest.golden.blob)

    def test_flash(self, assignment: Assignment) -> bool:
        """Tests whether all blobs of a version are intact on flash, and notes the result."""
        try:
            self.golden(assignment)
            whole = self._store.has(assignment.manifest.artifact)
        except EdgewardError:
            whole = False
        self.whole = {*self.whole, assignment.digest} if whole else self.whole - {assignment.digest}
        return whole

    def _make_room(self, assignment: Assignment, plan: Plan) -> Assignment | None:
        """Makes room for a session; returns the version that was unloaded for it, or None.

        WorldError `memory_short` if another version must stay or policy does not allow unloading it.
        """
        needed_mb = ROOM * self.memory_mb.get(assignment.digest, assignment.manifest.limits.memory_mb / 2)
        free_mb = self._runtime.free_mb()
        serving = self._slot.serving
        if free_mb >= needed_mb or serving is None:
            return None
        alone = plan.beside is None and plan.shadow is None and assignment is plan.answers
        if not alone or not assignment.policy.unload_first:
            words = (
                f"v{assignment.manifest.release} needs {needed_mb:.0f} MB beside what serves, {free_mb:.0f} are free"
            )
            raise WorldError(Code.MEMORY_SHORT, words)
        going = self.loaded
        self._slot.swap(None)
        self._slot.fallback = None
        self._end_shadow()
        for each in going:
            each.unload()
        self._dropped["swaps_unloaded_first"] += 1
        self._runtime.trim()
        return serving.assignment

    def _distribution(self, assignment: Assignment) -> Distribution:
        blob, store = assignment.manifest.golden.blob, self._store

        def load() -> Mapping[str, Array]:
            try:
                return decode_tensors(store.read(blob))
            except EdgewardError:
                return {}  # with a damaged golden set nothing is counted; the version still answers

        return Distribution(assignment.manifest, load, self._slot.lock)


def _unlike(stable: Manifest, trial: Manifest) -> Manifest | None:
    """Returns stable's manifest if the trial does not accept exactly the same rows; else None."""
    before, after = (
        (each.inputs, each.columns, each.nan, each.required, each.missing_text) for each in (stable, trial)
    )
    return stable if before != after else None


def _runs_alike(before: TrialPolicy, after: TrialPolicy) -> bool:
    """Whether a session that was loaded under one policy fits another policy."""
    loaded, asked = ((each.isolated, each.threads, each.providers) for each in (before, after))
    return loaded == asked
