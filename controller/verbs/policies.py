"""Continuous deployment: a model's policy that rolls out every version which passes its gates, without a person.

Decides which version is due for which model. A policy names a strategy, the devices, and whether a person approves.
"""

import msgspec

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from contract.wire import Message
from controller.clock import stamp
from controller.reconcile.old_words import in_words_of_now
from controller.rollout.check import check_strategy
from controller.rollout.model import FINAL, Strategy
from controller.state import State
from controller.verbs import rollouts
from controller.verbs.audit import CONTROLLER

_TABLE = "deployments"


class DeploymentPolicy(Message, frozen=True):
    """How every version of a model that passes its gates and is signed is rolled out."""

    strategy: Strategy
    selector: dict[str, str] = {}
    approval: bool = False
    """Wait for a second person each time."""
    set_by: str = ""
    set_at: str = ""
    after_release: int = 0
    """Only newer versions are due: set if a controller was restored and does not know later versions of devices."""


def all_policies(state: State) -> dict[str, DeploymentPolicy]:
    """Every policy, by model."""
    return {
        model: convert_kept(in_words_of_now(doc), DeploymentPolicy) for model, doc in state.store.all(_TABLE).items()
    }


def set_policy(
    state: State, model: str, strategy: Strategy, selector: dict[str, str], *, approval: bool, actor: str
) -> DeploymentPolicy:
    """Sets a policy. BadInput `unknown_model`, `strategy_invalid`."""
    state.registry.versions(model)
    check_strategy(strategy)
    at = stamp()
    policy = DeploymentPolicy(strategy=strategy, selector=selector, approval=approval, set_by=actor, set_at=at)
    state.store.put(_TABLE, {model: msgspec.to_builtins(policy)})
    detail = f"by {strategy.name}{', after approval' if approval else ''}"
    state.journal.audit(at, actor, "deployment set", model, detail)
    state.refused_by_policy.pop(model, None)
    state.poke()
    return policy


def remove_policy(state: State, model: str, *, actor: str) -> None:
    """Removes a policy: versions wait for a person again. BadInput `unknown_model` if there is no policy."""
    if state.store.get(_TABLE, model) is None:
        raise BadInput(Code.UNKNOWN_MODEL, f"no deployment policy holds for {model[:64]!r}")
    state.store.delete(_TABLE, model)
    state.journal.audit(stamp(), actor, "deployment remove", model)


def hold_back(state: State) -> list[str]:
    """Keeps every policy from starting an existing version; returns models whose policies had one to start."""
    held = []
    for model, policy in all_policies(state).items():
        newest = state.registry.versions(model)[-1].release
        held += [model] if newest > policy.after_release and _due(state, model, policy) is not None else []
        kept = msgspec.structs.replace(policy, after_release=newest)
        doc = state.store.get(_TABLE, model) or {}
        state.store.put(_TABLE, {model: {**doc, **msgspec.to_builtins(kept)}})
    return held


def start_due(state: State) -> None:
    """Starts what is due. A version that cannot start is audited once, and tried again with the next
    version or policy.
    """
    if state.deliveries.busy:
        return  # the encoding of a version that was just pushed
    for model, policy in all_policies(state).items():
        release = _due(state, model, policy)
        if release is None or state.refused_by_policy.get(model) == release:
            continue
        try:
            rollouts.start(
                state,
                model,
                release,
                policy.strategy,
                policy.selector,
                approval=policy.approval,
                actor=CONTROLLER,
                policy_of=policy.set_by,
            )
        except BadInput as error:
            state.refused_by_policy[model] = release
            state.journal.audit(stamp(), CONTROLLER, "deployment refused", model, f"v{release}: {error.detail}")


def _due(state: State, model: str, policy: DeploymentPolicy) -> int | None:
    """Returns the newest version that has passed, is signed, and was in no rollout; None while a rollout is open."""
    known = [rollout for rollout in state.world.durable.rollouts.values() if rollout.model == model]
    if any(rollout.status not in FINAL for rollout in known):
        return None
    passed = {version.release for version in state.registry.versions(model) if version.passed}
    withdrawn = {release for name, release in state.registry.withdrawn if name == model}
    newest = max((passed - withdrawn) & state.trust_metadata.signed(model), default=0)
    before = max((rollout.release for rollout in known), default=0)
    return newest if newest > max(before, policy.after_release) else None
