"""What a data scientist can ask for: push a version. Converts, judges, registers, audits.

Decides whether a request is legal now. Refuses to know HTTP.
"""

import asyncio
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from contract.blobs import describe
from contract.errors import BadInput, Code
from contract.manifest import Golden, Limits, Manifest, Runtime, Variant
from controller.convert.compare import ATOL, RTOL
from controller.convert.convert import Converted, run_conversion
from controller.convert.convert import Limits as ConversionLimits
from controller.convert.request import Answer, FormAnswer, VariantName
from controller.gates.parity import judge_parity
from controller.gates.variant import judge_variant
from controller.registry.registry import Lineage, Version, gate_words
from controller.rollout.model import Strategy
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
        raw: Path,
        sample: Path,
        *,
        actor: str,
        at: str,
        tags: dict[str, str],
        variants: tuple[VariantName, ...] = (),
    ) -> Version:
        """Convert, judge and register a version; BadInput `parity_failed` keeps it unreleased, with evidence."""
        service = self._service
        service.registry.next_release(model)  # a bad name is refused before minutes of conversion
        settings = service.config.convert
        limits = ConversionLimits(settings.timeout_s, settings.memory_mb, settings.trusted_types)
        converted = await run_conversion(kind, raw, sample, limits, variants)
        lineage = Lineage(
            created_at=at,
            created_by=actor,
            source=kind,
            source_sha256=await asyncio.to_thread(_digest, raw),
            estimator=converted.answer.estimator,
            params=converted.answer.params,
            libraries=converted.answer.libraries,
            tags=tags,
        )
        version = self._register(model, converted, lineage)
        service.journal.audit(at, actor, "push", f"{model} v{version.release}", gate_words(version))
        if not version.released:
            raise BadInput(Code.PARITY_FAILED, _parity_words(version))
        service.vouch(model)
        service.deliveries.begin(model, version.manifest)
        return version

    def _register(self, model: str, converted: Converted, lineage: Lineage) -> Version:
        service = self._service
        release = service.registry.next_release(model)
        for form in converted.forms.values():
            for data in form:
                service.blobs.put(data)
        version = Version(
            model=model,
            release=release,
            manifest=_manifest(release, converted, service.config.publish.chunk_bytes),
            lineage=lineage,
            evidence=_evidence(converted.answer),
            gates=(judge_parity(converted.answer.parity),),
        )
        service.registry.add(version)
        return version


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _manifest(release: int, converted: Converted, chunk_bytes: int) -> Manifest:
    answer = converted.answer
    forms = {"": answer.form, **answer.variants}
    described = {name: _form(converted.forms[name], form, chunk_bytes) for name, form in forms.items()}
    return Manifest(
        release=release,
        **described.pop(""),
        variants=tuple(Variant(name=name, **fields) for name, fields in described.items()),
        task=answer.task,
        inputs=answer.inputs,
        outputs=answer.outputs,
        columns=answer.columns,
        nan=answer.nan,
        hardware=HARDWARE,
    )


def _form(made: tuple[bytes, bytes], measured: FormAnswer, chunk_bytes: int) -> dict[str, Any]:
    """What the manifest says about one form."""
    model, golden = (describe(data, chunk_bytes) for data in made)
    return {
        "artifact": model,
        "golden": Golden(
            blob=golden,
            rows=measured.golden_rows,
            rtol=Decimal(repr(RTOL)),
            atol=Decimal(repr(ATOL)),
            max_row_mismatch_ratio=GOLDEN_MISMATCH,
        ),
        "runtime": Runtime(ir=measured.ir, opset=measured.opset, ml_opset=measured.ml_opset),
        "limits": Limits(
            memory_mb=max(MEMORY_FLOOR_MB, int(measured.load_mb * 2) + 32),
            load_s=max(LOAD_FLOOR_S, int(measured.load_s * 20)),
        ),
    }


def _evidence(answer: Answer) -> dict[str, Any]:
    """Parity, and what is known of the smaller forms, those that were not good enough among them."""
    variants = [
        msgspec.to_builtins(shrunk) | {"gate": msgspec.to_builtins(judge_variant(shrunk))} for shrunk in answer.shrunk
    ]
    return {"parity": msgspec.to_builtins(answer.parity), "variants": variants}


def _parity_words(version: Version) -> str:
    worst = version.evidence["parity"]["worst"]
    rows = " | ".join(f"{row['row']}: expected {row['expected']}, got {row['actual']}" for row in worst[:3])
    advice = "for trees behind a scaler, put skl2onnx.sklapi.CastTransformer before the trees and fit again"
    return f"v{version.release} is kept unreleased. {gate_words(version)}. Worst rows: {rows}. {advice}"
