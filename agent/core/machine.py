"""The update machine of one model: ``step(state, event, now) -> (state, commands)``.

Five laws, each a test: `step` is total; a changed record is saved first; there is one commit point; every event
names its digest or generation; time is an argument. Refuses to know how anything is performed.
"""

from typing import assert_never

import msgspec

from agent.core.commands import Activate, Command, Fetch, Load, Probe, Prune, Report, Save
from agent.core.events import (
    ActivationAllowed,
    ActivationHeld,
    DesiredChanged,
    DesiredRefused,
    DesiredWithdrawn,
    DirectorChanged,
    Event,
    FetchDone,
    FetchFailed,
    HealthJudged,
    ModelBroken,
    ModelReady,
    TimerFired,
)
from agent.core.limits import MAX_FETCH_ATTEMPTS, PROBE_GRACE_S, backoff_s
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
from contract.errors import STABLE_AGAIN, Code
from contract.interface import interface_change
from contract.messages import Result, UpdateOutcome

Step = tuple[State, tuple[Command, ...]]


def resume(record: Record, now: float) -> Step:
    """Returns what to do after power-up, from the durable record alone."""
    if record.trial is None:
        return Steady(record), (Load(record.stable), Report())
    if record.trial_boots >= record.trial.policy.boot_budget:
        return _roll_back(record, record.trial, Code.BOOT_BUDGET_SPENT, f"{record.trial_boots} boots in trial")
    counted = msgspec.structs.replace(record, trial_boots=record.trial_boots + 1)
    return _enter_trial(counted, record.trial, now)


def deadline(state: State) -> float | None:
    """Returns when `TimerFired` is due, on the clock of `now`; None if the machine waits for nothing."""
    match state:
        case Steady():
            return None
        case Fetching(retry_at=retry_at) | Ready(retry_at=retry_at):
            return retry_at
        case Probing(give_up_at=give_up_at):
            return give_up_at
        case Trial(record) if _is_shadowed(record):
            return None
        case Trial(soak_until=soak_until, give_up_at=give_up_at, verdict=verdict):
            return min(soak_until, give_up_at) if verdict is Verdict.PASS else give_up_at
        case _:
            assert_never(state)


def step(state: State, event: Event, now: float) -> Step:
    """Handles one event. For an event that does not fit the state, returns the same state and no commands."""
    match event:
        case DesiredChanged() | DesiredRefused() | DesiredWithdrawn() | DirectorChanged():
            return _told(state, event, now)
        case _:
            pass
    match state:
        case Steady():
            return _steady(state, event)
        case Fetching():
            return _fetching(state, event, now)
        case Probing():
            return _probing(state, event, now)
        case Ready():
            return _ready(state, event, now)
        case Trial():
            return _trial(state, event, now)
        case _:
            assert_never(state)


Told = DesiredChanged | DesiredRefused | DesiredWithdrawn | DirectorChanged


def _told(state: State, event: Told, now: float) -> Step:
    """Handles the event of a document, in any state."""
    match event:
        case DesiredChanged(assignment):
            return _desired(state, assignment, now)
        case DesiredRefused(assignment, code, detail):
            return _refused(state, assignment, (code, detail), now)
        case DesiredWithdrawn(generation):
            return _withdrawn(state, generation)
        case DirectorChanged():
            return _begin_numbering(state)
        case _:
            assert_never(event)


def newest_generation(state: State) -> int:
    """Returns the newest generation that the machine has decided or now handles."""
    match state:
        case Fetching(record, assignment) | Probing(record, assignment) | Ready(record, assignment):
            return max(record.generation, assignment.generation)
        case _:
            return state.record.generation


def _desired(state: State, wanted: Assignment, now: float) -> Step:
    record = state.record
    if wanted.generation <= newest_generation(state):
        return state, ()
    if record.trial is not None and wanted.digest == record.trial.digest:
        return _adopt_trial(state, record.trial, wanted, now)
    if _is_stable(record, wanted):
        return _adopt_stable(record, wanted)
    if why := _other_interface(record, wanted):
        return _refused(state, wanted, (Code.SIGNATURE_CHANGED, why), now)
    if record.trial is not None:
        settled, commands = _roll_back(record, record.trial, Code.SUPERSEDED, f"by generation {wanted.generation}")
        return Fetching(settled.record, wanted), (*commands[:-1], Fetch(wanted), Report())
    return Fetching(record, wanted), (Fetch(wanted), Report())


def _other_interface(record: Record, wanted: Assignment) -> str:
    """Says in words why callers of stable would be refused by the wanted version; empty if the policy allows that."""
    if record.stable is None or wanted.policy.signature == "may_change":
        return ""
    return interface_change(record.stable.manifest, wanted.manifest)


def _adopt_trial(state: State, trial: Assignment, wanted: Assignment, now: float) -> Step:
    """Adopts a new policy for the version on trial. A policy that changes who answers begins a new trial."""
    if _lineup_of(trial) != _lineup_of(wanted):
        return _await_activation(state.record, wanted, now)
    record = msgspec.structs.replace(state.record, trial=wanted, generation=wanted.generation)
    if not isinstance(state, Trial):  # the former policy asked for its promotion, the new one does not
        return _enter_trial(record, wanted, now)
    return msgspec.structs.replace(state, record=record), (Save(record), Report())


def _lineup_of(assignment: Assignment) -> tuple[object, ...]:
    policy = assignment.policy
    return policy.mode, policy.traffic_share, policy.isolated


def _refused(state: State, wanted: Assignment, why: tuple[str, str], now: float) -> Step:
    """Records a generation without a trial. The running versions continue; the machine stops what an older document
    asked for.
    """
    if wanted.generation <= newest_generation(state):
        return state, ()
    record = msgspec.structs.replace(state.record, generation=wanted.generation)
    record = _with_outcome(record, wanted, "rejected", *why)
    if record.trial is None and not _is_repair(state):
        return Steady(record), (Save(record), Prune(), Report(*why))
    if isinstance(state, Ready) and record.trial is not None:
        return _enter_trial(record, record.trial, now)
    return msgspec.structs.replace(state, record=record), (Save(record), Report(*why))


def _is_repair(state: State) -> bool:
    """Whether stable is being fetched again."""
    return isinstance(state, Fetching | Probing) and _is_stable(state.record, state.assignment)


def _is_stable(record: Record, assignment: Assignment) -> bool:
    return record.stable is not None and record.stable.digest == assignment.digest


def _adopt_stable(record: Record, wanted: Assignment) -> Step:
    settled = msgspec.structs.replace(record, generation=wanted.generation, stable=wanted, trial=None, trial_boots=0)
    if record.trial is None:
        return Steady(settled), (Save(settled), Prune(), Report())
    settled = _with_outcome(settled, record.trial, "rolled_back", Code.SUPERSEDED, STABLE_AGAIN)
    return Steady(settled), (Save(settled), Load(wanted), Prune(), Report())


def _withdrawn(state: State, generation: int) -> Step:
    record = state.record
    idle = isinstance(state, Steady) and record.stable is None
    if generation <= newest_generation(state) or idle:
        return state, ()
    empty = Record(generation=generation, outcome=record.outcome)
    return Steady(empty), (Save(empty), Load(None), Prune(), Report())


def _begin_numbering(state: State) -> Step:
    """Forgets all generations, because a stolen key may have raised them: every generation of the new director is
    newer.
    """
    begun = state
    if isinstance(state, Fetching | Probing | Ready):
        begun = msgspec.structs.replace(state, assignment=msgspec.structs.replace(state.assignment, generation=0))
    if not state.record.generation:
        return begun, ()
    record = msgspec.structs.replace(state.record, generation=0)
    return msgspec.structs.replace(begun, record=record), (Save(record),)


def _steady(state: Steady, event: Event) -> Step:
    match event:
        case ModelBroken(digest, code, detail) if state.record.stable and digest == state.record.stable.digest:
            if state.repaired:
                return state, (Report(code, detail),)
            return Fetching(state.record, state.record.stable), (Fetch(state.record.stable), Report(code, detail))
        case _:
            return state, ()


def _fetching(state: Fetching, event: Event, now: float) -> Step:
    wanted = state.assignment
    match event:
        case FetchDone(digest) if digest == wanted.digest:
            give_up_at = now + wanted.manifest.limits.load_s + PROBE_GRACE_S
            return Probing(state.record, wanted, give_up_at), (Probe(wanted), Report())
        case FetchFailed(digest, code, detail, retryable, spread) if digest == wanted.digest:
            if retryable and state.attempt + 1 < MAX_FETCH_ATTEMPTS:
                retry_at = now + backoff_s(state.attempt, spread)
                waiting = msgspec.structs.replace(state, attempt=state.attempt + 1, retry_at=retry_at)
                return waiting, (Report(code, detail),)
            return _reject(state.record, wanted, code, detail)
        case TimerFired() if state.retry_at is not None and now >= state.retry_at:
            return msgspec.structs.replace(state, retry_at=None), (Fetch(wanted),)
        case _:
            return state, ()


def _probing(state: Probing, event: Event, now: float) -> Step:
    wanted = state.assignment
    match event:
        case ModelReady(digest) if digest == wanted.digest:
            if _is_stable(state.record, wanted):  # stable was fetched again
                return Steady(state.record, repaired=True), (Load(wanted), Report())
            return _await_activation(state.record, wanted, now)
        case ModelBroken(digest, code, detail) if digest == wanted.digest:
            return _reject(state.record, wanted, code, detail)
        case TimerFired() if now >= state.give_up_at:
            return _reject(state.record, wanted, Code.PROBE_TIMEOUT, "the probe never answered")
        case _:
            return state, ()


def _await_activation(record: Record, wanted: Assignment, now: float) -> Step:
    return Ready(record, wanted, now), (Activate(wanted, now),)


def _ready(state: Ready, event: Event, now: float) -> Step:
    wanted, change = state.assignment, msgspec.structs.replace
    match event:
        case ActivationAllowed(digest, baseline) if digest == wanted.digest:
            return _begin_trial(state.record, wanted, baseline, now)
        case ActivationHeld(digest, wait_s, code, detail) if digest == wanted.digest:
            held = change(state, retry_at=now + wait_s, code=code)
            return held, (Report(code, detail),) if code != state.code else ()
        case TimerFired() if state.retry_at is not None and now >= state.retry_at:
            return change(state, retry_at=None), (Activate(wanted, state.since),)
        case _:
            return state, ()


def _trial(state: Trial, event: Event, now: float) -> Step:
    record, trial = state.record, state.record.trial
    assert trial is not None
    match event:
        case ModelBroken(digest, code, detail) if digest == trial.digest:
            return _roll_back(record, trial, code, detail)
        case HealthJudged(digest, Verdict.FAIL, code, detail) if digest == trial.digest:
            return _roll_back(record, trial, code, detail)
        case HealthJudged(digest, verdict, code, detail, measured) if digest == trial.digest:
            judged = Trial(record, state.soak_until, state.give_up_at, verdict, measured, code, detail)
            return _judge_soak(state, judged, trial, now)
        case TimerFired():
            return _judge_soak(state, state, trial, now)
        case _:
            return state, ()


def _judge_soak(before: Trial, state: Trial, trial: Assignment, now: float) -> Step:
    if _is_shadowed(state.record):
        return before, ()
    if state.verdict is Verdict.PASS and now >= state.soak_until:
        shadow = trial.policy.mode == "shadow"
        return _shadowed(state, trial) if shadow else _confirm(state.record, trial, state.measured)
    if now >= state.give_up_at:
        detail = state.detail or "too few inferences to judge"
        return _roll_back(state.record, trial, state.code or Code.TRIAL_INCONCLUSIVE, detail)
    changed = state.code != before.code
    return (before if state == before else state), (Report(state.code, state.detail),) if changed else ()


def _begin_trial(record: Record, wanted: Assignment, baseline: Baseline | None, now: float) -> Step:
    stable = yardstick(baseline, record.baseline, wanted.policy.min_samples)
    begun = msgspec.structs.replace(record, generation=wanted.generation, trial=wanted, trial_boots=1, baseline=stable)
    return _enter_trial(begun, wanted, now)


def _enter_trial(record: Record, trial: Assignment, now: float) -> Step:
    state = Trial(record, now + float(trial.policy.soak_s), now + float(trial.policy.give_up_s))
    return state, (Save(record), Load(trial), Report())


def _confirm(record: Record, trial: Assignment, measured: Baseline | None) -> Step:
    good = Record(generation=record.generation, stable=trial, baseline=measured)
    good = _with_outcome(good, trial, "confirmed", "", "")
    return Steady(good), (Save(good), Prune(), Report())


def _shadowed(state: Trial, trial: Assignment) -> Step:
    """A shadow has passed; it continues beside stable until a document promotes or replaces it."""
    record = msgspec.structs.replace(state.record, trial_boots=0)
    record = _with_outcome(record, trial, "shadowed", "", "")
    return msgspec.structs.replace(state, record=record), (Save(record), Report())


def _is_shadowed(record: Record) -> bool:
    outcome, trial = record.outcome, record.trial
    if trial is None or outcome is None:
        return False
    return outcome.result == "shadowed" and outcome.generation == trial.generation


def _roll_back(record: Record, trial: Assignment, code: str, detail: str) -> Step:
    back = Record(generation=record.generation, stable=record.stable, baseline=record.baseline)
    back = _with_outcome(back, trial, "rolled_back", code, detail)
    return Steady(back), (Save(back), Load(back.stable), Prune(), Report())


def _reject(record: Record, wanted: Assignment, code: str, detail: str) -> Step:
    repairing = _is_stable(record, wanted)
    decided = msgspec.structs.replace(record, generation=max(record.generation, wanted.generation))
    decided = _with_outcome(decided, wanted, "rejected", code, detail)
    return Steady(decided, repaired=repairing), (Save(decided), Prune(), Report())


def _with_outcome(record: Record, version: Assignment, result: Result, code: str, detail: str) -> Record:
    outcome = UpdateOutcome(
        generation=version.generation, version=version.ref, result=result, code=str(code), detail=str(detail)
    )
    return msgspec.structs.replace(record, outcome=outcome)
