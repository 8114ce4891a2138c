"""What an operator can do with an existing rollout: pause, resume, promote, abort, roll back, judge again.

Decides whether a step is allowed now, and that the state is still the one that the operator has seen. Refuses to
know HTTP.
"""

import time
from typing import Literal

from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.clock import stamp
from controller.reconcile.measured import stored_rows
from controller.reconcile.membership import facts_of, is_standing
from controller.rollout.endings import named_failures
from controller.rollout.late import judge_late, judge_named
from controller.rollout.model import FINAL, Rollout, Status
from controller.rollout.outcome import FAILURES, outcome_of
from controller.rollout.promote import promoted, why_not_promoted, why_not_unseen
from controller.rollout.verdict import RuleVerdict
from controller.state import State
from controller.verbs.audit import with_trace
from controller.verbs.labels import known_classes
from controller.verbs.rollouts import find, refuse_overlap

MAX_LATE_ROWS = 100_000
"""The newest captured rows with which a rollout is judged again."""
MAX_REASON_CHARS = 500
"""The longest reason of a person, which appears in lists and in the audit."""

Verb = Literal["pause", "resume", "promote", "abort", "rollback"]
_LEGAL_FROM: dict[Verb, frozenset[Status]] = {
    "pause": frozenset({"running"}),
    "resume": frozenset({"paused"}),
    "promote": frozenset({"running"}),
    "abort": frozenset({"proposed", "running", "paused"}),
    "rollback": frozenset({"running", "paused", "completed", "aborted"}),
}
_DONE_TO: dict[Verb, str] = {
    "pause": "paused",
    "resume": "resumed",
    "promote": "promoted",
    "abort": "aborted",
    "rollback": "rolled back",
}
_FIRST: dict[Status, str] = {
    "proposed": "somebody has to approve it first",
    "running": "it is under way",
    "paused": "resume, abort or roll it back",
    "aborting": "wait until it has ended",
    "rolling_back": "wait until it has ended",
    "completed": "it has ended; `edgeward rollout rollback {id}` can still take it back",
    "aborted": "it has ended; `edgeward rollout rollback {id}` can still take it back",
    "rolled_back": "it has ended; `edgeward rollout start {model}` begins another one",
}
"""What to do if a step does not fit the status."""


class Seen(Message, frozen=True):
    """What an operator has seen before a step, and the reason for it. Omitted fields are not compared."""

    status: str = ""
    """The status that was shown."""
    wave: int | None = None
    """The wave that was shown, from 0 on."""
    reason: str = ""
    """The reason, which is stored with the rollout and in the audit."""


NOTHING_SEEN = Seen()


def steer(state: State, name: str, verb: Verb, *, seen: Seen = NOTHING_SEEN, actor: str) -> Rollout:
    """Changes the status or the wave of a rollout.

    BadInput `unknown_rollout`, `rollout_conflict` (also if it differs from what was seen), `no_way_back`,
    `request_invalid`.
    """
    rollout = find(state, name)
    _refuse_unseen(rollout, seen)
    if verb == "promote" and seen.wave is None and rollout.status == "running":
        _refuse_blind(state, rollout)
    changed = steered(state, rollout, verb, reason_of(state, rollout, verb, actor, seen.reason))
    state.save_rollouts(changed)
    words = _done(rollout, changed) + (f"; {seen.reason}" if seen.reason else "")
    state.journal.audit(stamp(), actor, f"rollout {verb}", name, with_trace(state, name, words))
    state.poke()
    return changed


def reason_of(state: State, rollout: Rollout, verb: Verb, actor: str, reason: str) -> str:
    """Returns the rollout's reason after a step: who took it and why, and which devices have failed."""
    if len(reason) > MAX_REASON_CHARS:
        raise BadInput(Code.REQUEST_INVALID, f"a reason of {len(reason)} characters, at most {MAX_REASON_CHARS}")
    failures = named_failures(rollout, state.world.durable.endings.get(rollout.id, {}))
    why = f": {reason}" if reason else ""
    return f"{verb} by {actor}{why}" + (f"; failed: {failures}" if failures else "")


def _refuse_unseen(rollout: Rollout, seen: Seen) -> None:
    """Raises BadInput `rollout_conflict` if a rollout has changed since the operator saw it."""
    now = f"it is {rollout.status}, wave {rollout.wave + 1}"
    if seen.status not in ("", rollout.status) or seen.wave not in (None, rollout.wave):
        was = seen.status or rollout.status
        wave = rollout.wave if seen.wave is None else seen.wave
        raise BadInput(
            Code.ROLLOUT_CONFLICT,
            f"{rollout.id} was {was}, wave {wave + 1}, when you looked; now {now}: look at it again",
        )


def _refuse_blind(state: State, rollout: Rollout) -> None:
    """Raises BadInput `rollout_conflict` if no wave was named, and no device of the present one has decided."""
    now = time.time()
    if words := why_not_unseen(rollout, facts_of(state.world, rollout, now), now):
        raise BadInput(Code.ROLLOUT_CONFLICT, f"{rollout.id}, wave {rollout.wave + 1}: {words}")


def may_take(verb: Verb, rollout: Rollout) -> bool:
    """Returns whether the status of a rollout allows a step."""
    return rollout.status in _LEGAL_FROM[verb]


def steered(state: State, rollout: Rollout, verb: Verb, reason: str) -> Rollout:
    """Returns the rollout after a step, without changing anything yet. BadInput as `steer`."""
    if not may_take(verb, rollout):
        first = _FIRST[rollout.status].format(id=rollout.id, model=rollout.model)
        raise BadInput(
            Code.ROLLOUT_CONFLICT,
            f"{rollout.id} is {rollout.status}: it cannot be {_DONE_TO[verb]}; {first}",
        )
    return _steered(state, rollout, verb, reason)


def _done(before: Rollout, after: Rollout) -> str:
    """Returns the result of a step, for the audit."""
    what = f"{after.model} v{after.release}"
    if after.wave != before.wave:
        return f"{what}: wave {before.wave + 1} has ended, wave {after.wave + 1} of {after.final_wave + 1} begins"
    return f"{what}: it was {before.status} and is {after.status.replace('_', ' ')}"


def _steered(state: State, rollout: Rollout, verb: Verb, reason: str) -> Rollout:
    match verb:
        case "pause":
            return replace(rollout, status="paused", reason=reason)
        case "resume":
            known = dict.fromkeys((*rollout.acknowledged, *failed_now(state, rollout)))
            return replace(
                rollout,
                status="running",
                reason="",
                acknowledged=tuple(known),
                evidence_since=time.time(),
                stopped_waves=(),
            )
        case "promote":
            now = time.time()
            if words := why_not_promoted(rollout, facts_of(state.world, rollout, now), now):
                raise BadInput(Code.ROLLOUT_CONFLICT, f"{rollout.id}, wave {rollout.wave + 1}: {words}")
            return promoted(rollout, now)
        case "abort":
            end: Status = "aborted" if rollout.status == "proposed" else "aborting"
            return replace(rollout, status=end, reason=reason)
        case "rollback":
            _refuse_rollback(state, rollout)
            return replace(rollout, status="rolling_back", reason=reason)


def _refuse_rollback(state: State, rollout: Rollout) -> None:
    if not any(member.previous_release for member in rollout.members if member.wave <= rollout.wave):
        raise BadInput(
            Code.NO_WAY_BACK, f"{rollout.id}: no device had confirmed a version before; roll another release out"
        )
    if rollout.status in FINAL:
        refuse_overlap(state, rollout.model)
        if rollout.status == "completed" and not is_standing(state.world, rollout):
            raise BadInput(Code.ROLLOUT_CONFLICT, f"{rollout.id}: another rollout of {rollout.model} has come since")


def judge_again(state: State, name: str, *, revert: bool, actor: str) -> tuple[RuleVerdict, ...]:
    """Returns what rules about labels, numbers and classes say now that more data have come.

    With `revert` a failed rule rolls the rollout back. BadInput as `steer`.
    """
    rollout = find(state, name)
    rows = state.captures.newest_of(rollout.model, rollout.began_at, MAX_LATE_ROWS)
    classes = known_classes(state, rollout.model, rollout.release)
    verdicts = (*judge_late(rollout, rows, classes), *judge_named(rollout, stored_rows(state.world, rollout)))
    state.journal.audit(stamp(), actor, "rollout judge", name, "; ".join(verdict.detail for verdict in verdicts)[:500])
    if revert and any(verdict.word == "fail" for verdict in verdicts):
        steer(state, name, "rollback", actor=actor)
    return verdicts


def failed_now(state: State, rollout: Rollout) -> list[str]:
    """Returns devices that have failed, as far as is known now."""
    now = time.time()
    facts = facts_of(state.world, rollout, now)
    members = rollout.members
    return [m.device for m in members if outcome_of(rollout, m, facts[m.device], now) in FAILURES]
