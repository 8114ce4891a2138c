"""Continuous deployment: a model's policy that rolls out whatever passes its gates, with no further hand.

Decides which version is due for which model. A policy names a strategy, whom it is for, and whether a person approves.
"""

import logging
from typing import TYPE_CHECKING

import msgspec

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.rollout.check import check_strategy
from controller.rollout.model import FINAL, Strategy

if TYPE_CHECKING:
    from controller.service import Service

_log = logging.getLogger("edgeward.deployment")


class DeploymentPolicy(Message, frozen=True):
    """Every version that passes its gates and is signed goes out like this."""

    strategy: Strategy
    selector: dict[str, str] = {}
    approval: bool = False
    """Wait for a second person each time."""
    set_by: str = ""
    set_at: str = ""


class Deployment:
    """The policies of one service."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._refused: dict[str, int] = {}
        """Newest release of a model that could not be rolled out, so that it is told once."""

    def policies(self) -> dict[str, DeploymentPolicy]:
        """All, by model."""
        stored = self._service.store.all("deployments")
        return {model: msgspec.convert(doc, DeploymentPolicy) for model, doc in stored.items()}

    def set(self, model: str, policy: DeploymentPolicy) -> None:
        """Let a policy hold from now on. BadInput `unknown_model`, `strategy_invalid`."""
        self._service.registry.versions(model)
        check_strategy(policy.strategy)
        self._service.store.put("deployments", {model: msgspec.to_builtins(policy)})
        detail = f"by {policy.strategy.name}{', after approval' if policy.approval else ''}"
        self._service.journal.audit(policy.set_at, policy.set_by, "deployment set", model, detail)
        self._refused.pop(model, None)
        self._service.poke()

    def remove(self, model: str, *, actor: str, at: str) -> None:
        """Versions wait for a hand again. BadInput `unknown_model` where no policy holds."""
        if model not in self._service.store.all("deployments"):
            raise BadInput(Code.UNKNOWN_MODEL, f"no deployment policy holds for {model[:64]!r}")
        self._service.store.delete("deployments", model)
        self._service.journal.audit(at, actor, "deployment remove", model)

    def start_due(self, at: str) -> None:
        """Start what is due. What cannot start is told once, and tried again with the next version or policy."""
        if self._service.deliveries.busy:
            return  # what is being encoded for a version that has just come
        for model, policy in self.policies().items():
            release = self._due(model)
            if release is None or self._refused.get(model) == release:
                continue
            try:
                self._service.rollouts.start(
                    model,
                    release,
                    policy.strategy,
                    policy.selector,
                    approval=policy.approval,
                    actor=f"policy of {policy.set_by}"[:64],
                    at=at,
                )
            except BadInput as error:
                self._refused[model] = release
                _log.warning("v%d of %s is not rolled out by its policy: %s", release, model, error)

    def _due(self, model: str) -> int | None:
        """The newest version that is released and signed and that no rollout was ever about; None while one is open."""
        service = self._service
        rollouts = [rollout for rollout in service.world.rollouts.values() if rollout.model == model]
        if any(rollout.status not in FINAL for rollout in rollouts):
            return None
        released = [version.release for version in service.registry.versions(model) if version.released]
        signed = set(released) & service.authority.signed(model)
        newest = max(signed, default=0)
        return newest if newest > max((rollout.release for rollout in rollouts), default=0) else None
