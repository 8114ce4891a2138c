"""Pushes a version: converts, judges, registers, audits.

Decides whether a request is allowed now, and that the bytes of an existing version make no second one. A registered
version is complete: nothing is awaited between its first blob and its signature. Refuses to know HTTP.
"""

import asyncio
import dataclasses
import hashlib
import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.manifest import Golden, Manifest, ModelLimits, Runtime, Stage, Variant
from contract.protocol import MAX_DETAIL_CHARS
from contract.recurrent import StateAsked, state_of
from contract.tolerance import RESOLUTION
from controller.clock import stamp
from controller.convert.convert import ConversionLimits, Converted, MadeFile, run_conversion
from controller.convert.request import Conversion, ConvertedForm, ModelKind, VariantName
from controller.convert.scratch import scratch_directory
from controller.convert.under_way import UnderWay
from controller.gates.variant import judge_variant
from controller.gates.verdict import GateVerdict
from controller.registry.journal import AuditFilter
from controller.registry.notes import check_tags
from controller.registry.semver import next_semver
from controller.registry.version import Environment, Lineage, Told, Version, check_told, gate_words, same_bytes
from controller.retraining.model import Retrained
from controller.state import State
from controller.verbs import erasures, gates, pushed_again, retraining, trust
from controller.verbs.gates import Brought, check_brought

HARDWARE = ("x86_64", "aarch64", "arm64")
GOLDEN_MISMATCH = Decimal("0.02")
"""The fraction of golden rows that a device may answer differently: processors round differently, and votes may tie."""
MAX_GROUP_COLUMNS = 4
"""Group columns whose values devices count separately; the gate on fairness judges further ones on held-out rows
alone."""
MEMORY_FLOOR_MB = 64
LOAD_FLOOR_S = 10
PARITY_REMEDY = "replace the last step, or fit it on rows whose columns are scaled to about 1"
NEIGHBOURS_REMEDY = "fit it with weights='distance': which of several neighbours at one distance counts is chance"
NOTHING = Told()
NO_MORE = Brought()


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push: a new version, or the existing one with the same bytes."""

    version: Version
    new: bool
    tags_added: Mapping[str, str] = field(default_factory=dict)
    """Tags that an existing version got by this push."""
    tags_replaced: Mapping[str, str] = field(default_factory=dict)
    """Their earlier values, of those that had one."""
    mended: bool = False
    """Whether files of the existing version were missing or damaged, and are there again."""
    not_taken: tuple[str, ...] = ()
    """Facts of this push that the existing version does not take: it keeps those of its first push."""


async def push(
    state: State,
    model: str,
    kind: ModelKind,
    raw: Path,
    sample: Path,
    *,
    actor: str,
    tags: dict[str, str],
    variants: tuple[VariantName, ...] = (),
    waive_rows: str = "",
    told: Told = NOTHING,
    brought: Brought = NO_MORE,
    recurrent: StateAsked | None = None,
    retrained: Retrained | None = None,
    under_way: UnderWay | None = None,
) -> Pushed:
    """Converts, judges and registers a version from the files `raw` and `sample`. The files are not changed.

    `under_way` gets the present step of the push. `recurrent`: the state that devices keep between requests.
    `waive_rows`: the reason why few distinct rows of the sample are enough; empty: they are refused. BadInput
    `parity_failed`, `gates_not_passed`: the version is registered with its evidence, but it cannot be rolled out.
    `request_invalid`, `unknown_version` for invalid tags or an unknown parent. Once it is cancelled, its children
    end and nothing is registered.
    """
    state.registry.next_release(model)  # a bad name must be refused before minutes of conversion
    check_tags(tags)
    check_told(told)
    check_brought(brought)
    if retrained is not None:
        attempt, rule = retraining.begin_push(state, retrained.id, model)
        brought = dataclasses.replace(brought, rule=rule, champion=attempt.champion, trained_since=attempt.began_at)
    parent = _parent(state, model, told.parent)
    settings, at, mine = state.config.convert, stamp(), under_way or begun(state, model, actor)
    limits = ConversionLimits(settings.timeout_s, settings.memory_mb, settings.trusted_types, settings.require_sandbox)
    with scratch_directory(raw.parent) as directory:
        try:
            mine.enter("wait")
            async with state.conversions.turn():
                began_s = time.monotonic()
                converted = await run_conversion(
                    kind, raw, sample, limits, variants, directory=directory,
                    chunk_bytes=state.config.publish.chunk_bytes, rows_waived=bool(waive_rows), starter=state.starter,
                    push=mine,
                )  # fmt: skip
                converted_s = time.monotonic()
                manifest = manifest_of(state, model, converted, recurrent, told.stages)
                mine.enter("gates")
                verdicts = await gates.judge(state, model, manifest, converted, brought=brought, told=told, actor=actor)
                took_s = {"conversion": converted_s - began_s, "gates": time.monotonic() - converted_s}
            mine.enter("register")
            digests = await _digests(converted, raw, sample)
        except asyncio.CancelledError:
            state.journal.audit(stamp(), actor, "push cancel", model, "whoever pushed has gone: nothing was registered")
            raise
        lineage = _lineage(converted.answer, told, parent, at=at, actor=actor, kind=kind, digests=digests, tags=tags)
        evidence = _evidence(converted.answer, {"rows": waive_rows} if waive_rows else {}, took_s)
        pushed = _register(
            state, manifest, converted, lineage, evidence, environment=told.environment, verdicts=verdicts, model=model
        )
    _tell_of(state, pushed, at=at, actor=actor)
    if not pushed.new:
        added, replaced = pushed_again.add_tags(state, pushed.version, tags, actor=actor)
        not_taken = pushed_again.facts_not_taken(pushed.version, told, parent, waive_rows)
        pushed = dataclasses.replace(pushed, tags_added=added, tags_replaced=replaced, not_taken=not_taken)
    if retrained is not None:
        retraining.end_push(state, retrained, pushed.version, is_new=pushed.new)
    if not pushed.version.passed:
        raise _refusal(pushed.version)
    return pushed


def begun(state: State, model: str, actor: str, total_bytes: int = 0) -> UnderWay:
    """Returns a push that begins now; the newest version of the model gives its expected duration."""
    newest = state.registry.newest(model) if model in state.registry.models() else None
    took_s = newest.evidence.get("took_s", {}) if newest is not None else {}
    return UnderWay(model, actor, time.time(), time.monotonic, sum(took_s.values()) or None, total_bytes)


def _tell_of(state: State, pushed: Pushed, *, at: str, actor: str) -> None:
    """Audits a push, and makes a new version ready for devices."""
    if pushed.new:
        _tell(state, pushed.version)
        _make_ready(state, pushed.version)
        return
    named = f"{pushed.version.model} v{pushed.version.release}"
    words = f"the same bytes as v{pushed.version.release}: no version was made"
    words += "; its files were missing or damaged, and are there again" if pushed.mended else ""
    state.journal.audit(at, actor, "push again", named, words)


def finish_interrupted(state: State) -> list[str]:
    """Finishes pushes whose version was durable when the controller was killed; returns `MODEL vN` of each."""
    found = []
    for model in state.registry.models():
        version = state.registry.newest(model)
        assert version is not None
        if version.release in state.trust_metadata.signed(model):
            continue  # the signature comes last
        name = f"{model} v{version.release}"
        pushes = state.journal.audit_entries(1000, wanted=AuditFilter(action="push", subject=name))
        told = any((entry["action"], entry["subject"]) == ("push", name) for entry in pushes)
        if not told:
            _tell(state, version)
        if _make_ready(state, version) or not told:
            found.append(name)
    return found


def _tell(state: State, version: Version) -> None:
    lineage, subject = version.lineage, f"{version.model} v{version.release}"
    state.journal.audit(lineage.created_at, lineage.created_by, "push", subject, gate_words(version))
    erasures.note_version(state, version)


def _make_ready(state: State, version: Version) -> bool:
    """Signs a version that passed, if the release key is here, and begins to encode it; False if that was done."""
    if not version.passed or version.release in state.trust_metadata.signed(version.model):
        return False
    state.deliveries.begin(version.model, version.manifest)
    return trust.sign(state, version.model)


def _refusal(version: Version) -> BadInput:
    failed = [gate for gate in version.gates if not gate.passed and gate.waiver is None]
    if failed[0].gate == "parity":
        return BadInput(Code.PARITY_FAILED, _parity_words(version))
    words = "; ".join(f"{gate.gate}: {gate.detail}; {gate.remedy}" for gate in failed)
    return BadInput(Code.GATES_NOT_PASSED, f"v{version.release} is kept unreleased. {words}")


def _parent(state: State, model: str, named: str) -> int | None:
    """Returns the release from which the new version is derived: the named one, else the newest."""
    if named:
        return state.aliases.resolve(model, named)
    newest = state.registry.newest(model)
    return newest.release if newest is not None else None


def _lineage(
    answer: Conversion,
    told: Told,
    parent: int | None,
    *,
    at: str,
    actor: str,
    kind: str,
    digests: list[str],
    tags: dict[str, str],
) -> Lineage:
    return Lineage(
        created_at=at,
        created_by=actor,
        source=kind,
        source_sha256=digests[0],
        sample_sha256=digests[1],
        estimator=answer.estimator,
        params={**answer.params, **told.params},
        libraries=answer.libraries,
        tags=tags,
        data=told.data,
        code=told.code,
        parent=parent,
        metrics=told.metrics,
        licence=told.licence,
        run=told.run,
        data_sets=told.data_sets,
    )


async def _digests(converted: Converted, raw: Path, sample: Path) -> list[str]:
    """The digests of what was pushed: (model, sample)."""
    as_pushed = converted.forms[""][0].blob.sha256 if converted.answer.as_pushed else ""
    return [as_pushed or await asyncio.to_thread(_digest, raw), await asyncio.to_thread(_digest, sample)]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _register(
    state: State,
    manifest: Manifest,
    converted: Converted,
    lineage: Lineage,
    evidence: dict[str, Any],
    *,
    model: str,
    environment: Environment | None,
    verdicts: tuple[GateVerdict, ...],
) -> Pushed:
    """Stores the version, or finds the one with these bytes; then its blobs are restored if they were deleted, are
    missing, or are damaged.
    """
    version = Version(
        model=model,
        release=state.registry.next_release(model),
        manifest=replace(manifest, release=state.registry.next_release(model)),
        lineage=lineage,
        evidence=evidence,
        gates=verdicts,
    )
    known = state.registry.having(model, version.manifest.artifact.sha256)
    same = next((each for each in reversed(known) if same_bytes(each, version)), None)
    made_files = [made for form in converted.forms.values() for made in form]
    mended = [made for made in made_files if state.blobs.mend(made.path, made.blob.sha256)]
    if same is not None:
        if state.registry.removal(model, same.release) is not None:
            state.registry.keep(model, same.release)
        return Pushed(same, new=False, mended=bool(mended))
    kept_in = state.registry.add_environment(environment) if environment is not None else ""
    version = replace(version, lineage=replace(lineage, environment_sha256=kept_in))
    version = replace(version, semver=next_semver(state.registry.newest(model), version))
    state.registry.add(version)
    return Pushed(version, new=True)


def manifest_of(
    state: State,
    model: str,
    converted: Converted,
    recurrent: StateAsked | None = None,
    stages: tuple[Stage, ...] = (),
) -> Manifest:
    """The manifest of the next release of `model`, as a release signer would vouch for it. `stages`: what is said of
    two models in a row that were joined before.

    BadInput `request_invalid` where the model cannot keep the state that is asked for.
    """
    answer = converted.answer
    fairness = gates.policy_of(state, model).fairness
    watched = fairness.groups[:MAX_GROUP_COLUMNS] if answer.task == "classification" else ()
    kept, inputs, outputs = None, answer.inputs, answer.outputs
    if recurrent is not None:
        kept, inputs, outputs = state_of(recurrent, answer.inputs, answer.outputs)
    forms = {"": answer.form, **answer.variants}
    described = {name: _form(converted.forms[name], form) for name, form in forms.items()}
    return Manifest(
        release=state.registry.next_release(model),
        **described.pop(""),
        variants=tuple(Variant(name=name, **fields) for name, fields in described.items()),
        task=answer.task,
        inputs=inputs,
        outputs=outputs,
        state=kept,
        columns=answer.columns,
        nan=answer.nan,
        required=answer.required,
        missing_text=answer.missing_text,
        hardware=HARDWARE,
        groups=watched,
        positive=fairness.positive if watched else "",
        classes=answer.classes,
        stages=answer.stages or stages,
    )


def _form(made: tuple[MadeFile, MadeFile], measured: ConvertedForm) -> dict[str, Any]:
    """Returns the fields of the manifest that describe one form."""
    model, golden = made
    return {
        "artifact": model.blob,
        "golden": Golden(
            blob=golden.blob,
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


def _evidence(answer: Conversion, waivers: dict[str, str], took_s: dict[str, float]) -> dict[str, Any]:
    """Returns the evidence: parity, all smaller forms, also those that were not good enough, reasons of waivers, and
    how long conversion and gates took.
    """
    variants = [
        msgspec.to_builtins(shrunk) | {"gate": msgspec.to_builtins(judge_variant(shrunk))} for shrunk in answer.shrunk
    ]
    parity = msgspec.to_builtins(answer.parity)
    return {"parity": parity, "variants": variants, "sandbox": answer.sandbox, "waivers": waivers, "took_s": took_s}


def _parity_words(version: Version) -> str:
    """Says how many rows differ, and what to do. The remedy and the place of the rows stay whole in a cut message."""
    parity = version.evidence["parity"]
    detail = next(gate.detail for gate in version.gates if gate.gate == "parity")
    worst = [
        f"{row['row']}: expected {_cells(row['expected'])}, got {_cells(row['actual'])}" for row in parity["worst"][:1]
    ]
    untried = [f"no verdict for {each}" for each in parity.get("untried", ())]
    of = f"{version.lineage.estimator} {version.lineage.params}"
    remedy = NEIGHBOURS_REMEDY if "Neighbors" in of else PARITY_REMEDY
    advice = f"Remedy: {remedy}. Rows that differ: edgeward model show {version.model} --version {version.release}"
    kept = f"v{version.release} is kept unreleased. {'. '.join([detail, *worst, *untried])}"
    return f"{textwrap.shorten(kept, MAX_DETAIL_CHARS - len(advice) - 2, placeholder=' ...').rstrip('. ')}. {advice}"


def _cells(cells: dict[str, str]) -> str:
    return ", ".join(f"{name} {cell}" for name, cell in cells.items())
