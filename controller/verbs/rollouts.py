"""What an operator can do with rollouts: preview, start, approve, explain. Checks, stores and audits.

Decides whether a request is allowed now. Refuses to know HTTP.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.manifest import Manifest
from controller.clock import stamp
from controller.reconcile.deeds import Deed
from controller.reconcile.membership import facts_of, quiet_of
from controller.reconcile.preview import Preview, plan_rollout
from controller.reconcile.preview import preview as preview_of
from controller.registry.version import Version, gate_words
from controller.rollout.decide import waits_for_absentees_only
from controller.rollout.endings import named
from controller.rollout.explain import explain as sentences
from controller.rollout.model import FINAL, RETURNING, Rollout, Status, Strategy, person
from controller.rollout.progress import Away, away_of
from controller.rollout.schedule import ALWAYS, Schedule, schedule_words
from controller.rollout.strategies import STRATEGIES
from controller.rollout.words import devices_of
from controller.state import State
from controller.trust.access import Subject
from controller.verbs import audit
from controller.verbs.intact import refuse_lost
from controller.verbs.returns import returns_of


@dataclass(frozen=True, slots=True)
class Retried:
    """The failed devices of an ended rollout, for a retry."""

    rollout: str
    devices: tuple[str, ...]


def preview(
    state: State,
    model: str,
    release: int | None,
    strategy: Strategy,
    selector: dict[str, str],
    *,
    again: bool = False,
    schedule: Schedule = ALWAYS,
    starting: str | None = None,
) -> Preview:
    """Returns the effects of a start, without starting. BadInput as `start`. A plan may be requested while another

    rollout of the model is open. With `starting`, the digest of the plan that is
    meant or "", it is refused if the start would be refused.
    """
    version = may_start(state, model, release, again=again)
    if starting is not None:
        refuse_overlap(state, model, ends_absent=True)
    now = time.time()
    planned = plan_rollout(
        state.world,
        version.manifest,
        strategy,
        name="preview",
        model=model,
        selector=selector,
        now=now,
        running=_running(state, model),
        schedule=schedule,
    )
    _same_plan(planned, starting or "")
    away = away_now(state, planned, now)
    return preview_of(state.world, planned, now, away, task=version.manifest.task)


def away_now(state: State, rollout: Rollout, now: float) -> Away:
    """Returns when the members that are not online may return, by their own past."""
    facts = facts_of(state.world, rollout, now)
    away = [device for device, fact in facts.items() if fact.presence != "online"]
    return away_of(rollout, len(away), list(returns_of(state, away, now).values()))


def start(
    state: State,
    model: str,
    release: int | None,
    strategy: Strategy,
    selector: dict[str, str],
    *,
    plan_digest: str = "",
    approval: bool = False,
    again: bool = False,
    actor: str,
    policy_of: str = "",
    schedule: Schedule = ALWAYS,
    retried: Retried | None = None,
    source: str = "",
) -> Rollout:
    """Plans and starts; the first devices get their offers within one reconcile interval.

    BadInput: `unknown_model`, `unknown_version`, `gates_not_passed`, `not_signed`, `version_withdrawn`,
    `store_corrupt`, `version_rolled_back` without `again`, `strategy_invalid`, `selector_empty`, `nothing_fits`,
    `signature_changed`, `rollout_conflict`, `plan_changed` if `plan_digest` names another plan. With four eyes, or
    with `approval`, it waits for another person's approval. `policy_of`: the author of the policy that has started
    it, if no person did. `source`: the template, in words.
    """
    version = may_start(state, model, release, again=again)
    end_if_only_absent(state, model)
    refuse_overlap(state, model)
    name = f"r-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
    now = time.time()
    planned = plan_rollout(
        state.world,
        version.manifest,
        strategy,
        name=name,
        model=model,
        selector=selector,
        now=now,
        running=_running(state, model),
        schedule=schedule,
        among=retried.devices if retried is not None else (),
    )
    _same_plan(planned, plan_digest)
    waits = approval or state.config.fleet.four_eyes
    created_by = f"policy of {policy_of}"[:64] if policy_of else actor
    rollout = replace(
        planned,
        status="proposed" if waits else "running",
        created_by=created_by,
        created_at=stamp(),
        retry_of=retried.rollout if retried is not None else "",
        proposers=tuple(dict.fromkeys((policy_of or actor, version.lineage.created_by))),
    )
    state.save_rollouts(rollout)
    left_out = f", {len(rollout.excluded)} left out: {named(sorted(rollout.excluded))}" if rollout.excluded else ""
    detail = f"{model} v{version.release} by {strategy.name} to {devices_of(len(rollout.members))}{left_out}"
    detail += f", by the {created_by}" if policy_of else ""
    detail += f", a retry of {retried.rollout}" if retried is not None else ""
    detail += f", from {source}" if source else ""
    detail += f"; {words}" if (words := schedule_words(schedule, now)) else ""
    state.journal.audit(stamp(), actor, "rollout start", name, audit.with_trace(state, name, detail))
    state.poke()
    return rollout


def _running(state: State, model: str) -> dict[int, Manifest]:
    """Returns the manifests of the releases that devices report as confirmed and that the registry has."""
    said = (twin.reported.get(model) for twin in state.world.durable.twins.values())
    releases = {each.stable.release for each in said if each is not None and each.stable is not None}
    known = releases & set(state.registry.registered.get(model, {}))
    return {release: state.registry.version(model, release).manifest for release in known}


async def prepare_and_start(
    state: State,
    model: str,
    release: int | None,
    strategy: Strategy,
    selector: dict[str, str],
    *,
    plan_digest: str,
    again: bool,
    actor: str,
    schedule: Schedule = ALWAYS,
    source: str = "",
) -> Rollout:
    """Starts as `start` does, once the version's encodings exist, or after `encode.deliveries.WAIT_S` without them."""
    version = may_start(state, model, release, again=again)
    await state.deliveries.ready(model, version.manifest)
    return start(
        state,
        model,
        version.release,
        strategy,
        selector,
        plan_digest=plan_digest,
        again=again,
        actor=actor,
        schedule=schedule,
        source=source,
    )


def approve(state: State, name: str, plan_digest: str, *, subject: Subject) -> Rollout:
    """Approves a proposed rollout, so that it starts.

    BadInput `four_eyes` for each person who proposed it (by the start, by its policy, or by the push of the
    version) and for the local token, which does not identify a person; `plan_changed` for the digest of another
    plan; `rollout_conflict`.
    """
    rollout = approvable(state, name, subject)
    _same_plan(rollout, plan_digest)
    now = time.time()
    started = replace(rollout, status="running", began_at=now, wave_began_at=now, approved_by=subject.name)
    state.save_rollouts(started)
    state.journal.audit(
        stamp(), subject.name, "rollout approve", name, audit.with_trace(state, name, rollout.plan_digest)
    )
    state.discussions.looked("rollout", name, subject.name, stamp())
    state.poke()
    return started


def approvable(state: State, name: str, subject: Subject) -> Rollout:
    """Returns a rollout that can be approved. BadInput as `approve`."""
    rollout = find(state, name)
    if rollout.status != "proposed":
        raise BadInput(Code.ROLLOUT_CONFLICT, f"{name} is {rollout.status}: there is nothing to approve")
    if subject.local or person(subject.name) in rollout.people:
        behind = " and ".join(rollout.people)
        stand = "stands" if len(rollout.people) == 1 else "stand"
        raise BadInput(Code.FOUR_EYES, f"{behind} {stand} behind {name}: somebody else approves it, with a token")
    return rollout


def find(state: State, name: str) -> Rollout:
    """Returns one rollout; BadInput `unknown_rollout`."""
    found = state.world.durable.rollouts.get(name)
    if found is None:
        raise BadInput(Code.UNKNOWN_ROLLOUT, f"no rollout {name[:64]!r}; `edgeward rollout list` shows all")
    return found


def explain(state: State, name: str) -> list[str]:
    """Says in sentences where the rollout stands and what it waits for."""
    rollout, world, now = find(state, name), state.world, time.time()
    verdicts, endings = world.measured.verdicts.get(name, ()), world.durable.endings.get(name, {})
    quiet = quiet_of(world, rollout, wave=rollout.wave)
    return sentences(rollout, facts_of(world, rollout, now), verdicts, now, endings, quiet=quiet)


def resolve_strategy(given: str | dict[str, Any]) -> Strategy:
    """Returns a strategy by name or by fields; BadInput `strategy_invalid` names the field."""
    if isinstance(given, str):
        if given not in STRATEGIES:
            raise BadInput(Code.STRATEGY_INVALID, f"no strategy {given[:64]!r}; there are {', '.join(STRATEGIES)}")
        return STRATEGIES[given]
    try:
        return msgspec.convert(given, Strategy)
    except msgspec.ValidationError as error:
        raise BadInput(Code.STRATEGY_INVALID, f"{error}; configs/rollouts shows every field") from None


def passed_and_signed(state: State, model: str, release: int | None) -> Version:
    """Returns a version that may be rolled out, the newest if none is named.

    BadInput: `unknown_model`, `unknown_version`, `gates_not_passed`, `not_signed`.
    """
    version = _newest_wanted(state, model) if release is None else state.registry.version(model, release)
    if not version.passed:
        raise BadInput(Code.GATES_NOT_PASSED, f"{model} v{version.release}: {gate_words(version)}")
    if version.release not in state.trust_metadata.signed(model):
        advice = f"sign it: edgeward trust sign {model}"
        raise BadInput(Code.NOT_SIGNED, f"no release signer vouches for {model} v{version.release}; {advice}")
    return version


def _newest_wanted(state: State, model: str) -> Version:
    """Returns the newest version that has passed its gates.

    BadInput `version_withdrawn` or `version_removed` if that one may not be rolled out: an older one must be named.
    """
    free = state.registry.newest_passed(model)
    later = [each for each in state.registry.versions(model) if each.passed and each.release > free.release]
    if later:
        _refuse_kept_back(state, later[-1], f"; or name another version, for example --version {free.release}")
    return free


def _refuse_kept_back(state: State, version: Version, advice: str = "") -> None:
    """Raises BadInput `version_withdrawn` or `version_removed` for a version that may not be rolled out any more."""
    model, release = version.model, version.release
    if (withdrawn := state.registry.withdrawal(model, release)) is not None:
        who = f"{withdrawn.by} at {withdrawn.at}: {withdrawn.reason}"
        back = f"`edgeward version reinstate {model} {release}` takes that back"
        raise BadInput(Code.VERSION_WITHDRAWN, f"{model} v{release} was withdrawn by {who}; {back}{advice}")
    if (removal := state.registry.removal(model, release)) is not None:
        words = f"{removal.by} removed the blobs of {model} v{release} at {removal.at}: push the model again"
        raise BadInput(Code.VERSION_REMOVED, f"{words}{advice}")


def may_start(state: State, model: str, release: int | None, *, again: bool) -> Version:
    """Returns a version that a rollout may bring now.

    BadInput as `passed_and_signed`, and `version_withdrawn`; `store_corrupt` for one with a missing or damaged file;
    `version_rolled_back` for one whose newest rollout was
    rolled back, unless `again` is set.
    """
    version = passed_and_signed(state, model, release)
    _refuse_kept_back(state, version)
    refuse_lost(state, version)
    newest = rolled_back(state, model).get(version.release)
    if newest is not None and not again:
        raise BadInput(
            Code.VERSION_ROLLED_BACK,
            f"{model} v{version.release} was rolled back by {newest.id}: {newest.reason}; start it with --again "
            "if the cause is gone",
        )
    return version


def rolled_back(state: State, model: str) -> dict[int, Rollout]:
    """Returns by release the newest rollout of each version of a model if that was rolled back."""
    newest = {each.release: each for each in state.world.durable.rollouts.values() if each.model == model}
    return {release: each for release, each in newest.items() if _is_rolled_back(state, each)}


def _is_rolled_back(state: State, rollout: Rollout) -> bool:
    """Whether a rollout was rolled back, even if absent devices still keep it open."""
    if rollout.status != "rolling_back":
        return rollout.status == "rolled_back"
    return _only_absent(state, rollout)


def _only_absent(state: State, rollout: Rollout) -> bool:
    """Whether only absent devices keep a rollout's way back open."""
    now = time.time()
    return rollout.status in RETURNING and waits_for_absentees_only(rollout, facts_of(state.world, rollout, now), now)


def end_if_only_absent(state: State, model: str) -> None:
    """Ends a roll back of `model` that only absent devices keep open, so that a newer rollout need not
    wait for them.
    """
    known = state.world.durable.rollouts.values()
    for other in [each for each in known if each.model == model]:
        if _only_absent(state, other):
            end: Status = "aborted" if other.status == "aborting" else "rolled_back"
            state.save_rollouts(replace(other, status=end, returning_since=None))
            words = f"{model} v{other.release}: only absent devices kept it open, and a newer rollout is wanted"
            audit.note(state, Deed(f"rollout {end.replace('_', ' ')}", other.id, words))


def refuse_overlap(state: State, model: str, *, ends_absent: bool = False) -> None:
    """BadInput `rollout_conflict` where another rollout of the model is open.

    With `ends_absent` a way back that only absent devices keep open counts as ended: a start would end it.
    """
    for other in state.world.durable.rollouts.values():
        ends = ends_absent and _only_absent(state, other)
        if other.model == model and other.status not in FINAL and not ends:
            raise BadInput(
                Code.ROLLOUT_CONFLICT,
                f"{other.id} of {model} is {other.status}: abort it, or wait until it has ended",
            )


def _same_plan(rollout: Rollout, digest: str) -> None:
    if digest and rollout.plan_digest != digest:
        raise BadInput(
            Code.PLAN_CHANGED,
            f"the plan is {rollout.plan_digest[:12]}, not {digest[:12]}: the fleet or the strategy has changed since; "
            "look at it again",
        )
