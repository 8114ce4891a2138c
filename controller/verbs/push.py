"""Pushes a version: converts, judges, registers, audits.

Decides whether a request is allowed now. Refuses to know HTTP.
"""

import asyncio
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import msgspec

from contract.blobs import describe
from contract.errors import BadInput, Code
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Variant
from contract.tolerance import RESOLUTION
from controller.clock import stamp
from controller.convert.convert import ConversionLimits, Converted, run_conversion
from controller.convert.request import Conversion, ConvertedForm, VariantName
from controller.gates.parity import judge_parity
from controller.gates.variant import judge_variant
from controller.registry.registry import Lineage, Version, gate_words
from controller.state import State
from controller.verbs import trust

HARDWARE = ("x86_64", "aarch64", "arm64")
GOLDEN_MISMATCH = Decimal("0.02")
"""The fraction of golden rows that a device may answer differently: processors round differently, and votes may tie."""
MEMORY_FLOOR_MB = 64
LOAD_FLOOR_S = 10


async def push(
    state: State,
    model: str,
    kind: Literal["skops", "onnx"],
    raw: Path,
    sample: Path,
    *,
    actor: str,
    tags: dict[str, str],
    variants: tuple[VariantName, ...] = (),
    waive_rows: str = "",
) -> Version:
    """Converts, judges and registers a version from the files `raw` and `sample`. The files are not changed.

    `waive_rows`: the reason why few distinct rows of the sample are enough; empty: they are not.
    BadInput `parity_failed`: the version is registered with its evidence, but it cannot be rolled out.
    """
    state.registry.next_release(model)  # a bad name must be refused before minutes of conversion
    settings, at = state.config.convert, stamp()
    limits = ConversionLimits(settings.timeout_s, settings.memory_mb, settings.trusted_types, settings.require_sandbox)
    async with state.conversions.turn():
        converted = await run_conversion(kind, raw, sample, limits, variants, rows_waived=bool(waive_rows))
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
    version = _register(state, model, converted, lineage, {"rows": waive_rows} if waive_rows else {})
    state.journal.audit(at, actor, "push", f"{model} v{version.release}", gate_words(version))
    if not version.passed:
        raise BadInput(Code.PARITY_FAILED, _parity_words(version))
    trust.sign(state, model)
    state.deliveries.begin(model, version.manifest)
    return version


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _register(state: State, model: str, converted: Converted, lineage: Lineage, waivers: dict[str, str]) -> Version:
    release = state.registry.next_release(model)
    for form in converted.forms.values():
        for data in form:
            state.blobs.put(data)
    version = Version(
        model=model,
        release=release,
        manifest=_manifest(release, converted, state.config.publish.chunk_bytes),
        lineage=lineage,
        evidence=_evidence(converted.answer, waivers),
        gates=(judge_parity(converted.answer.parity),),
    )
    state.registry.add(version)
    return version


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
        required=answer.required,
        missing_text=answer.missing_text,
        hardware=HARDWARE,
    )


def _form(made: tuple[bytes, bytes], measured: ConvertedForm, chunk_bytes: int) -> dict[str, Any]:
    """Returns the fields of the manifest that describe one form."""
    model, golden = (describe(data, chunk_bytes) for data in made)
    return {
        "artifact": model,
        "golden": Golden(
            blob=golden,
            rows=measured.golden_rows,
            rtol=Decimal(repr(RESOLUTION)),
            atol=Decimal(0),
            max_row_mismatch_ratio=GOLDEN_MISMATCH,
        ),
        "runtime": Runtime(ir=measured.ir, opset=measured.opset, ml_opset=measured.ml_opset),
        "limits": ModelLimits(
            memory_mb=max(MEMORY_FLOOR_MB, int(measured.load_mb * 2) + 32),
            load_s=max(LOAD_FLOOR_S, int(measured.load_s * 20)),
        ),
    }


def _evidence(answer: Conversion, waivers: dict[str, str]) -> dict[str, Any]:
    """Returns the evidence: parity, all smaller forms, also those that were not good enough, and reasons of waivers."""
    variants = [
        msgspec.to_builtins(shrunk) | {"gate": msgspec.to_builtins(judge_variant(shrunk))} for shrunk in answer.shrunk
    ]
    parity = msgspec.to_builtins(answer.parity)
    return {"parity": parity, "variants": variants, "sandbox": answer.sandbox, "waivers": waivers}


def _parity_words(version: Version) -> str:
    worst = version.evidence["parity"]["worst"]
    rows = " | ".join(f"{row['row']}: expected {row['expected']}, got {row['actual']}" for row in worst[:3])
    untried = "; ".join(version.evidence["parity"].get("untried", ()))
    others = f" No verdict for {untried}."[:200] if untried else ""
    advice = "Remedy: replace the last step, or fit it on rows whose columns are scaled to about 1"
    return f"v{version.release} is kept unreleased. {gate_words(version)}.{others} {advice}. Worst rows: {rows}"
