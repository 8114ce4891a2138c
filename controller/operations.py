"""What an operator or a data scientist can ask for: push a version, start and steer a rollout. Checks, records, audits.

Decides whether a request is legal now. Refuses to know HTTP.
"""

import secrets
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from contract.blobs import describe, sha256_hex
from contract.errors import BadInput, Code
from contract.manifest import Golden, Limits, Manifest, Runtime
from controller.access import Subject
from controller.convert.compare import ATOL, RTOL
from controller.convert.convert import Converted, run_conversion
from controller.convert.convert import Limits as ConversionLimits
from controller.fleet.selection import select
from controller.gates.parity import judge_parity
from controller.reconcile import confirmed_releases, facts_of
from controller.registry.registry import Lineage, Version
from controller.rollout.decide import outcome_of
from controller.rollout.model import FINAL, Rollout, Status, Strategy
from controller.rollout.plan import plan_members
from controller.rollout.strategies import STRATEGIES

if TYPE_CHECKING:
    from controller.service import Service

HARDWARE = ("x86_64", "aarch64", "arm64")
GOLDEN_MISMATCH = Decimal("0.02")
"""Share of golden rows that a device may answer differently: CPUs round differently, a vote may tie."""
MEMORY_FLOOR_MB = 64
LOAD_FLOOR_S = 10


class Operations:
    """Verbs over one service."""

    def __init__(self, service: "Service") -> None:
        self._service = service

    async def push(
        self,
        model: str,
        kind: Literal["skops", "onnx"],
        raw: bytes,
        sample: bytes,
        *,
        actor: str,
        at: str,
        tags: dict[str, str],
    ) -> Version:
        """Convert, judge and register a version; BadInput `parity_failed` keeps it unreleased, with evidence."""
        service = self._service
        service.registry.next_release(model)  # a bad name is refused before minutes of conversion
        settings = service.config.convert
        limits = ConversionLimits(settings.timeout_s, settings.memory_mb, settings.trusted_types)
        converted = await run_conversion(kind, raw, sample, limits)
        lineage = Lineage(
            created_at=at,
            created_by=actor,
            source=kind,
            source_sha256=sha256_hex(raw),
            estimator=converted.answer.estimator,
            params=converted.answer.params,
            libraries=converted.answer.libraries,
            tags=tags,
        )
        version = self._register(model, converted, lineage)
        service.journal.audit(at, actor, "push", f"{model} v{version.release}", _gate_words(version))
        if not version.released:
            raise BadInput(Code.PARITY_FAILED, _parity_words(version))
        service.vouch(model)
        return version

    def start_rollout(
        self, model: str, release: int | None, strategy: Strategy, selector: dict[str, str], *, actor: str, at: str
    ) -> Rollout:
        """Plan and start; BadInput `not_released`, `selector_empty`, `rollout_conflict`, `strategy_invalid`."""
        service = self._service
        registry = service.registry
        version = registry.newest_released(model) if release is None else registry.version(model, release)
        if not version.released:
            raise BadInput(Code.NOT_RELEASED, f"{model} v{version.release}: {_gate_words(version)}")
        if version.release not in service.authority.signed(model):
            advice = f"sign it: edgeward trust sign {model}"
            raise BadInput(Code.NOT_SIGNED, f"no release signer vouches for {model} v{version.release}; {advice}")
        self._refuse_overlap(model)
        _check_strategy(strategy)
        devices = select(service.world.twins.values(), selector)
        name = f"r-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"
        confirmed = confirmed_releases(service.world, model, devices)
        rollout = Rollout(
            id=name,
            model=model,
            release=version.release,
            digest=version.manifest.artifact.sha256,
            strategy=strategy,
            members=plan_members(name, devices, strategy, confirmed),
            wave_began_at=time.time(),
            status="proposed" if service.config.fleet.four_eyes else "running",
            created_by=actor,
            created_at=at,
        )
        service.save_rollouts(rollout)
        detail = f"{model} v{version.release} by {strategy.name} to {len(devices)} devices"
        service.journal.audit(at, actor, "rollout start", name, detail)
        service.poke()
        return rollout

    def steer(self, name: str, verb: Literal["pause", "resume", "abort"], *, actor: str, at: str) -> Rollout:
        """Pause, resume or abort; BadInput `unknown_rollout`, `rollout_conflict`."""
        service = self._service
        rollout = self.rollout(name)
        after: dict[str, tuple[Status, frozenset[Status]]] = {
            "pause": ("paused", frozenset({"running"})),
            "resume": ("running", frozenset({"paused"})),
            "abort": ("rolling_back", frozenset({"proposed", "running", "paused"})),
        }
        status, legal_from = after[verb]
        if rollout.status not in legal_from:
            raise BadInput(Code.ROLLOUT_CONFLICT, f"{name} is {rollout.status}: it cannot {verb}")
        changed = msgspec.structs.replace(rollout, status=status, reason=f"{verb} by {actor}")
        if verb == "resume":
            changed = msgspec.structs.replace(changed, reason="", acknowledged=self._failures(rollout))
        service.save_rollouts(changed)
        service.journal.audit(at, actor, f"rollout {verb}", name)
        service.poke()
        return changed

    def approve(self, name: str, *, subject: Subject, at: str) -> Rollout:
        """Let a proposed rollout start. BadInput `four_eyes` for whoever proposed it, and for the local token, which
        cannot tell people apart; `rollout_conflict` for one that is not proposed.
        """
        rollout = self.rollout(name)
        if rollout.status != "proposed":
            raise BadInput(Code.ROLLOUT_CONFLICT, f"{name} is {rollout.status}: there is nothing to approve")
        if subject.local or subject.name == rollout.created_by:
            raise BadInput(Code.FOUR_EYES, f"{name} was proposed by {rollout.created_by}: somebody else approves it")
        started = msgspec.structs.replace(rollout, status="running", wave_began_at=time.time())
        self._service.save_rollouts(started)
        self._service.journal.audit(at, subject.name, "rollout approve", name, rollout.digest[:16])
        self._service.poke()
        return started

    def rollout(self, name: str) -> Rollout:
        """One rollout; BadInput `unknown_rollout`."""
        found = self._service.world.rollouts.get(name)
        if found is None:
            raise BadInput(Code.UNKNOWN_ROLLOUT, f"no rollout {name[:64]!r}; `edgeward rollout list` shows all")
        return found

    def _failures(self, rollout: Rollout) -> tuple[str, ...]:
        now = time.time()
        facts = facts_of(self._service.world, rollout, now)
        return tuple(
            member.device
            for member in rollout.members
            if outcome_of(rollout, member, facts[member.device], now) == "failed"
        )

    def _refuse_overlap(self, model: str) -> None:
        for other in self._service.world.rollouts.values():
            if other.model == model and other.status not in FINAL:
                raise BadInput(
                    Code.ROLLOUT_CONFLICT,
                    f"{other.id} of {model} is {other.status}: abort it, or wait until it has ended",
                )

    def _register(self, model: str, converted: Converted, lineage: Lineage) -> Version:
        service = self._service
        release = service.registry.next_release(model)
        for data in (converted.model, converted.golden):
            service.blobs.put(data)
        version = Version(
            model=model,
            release=release,
            manifest=_manifest(release, converted, service.config.publish.chunk_bytes),
            lineage=lineage,
            evidence={"parity": msgspec.to_builtins(converted.answer.parity)},
            gates=(judge_parity(converted.answer.parity),),
        )
        service.registry.add(version)
        return version


def resolve_strategy(given: str | dict[str, Any]) -> Strategy:
    """A strategy by name or by fields; BadInput `strategy_invalid` names the field."""
    if isinstance(given, str):
        if given not in STRATEGIES:
            raise BadInput(Code.STRATEGY_INVALID, f"no strategy {given[:64]!r}; there are {', '.join(STRATEGIES)}")
        return STRATEGIES[given]
    try:
        return msgspec.convert(given, Strategy)
    except msgspec.ValidationError as error:
        raise BadInput(Code.STRATEGY_INVALID, f"{error}; configs/rollouts shows every field") from None


def _check_strategy(strategy: Strategy) -> None:
    percents = [wave.percent for wave in strategy.waves]
    if percents != sorted(set(percents)) or percents[-1] != 100:
        raise BadInput(Code.STRATEGY_INVALID, f"waves {percents}: percents must rise and end with 100")


def _manifest(release: int, converted: Converted, chunk_bytes: int) -> Manifest:
    answer = converted.answer
    golden = Golden(
        blob=describe(converted.golden, chunk_bytes),
        rows=answer.golden_rows,
        rtol=Decimal(repr(RTOL)),
        atol=Decimal(repr(ATOL)),
        max_row_mismatch_ratio=GOLDEN_MISMATCH,
    )
    return Manifest(
        release=release,
        artifact=describe(converted.model, chunk_bytes),
        golden=golden,
        task=answer.task,
        inputs=answer.inputs,
        outputs=answer.outputs,
        columns=answer.columns,
        nan=answer.nan,
        hardware=HARDWARE,
        runtime=Runtime(ir=answer.ir, opset=answer.opset, ml_opset=answer.ml_opset),
        limits=Limits(
            memory_mb=max(MEMORY_FLOOR_MB, int(answer.load_mb * 2) + 32),
            load_s=max(LOAD_FLOOR_S, int(answer.load_s * 20)),
        ),
    )


def _gate_words(version: Version) -> str:
    return "; ".join(f"{gate.gate} {'passed' if gate.passed else 'FAILED'}: {gate.detail}" for gate in version.gates)


def _parity_words(version: Version) -> str:
    worst = version.evidence["parity"]["worst"]
    rows = " | ".join(f"{row['row']}: expected {row['expected']}, got {row['actual']}" for row in worst[:3])
    advice = "for trees behind a scaler, put skl2onnx.sklapi.CastTransformer before the trees and fit again"
    return f"v{version.release} is kept unreleased. {_gate_words(version)}. Worst rows: {rows}. {advice}"
