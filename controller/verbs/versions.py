"""What an operator can do with an existing version: withdraw it, reinstate it, waive a gate, delete its blobs.

Decides that a version is withdrawn only while no rollout brings it: ending that is a separate step. Devices that
already run it continue, and are listed with it. Refuses to know HTTP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from contract.errors import BadInput, Code
from controller.clock import stamp
from controller.gates.verdict import Waiver
from controller.reconcile.membership import is_standing
from controller.reconcile.world import holds
from controller.registry.retention import GRACE_S, Retention, retained, unshared
from controller.registry.version import Removal, Version, Withdrawal
from controller.rollout.model import FINAL, person
from controller.state import State
from controller.verbs import trust


def withdraw(state: State, model: str, release: int, *, reason: str, actor: str) -> Version:
    """Excludes a version from every later rollout, and from devices that join a completed one.

    BadInput `unknown_model`, `unknown_version`; `request_invalid` without a reason; `rollout_conflict` while a rollout
    brings the version.
    """
    version = state.registry.version(model, release)
    if not reason.strip():
        raise BadInput(Code.REQUEST_INVALID, "say why it is withdrawn: whoever wants to start it is told")
    for rollout in state.world.durable.rollouts.values():
        if (rollout.model, rollout.release) == (model, release) and rollout.status not in FINAL:
            words = f"{rollout.id} brings {model} v{release} and is {rollout.status}"
            raise BadInput(
                Code.ROLLOUT_CONFLICT, f"{words}: roll it back or abort it first, and wait until it has ended"
            )
    state.registry.withdraw(model, release, Withdrawal(by=actor, at=stamp(), reason=reason.strip()))
    state.journal.audit(stamp(), actor, "version withdraw", f"{model} v{release}", reason.strip())
    return version


def reinstate(state: State, model: str, release: int, *, actor: str) -> Version:
    """Allows a withdrawn version in rollouts again. BadInput as `withdraw`; `request_invalid` for one that is not
    withdrawn.
    """
    version = state.registry.version(model, release)
    known = state.registry.withdrawal(model, release)
    if known is None:
        raise BadInput(Code.REQUEST_INVALID, f"{model} v{release} is not withdrawn")
    state.registry.reinstate(model, release)
    was = f"it was withdrawn by {known.by} at {known.at}: {known.reason}"
    state.journal.audit(stamp(), actor, "version reinstate", f"{model} v{release}", was)
    state.poke()
    return version


def devices_by_release(state: State, model: str) -> dict[int, list[str]]:
    """Returns by release of a model the devices that report it, confirmed or on trial.

    After a restore a device may have another version under the same number: the digest distinguishes them.
    """
    found: dict[int, list[str]] = {}
    for device, twin in sorted(state.world.durable.twins.items()):
        reported = twin.reported.get(model)
        kept = (reported.stable, reported.trial) if reported is not None else ()
        for release in sorted({each.release for each in kept if each is not None and holds(state.world, model, each)}):
            found.setdefault(release, []).append(device)
    return found


def waive(state: State, model: str, release: int, gate: str, *, reason: str, actor: str) -> Version:
    """Makes a version pass although a gate has failed, with a reason that is shown with it.

    BadInput `request_invalid` without a reason, or for a gate that has not failed; `four_eyes` for the person who
    pushed the version, in a fleet with four eyes.
    """
    version = state.registry.version(model, release)
    if not reason.strip():
        raise BadInput(Code.REQUEST_INVALID, "say why the gate is waived: every later look shows it")
    if state.config.fleet.four_eyes and person(actor) == person(version.lineage.created_by):
        raise BadInput(Code.FOUR_EYES, f"{person(actor)} pushed {model} v{release}: somebody else waives its gates")
    at = stamp()
    state.registry.waive(model, release, gate, Waiver(by=actor, at=at, reason=reason.strip()))
    state.journal.audit(at, actor, "gate waive", f"{model} v{release}", f"{gate}: {reason.strip()}")
    trust.sign(state, model)
    state.poke()
    return state.registry.version(model, release)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The result of the retention rule, or its preview."""

    rule: Retention
    marked: Sequence[int]
    """Releases that cannot be started from now on; their blobs are deleted a day later."""
    removed: Sequence[int]
    """Releases whose blobs are deleted."""
    removed_bytes: int


def clean(state: State, model: str, *, keep_newest: int, apply: bool, actor: str) -> Cleaned:
    """Applies the retention rule to a model, or with `apply` False says what it would do.

    BadInput `unknown_model`; `request_invalid` for fewer than one version to keep.
    """
    if keep_newest < 1:
        raise BadInput(Code.REQUEST_INVALID, "keep at least the newest version")
    registry, at = state.registry, stamp()
    rule = retained(registry.versions(model), _needed(state, model), keep_newest)
    removals = {release: registry.removal(model, release) for release in rule.removable}
    marked = [release for release, removal in removals.items() if removal is None]
    before = datetime.fromisoformat(at) - timedelta(seconds=GRACE_S)
    due = [release for release, each in removals.items() if each and datetime.fromisoformat(each.at) <= before]
    if not apply:
        return Cleaned(rule, marked, due, 0)
    registry.remove({(model, release): Removal(by=actor, at=at) for release in marked})
    for release in rule.kept:
        if registry.removal(model, release) is not None and _has_blobs(state, model, release):
            registry.keep(model, release)
    freed = sum(state.blobs.remove(digest) for digest in sorted(_going(state, model, due)))
    if marked or freed:
        words = f"{len(marked)} versions may not be started any more, blobs of {len(due)} are gone ({freed} bytes)"
        state.journal.audit(at, actor, "version clean", model, words)
    return Cleaned(rule, marked, due, freed)


def _has_blobs(state: State, model: str, release: int) -> bool:
    return all(state.blobs.path(digest).exists() for digest in state.registry.version(model, release).digests)


def _going(state: State, model: str, releases: Sequence[int]) -> frozenset[str]:
    """Returns digests of blobs that only these releases have, among all models."""
    if not releases:
        return frozenset()
    going = [state.registry.version(model, release) for release in releases]
    others = (each for name in state.registry.models() for each in state.registry.versions(name))
    staying = [
        each
        for each in others
        if (each.model, each.release) not in {(model, release) for release in releases}
        and state.registry.removal(each.model, each.release) is None
    ]
    return unshared(going, staying)


def _needed(state: State, model: str) -> dict[int, str]:
    """Returns releases that a device runs, has an order to run or may roll back to, and those with an alias, with
    the reason.
    """
    needed = {alias.release: f"alias {name}" for name, alias in state.aliases.of(model).items()}
    for rollout in state.world.durable.rollouts.values():
        if rollout.model == model and (rollout.status not in FINAL or is_standing(state.world, rollout)):
            needed[rollout.release] = f"{rollout.id} brings it"
            needed |= {
                member.previous_release: f"{rollout.id} may go back to it"
                for member in rollout.members
                if member.previous_release
            }
    for twin in state.world.durable.twins.values():
        if model in twin.desired:
            needed[twin.desired[model].release] = f"{twin.device} is told to run it"
    for release, devices in devices_by_release(state, model).items():
        needed[release] = f"{devices[0]} has it"
    return needed
