"""What an operator can do with a version that nobody is to get any more: withdraw it, and reinstate it.

Decides that a version is withdrawn only when no rollout is bringing it: ending that is a step of its own, with words of
its own. What a device runs already it goes on running, and is shown with it. Refuses to know HTTP.
"""

from contract.errors import BadInput, Code
from controller.clock import stamp
from controller.registry.registry import Version, Withdrawal
from controller.rollout.model import FINAL
from controller.state import State


def withdraw(state: State, model: str, release: int, *, reason: str, actor: str) -> Version:
    """Keeps a version from every rollout that starts, and from devices that join one that has completed.

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
    """Lets a withdrawn version be rolled out again. BadInput as `withdraw`; `request_invalid` for one that is not."""
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
    """By release of a model, the devices that have it, confirmed or on trial, as they say themselves."""
    found: dict[int, list[str]] = {}
    for device, twin in sorted(state.world.durable.twins.items()):
        reported = twin.reported.get(model)
        kept = (reported.stable, reported.trial) if reported is not None else ()
        for release in sorted({each.release for each in kept if each is not None}):
            found.setdefault(release, []).append(device)
    return found
