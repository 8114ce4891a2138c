"""What an operator can do with rollouts: preview, start, steer, approve, ask why. Checks, records, audits.

Decides whether a request is legal now. Refuses to know HTTP.
"""

import secrets
import time
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from contract.errors import BadInput, Code
from controller.reconcile.durable import save_quarantine
from controller.reconcile.world import facts_of, is_standing
from controller.registry.registry import Version, gate_words
from controller.rollout.analysis import RuleVerdict
from controller.rollout.explain import explain
from controller.rollout.late import judge_late
from controller.rollout.model import FINAL, Rollout, Status, Strategy
from controller.rollout.outcome import FAILURES, outcome_of
from controller.trust.access import Subject
from controller.verbs.previews import Preview, plan_rollout, preview

if TYPE_CHECKING:
    from controller.service import Service

MAX_LATE_ROWS = 100_000
"""Newest captured rows that a rollout is judged by again."""

Verb = Literal["pause", "resume", "promote", "abort", "rollback"]
_LEGAL_FROM: dict[Verb, frozenset[Status]] = {
    "pause": frozenset({"running"}),
    "resume": frozenset({"paused"}),
    "promote": frozenset({"running"}),
    "abort": frozenset({"proposed", "running", "paused"}),
    "rollback": frozenset({"running", "paused", "completed", "aborted"}),
}


class Rollouts:
    """Verbs over one service's rollouts."""

    def __init__(self, service: "Service") -> None:
        self._service = service

    def preview(self, model: str, release: int | None, strategy: Strategy, selector: dict[str, str]) -> Preview:
        """What a start would do, without doing it. BadInput as `start`."""
        version = self.releasable(model, release)
        now = time.time()
        planned = plan_rollout(
            self._service.world, version.manifest, strategy, name="preview", model=model, selector=selector, now=now
        )
        return preview(self._service.world, planned, now)

    def start(
        self,
        model: str,
        release: int | None,
        strategy: Strategy,
        selector: dict[str, str],
        *,
        plan_digest: str = "",
        approval: bool = False,
        actor: str,
        at: str,
    ) -> Rollout:
        """Plan and start; the first devices are told within one reconcile interval.

        BadInput: `unknown_model`, `unknown_version`, `not_released`, `not_signed`, `strategy_invalid`,
        `selector_empty`, `nothing_fits`, `rollout_conflict`, `plan_changed` where `plan_digest` names another plan.
        With four eyes, or with `approval`, it waits for somebody else to approve it.
        """
        service = self._service
        version = self.releasable(model, release)
        self._refuse_overlap(model)
        name = f"r-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        now = time.time()
        planned = plan_rollout(
            service.world, version.manifest, strategy, name=name, model=model, selector=selector, now=now
        )
        _same_plan(planned, plan_digest)
        waits = approval or service.config.fleet.four_eyes
        rollout = replace(planned, status="proposed" if waits else "running", created_by=actor, created_at=at)
        service.save_rollouts(rollout)
        left_out = f", {len(rollout.excluded)} left out" if rollout.excluded else ""
        detail = f"{model} v{version.release} by {strategy.name} to {len(rollout.members)} devices{left_out}"
        service.journal.audit(at, actor, "rollout start", name, detail)
        service.poke()
        return rollout

    def steer(self, name: str, verb: Verb, *, actor: str, at: str) -> Rollout:
        """Change where a rollout stands; BadInput `unknown_rollout`, `rollout_conflict`, `no_way_back`."""
        service = self._service
        rollout = self.rollout(name)
        if rollout.status not in _LEGAL_FROM[verb]:
            raise BadInput(Code.ROLLOUT_CONFLICT, f"{name} is {rollout.status}: it cannot {verb}")
        changed = self._steered(rollout, verb, f"{verb} by {actor}")
        service.save_rollouts(changed)
        service.journal.audit(at, actor, f"rollout {verb}", name)
        service.poke()
        return changed

    def _steered(self, rollout: Rollout, verb: Verb, reason: str) -> Rollout:
        match verb:
            case "pause":
                return replace(rollout, status="paused", reason=reason)
            case "resume":
                known = dict.fromkeys((*rollout.acknowledged, *self._failures(rollout)))
                return replace(
                    rollout,
                    status="running",
                    reason="",
                    acknowledged=tuple(known),
                    evidence_since=time.time(),
                    stopped_waves=(),
                )
            case "promote":
                return replace(rollout, promoted=rollout.wave)
            case "abort":
                end: Status = "aborted" if rollout.status == "proposed" else "aborting"
                return replace(rollout, status=end, reason=reason)
            case "rollback":
                self._refuse_rollback(rollout)
                return replace(rollout, status="rolling_back", reason=reason)

    def _refuse_rollback(self, rollout: Rollout) -> None:
        if not any(member.previous_release for member in rollout.members if member.wave <= rollout.wave):
            raise BadInput(
                Code.NO_WAY_BACK, f"{rollout.id}: no device had confirmed a version before; roll another release out"
            )
        if rollout.status in FINAL:
            self._refuse_overlap(rollout.model)
            if rollout.status == "completed" and not is_standing(self._service.world, rollout):
                raise BadInput(
                    Code.ROLLOUT_CONFLICT, f"{rollout.id}: another rollout of {rollout.model} has come since"
                )

    def approve(self, name: str, plan_digest: str, *, subject: Subject, at: str) -> Rollout:
        """Let a proposed rollout start. BadInput `four_eyes` for whoever proposed it, and for the local token, which
        cannot tell people apart; `plan_changed` for the digest of another plan; `rollout_conflict`.
        """
        rollout = self.rollout(name)
        if rollout.status != "proposed":
            raise BadInput(Code.ROLLOUT_CONFLICT, f"{name} is {rollout.status}: there is nothing to approve")
        if subject.local or subject.name == rollout.created_by:
            raise BadInput(Code.FOUR_EYES, f"{name} was proposed by {rollout.created_by}: somebody else approves it")
        _same_plan(rollout, plan_digest)
        now = time.time()
        started = replace(rollout, status="running", began_at=now, wave_began_at=now, approved_by=subject.name)
        self._service.save_rollouts(started)
        self._service.journal.audit(at, subject.name, "rollout approve", name, rollout.plan_digest)
        self._service.poke()
        return started

    def rollout(self, name: str) -> Rollout:
        """One rollout; BadInput `unknown_rollout`."""
        found = self._service.world.rollouts.get(name)
        if found is None:
            raise BadInput(Code.UNKNOWN_ROLLOUT, f"no rollout {name[:64]!r}; `edgeward rollout list` shows all")
        return found

    def explain(self, name: str) -> list[str]:
        """Where it stands and what it waits for, in sentences."""
        rollout, world, now = self.rollout(name), self._service.world, time.time()
        return explain(rollout, facts_of(world, rollout, now), world.verdicts.get(name, ()), now)

    def judge_again(self, name: str, *, revert: bool, actor: str, at: str) -> tuple[RuleVerdict, ...]:
        """What the accuracy rules say now that labels have come; with `revert` a rule that fails rolls it back.

        BadInput as `steer`.
        """
        rollout, service = self.rollout(name), self._service
        rows = service.captures.newest_of(rollout.model, rollout.began_at, MAX_LATE_ROWS)
        verdicts = judge_late(rollout, rows)
        service.journal.audit(at, actor, "rollout judge", name, "; ".join(verdict.detail for verdict in verdicts)[:500])
        if revert and any(verdict.word == "fail" for verdict in verdicts):
            self.steer(name, "rollback", actor=actor, at=at)
        return verdicts

    def release_device(self, device: str, *, actor: str, at: str) -> int:
        """Lift every quarantine of a device; how many there were."""
        service = self._service
        lifted = service.world.quarantine.pop(device, {})
        save_quarantine(service.store, service.world.quarantine, [device])
        service.journal.audit(at, actor, "device release", device, f"{len(lifted)} quarantined versions")
        return len(lifted)

    def releasable(self, model: str, release: int | None) -> Version:
        """A version that may be rolled out, the newest if none is named.

        BadInput: `unknown_model`, `unknown_version`, `not_released`, `not_signed`.
        """
        service, registry = self._service, self._service.registry
        version = registry.newest_released(model) if release is None else registry.version(model, release)
        if not version.released:
            raise BadInput(Code.NOT_RELEASED, f"{model} v{version.release}: {gate_words(version)}")
        if version.release not in service.authority.signed(model):
            advice = f"sign it: edgeward trust sign {model}"
            raise BadInput(Code.NOT_SIGNED, f"no release signer vouches for {model} v{version.release}; {advice}")
        return version

    def _failures(self, rollout: Rollout) -> list[str]:
        now = time.time()
        facts = facts_of(self._service.world, rollout, now)
        members = rollout.members
        return [m.device for m in members if outcome_of(rollout, m, facts[m.device], now) in FAILURES]

    def _refuse_overlap(self, model: str) -> None:
        for other in self._service.world.rollouts.values():
            if other.model == model and other.status not in FINAL:
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
