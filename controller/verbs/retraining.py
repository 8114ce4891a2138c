"""Retraining as people and workers use it: policies, proposals, decisions, and each attempt from claim to end.

Decides nothing about when to retrain: that is `controller.retraining.decide`. Every change of an attempt is durable and
in the audit before it is reported. Refuses to know how a pipeline runs, and HTTP.
"""

import logging
import secrets
import time
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from controller.clock import stamp
from controller.gates.champion import GATE, gain_of
from controller.gates.evidence import ChampionRule
from controller.registry.version import Version
from controller.retraining.decide import decide, died
from controller.retraining.model import Decision, Proposal, Retrained, Retraining, Status
from controller.retraining.policy import RetrainingPolicy
from controller.rollout.model import person
from controller.state import State
from controller.trust.access import Subject
from controller.verbs.audit import CONTROLLER
from controller.verbs.retraining_facts import alarms, facts_of

_TABLE = "retraining"
MAX_LOG_CHARS = 4_000
"""Characters of the end of a pipeline's output that are kept: the worker has all of it."""

_log = logging.getLogger("edgeward.retraining")


def policies_of(state: State) -> dict[str, RetrainingPolicy]:
    """Every retraining policy, by model."""
    return {model: convert_kept(doc, RetrainingPolicy) for model, doc in state.store.all(_TABLE).items()}


def policy_of(state: State, model: str) -> RetrainingPolicy:
    """Returns the policy of one model. BadInput `unknown_retraining` if there is none."""
    found = policies_of(state).get(model)
    if found is None:
        words = f"no retraining policy holds for {model[:64]!r}: edgeward retrain policy {model[:64]} --set FILE"
        raise BadInput(Code.UNKNOWN_RETRAINING, words)
    return found


def set_policy(state: State, model: str, policy: RetrainingPolicy, *, actor: str) -> RetrainingPolicy:
    """Sets a policy. BadInput `unknown_model`."""
    state.registry.versions(model)
    state.store.put(_TABLE, {model: msgspec.to_builtins(policy)})
    state.journal.audit(stamp(), actor, "retraining set", model, msgspec.json.encode(policy).decode()[:500])
    state.retraining_look_at.pop(model, None)
    state.poke()
    return policy


def remove_policy(state: State, model: str, *, actor: str) -> None:
    """Removes a policy: nothing is proposed any more. BadInput `unknown_retraining`."""
    policy_of(state, model)
    state.store.delete(_TABLE, model)
    state.journal.audit(stamp(), actor, "retraining remove", model)


def look(state: State, now: float) -> None:
    """Decides for every model whose policy is due, and ends attempts whose worker died or hangs."""
    for model, policy in policies_of(state).items():
        for attempt in state.retrainings.attempts(model):
            if why := died(policy, attempt, now):
                _end(state, attempt, "failed", why, now, actor=CONTROLLER)
        if now >= state.retraining_look_at.get(model, 0.0):
            state.retraining_look_at[model] = now + policy.look_s
            try:
                _decide(state, model, policy, alarms(state, model), now, actor=CONTROLLER)
            except BadInput as error:
                _log.debug("%s: nothing to decide yet: %s", model, error)


def propose(state: State, model: str, proposal: Proposal, *, actor: str) -> Decision:
    """Decides at once about what a person or an alert proposes. BadInput `unknown_retraining`, `not_serving`."""
    policy = policy_of(state, model)
    state.journal.audit(stamp(), actor, "retraining propose", model, f"{proposal.trigger}: {proposal.detail}")
    decision = _decide(state, model, policy, (proposal,), time.time(), actor=actor)
    if decision is None:
        words = f"the policy of {model} does not listen to alerts: set triggers.alerts"
        raise BadInput(Code.REQUEST_INVALID, words)
    return decision


def _decide(
    state: State, model: str, policy: RetrainingPolicy, asked: tuple[Proposal, ...], now: float, *, actor: str
) -> Decision | None:
    decision = decide(policy, facts_of(state, model, policy, asked, now), now)
    if decision is None:
        return None
    if decision.word in ("train", "ask"):
        decision = _begin(state, decision, actor=actor)
    is_new = state.retrainings.note(decision)
    if is_new and decision.word == "wait" and decision.reason != "under_way":
        state.events.tell_held_back(decision)
        state.journal.audit(stamp(), CONTROLLER, "retraining held back", model, decision.detail)
    return decision


def _begin(state: State, decision: Decision, *, actor: str) -> Decision:
    name = f"t-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(decision.at))}-{secrets.token_hex(2)}"
    decision = replace(decision, retraining=name)
    status: Status = "proposed" if decision.word == "ask" else "approved"
    attempt = Retraining(
        id=name, model=decision.model, champion=decision.champion, status=status, decision=decision,
        created_at=decision.at,
    )  # fmt: skip
    _save(state, attempt, f"retraining {status}", decision.detail, actor=actor)
    return decision


def find(state: State, name: str) -> Retraining:
    """Returns one attempt. BadInput `unknown_retraining`."""
    found = state.retrainings.find(name)
    if found is None:
        raise BadInput(Code.UNKNOWN_RETRAINING, f"no retraining {name[:64]!r}: `edgeward retrain list` shows all")
    return found


def approve(state: State, name: str, *, subject: Subject) -> Retraining:
    """Approves a proposed training, so that it may begin. BadInput `retraining_conflict`; `four_eyes` for the person
    who proposed it.
    """
    attempt = _standing(state, name, "proposed")
    asked = any(each.trigger == "person" for each in attempt.decision.proposals)
    if asked and subject.local:
        words = f"a person asked for {name}: somebody else approves it, with a token of their own"
        raise BadInput(Code.FOUR_EYES, words)
    approved = replace(attempt, status="approved", approved_by=person(subject.name))
    return _save(state, approved, "retraining approve", attempt.model, actor=subject.name)


def decline(state: State, name: str, reason: str, *, actor: str) -> Retraining:
    """Ends an attempt that no worker has begun. BadInput `retraining_conflict`."""
    attempt = _standing(state, name, "proposed", "approved")
    return _end(state, attempt, "declined", reason or f"declined by {actor}", time.time(), actor=actor)


def claim(state: State, worker: str, models: Sequence[str], *, actor: str) -> Retraining | None:
    """Gives the oldest approved attempt for one of the models to a worker; None if there is none."""
    waiting = [each for each in state.retrainings.attempts() if each.status == "approved" and each.model in models]
    if not waiting:
        return None
    now = time.time()
    running = replace(waiting[0], status="running", worker=worker, began_at=now, heard_at=now)
    return _save(state, running, "retraining begin", f"{running.model} on {worker}", actor=actor)


def hear(state: State, name: str, worker: str, step: str) -> Retraining:
    """Notes that a worker is alive and in which step. BadInput `retraining_conflict` if the attempt has ended."""
    attempt = _of_worker(state, name, worker)
    heard = replace(attempt, heard_at=time.time(), step=step or attempt.step)
    state.retrainings.save(heard)
    return heard


def fail(state: State, name: str, worker: str, *, step: str, detail: str, log: str, actor: str) -> Retraining:
    """Ends an attempt whose pipeline failed. BadInput `retraining_conflict`."""
    attempt = replace(_of_worker(state, name, worker), step=step, log=log[-MAX_LOG_CHARS:])
    return _end(state, attempt, "failed", detail, time.time(), actor=actor)


def begin_push(state: State, name: str, model: str) -> tuple[Retraining, ChampionRule]:
    """Returns (the running attempt, what its candidate must show). BadInput `retraining_conflict`."""
    attempt = _standing(state, name, "running")
    if attempt.model != model:
        raise BadInput(Code.RETRAINING_CONFLICT, f"{name} is about {attempt.model}, not {model[:64]!r}")
    return attempt, policy_of(state, model).champion


def end_push(state: State, told: Retrained, version: Version, *, is_new: bool) -> Retraining:
    """Ends an attempt by the gates' verdicts on its candidate."""
    verdict = next((each for each in version.gates if each.gate == GATE), None)
    passed = version.passed and is_new
    said = [f"{each.gate}: {each.detail}" for each in version.gates if not each.passed] if is_new else []
    again = f"the candidate has the same bytes as v{version.release}"
    detail = (verdict.detail if verdict is not None else "") if passed else "; ".join(said) or again
    attempt = replace(
        find(state, told.id),
        release=version.release,
        candidate_bytes=version.manifest.artifact.length,
        gain=gain_of(verdict.evidence) if verdict is not None and is_new else None,
        training_s=told.training_s,
        start=told.start,
    )
    return _end(state, attempt, "passed" if passed else "stopped", detail, time.time(), actor=CONTROLLER)


def _end(state: State, attempt: Retraining, status: Status, detail: str, now: float, *, actor: str) -> Retraining:
    ended = replace(attempt, status=status, detail=detail[:500], ended_at=now)
    return _save(state, ended, f"retraining {status}", detail[:500], actor=actor)


def _save(state: State, attempt: Retraining, action: str, detail: str, *, actor: str) -> Retraining:
    state.retrainings.save(attempt)
    state.journal.audit(stamp(), actor, action, attempt.id, detail)
    state.events.tell_retraining(attempt)
    return attempt


def _standing(state: State, name: str, *wanted: Status) -> Retraining:
    attempt = find(state, name)
    if attempt.status not in wanted:
        words = f"{name} is {attempt.status}, and not {' or '.join(wanted)}"
        raise BadInput(Code.RETRAINING_CONFLICT, words)
    return attempt


def _of_worker(state: State, name: str, worker: str) -> Retraining:
    attempt = _standing(state, name, "running")
    if attempt.worker != worker:
        raise BadInput(Code.RETRAINING_CONFLICT, f"{name} is run by {attempt.worker}: two pipelines at once")
    return attempt
