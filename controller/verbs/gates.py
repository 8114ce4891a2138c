"""Before a version is registered: collects what its gates judge, and applies the policy of its model.

Decides which version is the champion (the alias, else the newest that passed), and when a child must measure.
Refuses to know how a gate judges, and HTTP.
"""

import asyncio
import dataclasses
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from contract.manifest import Manifest
from contract.tensors import Array
from contract.wire import Message
from controller.clock import stamp
from controller.convert.convert import Converted
from controller.evaluate.evaluate import Evaluation, Form, evaluate, numbers
from controller.evaluate.request import Rows, read_rows
from controller.gates.evidence import Caller, ChampionRule, Evidence, HeldOut, unknown_labels
from controller.gates.judge import judge_all
from controller.gates.own import PREFIX
from controller.gates.policy import GatePolicy
from controller.gates.split import GATE as SPLIT
from controller.gates.split import TRAINED_UNTIL
from controller.gates.verdict import GateVerdict
from controller.registry.version import Told, Version
from controller.state import State
from controller.verbs.data_sets import lost_rows
from controller.verbs.intact import unreadable
from controller.verbs.versions import devices_by_release

CHAMPION_ALIAS = "champion"
MAX_OWN_GATES = 32
MAX_NAMED = 5
"""Labels, and classes, that a refusal names."""
_TABLE = "gates"


class OwnVerdict(Message, frozen=True):
    """The verdict of a gate of the user's own, which ran where the model was pushed."""

    gate: str
    passed: bool
    detail: str = ""
    evidence: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class Brought:
    """The parts of a push for the gates: held-out rows as a file, verdicts of the user's own gates, the person."""

    held_out: Path | None = None
    own: tuple[OwnVerdict, ...] = ()
    rule: ChampionRule | None = None
    """The requirements of a retrained version."""
    champion: int = 0
    """The release that it must beat; 0: the alias champion, or the newest that passed."""
    trained_since: float | None = None
    """When a retraining began to read its rows, in seconds since 1970; None: unknown."""


def policy_of(state: State, model: str) -> GatePolicy:
    """Returns the policy of a model; one without limits if none was set."""
    doc = state.store.get(_TABLE, model)
    return GatePolicy() if doc is None else convert_kept(doc, GatePolicy)


def shown_policy(state: State, model: str) -> GatePolicy:
    """As `policy_of`; BadInput `unknown_model` for a model that has neither a version nor limits."""
    if state.store.get(_TABLE, model) is None:
        state.registry.versions(model)
    return policy_of(state, model)


def set_gates(state: State, model: str, policy: GatePolicy, *, actor: str) -> GatePolicy:
    """Sets the limits for versions that are pushed from now on. BadInput `name_invalid`."""
    state.registry.next_release(model)
    state.store.put(_TABLE, {model: msgspec.to_builtins(policy)})
    state.journal.audit(stamp(), actor, "gates set", model, msgspec.json.encode(policy).decode()[:500])
    return policy


def check_brought(brought: Brought) -> None:
    """Raises BadInput before the long conversion: `tensors_invalid`, `sample_missing`, `request_invalid`."""
    if len(brought.own) > MAX_OWN_GATES:
        raise BadInput(Code.REQUEST_INVALID, f"{len(brought.own)} gates of your own, limit {MAX_OWN_GATES}")
    if brought.held_out is not None:
        read_rows(brought.held_out.read_bytes())


async def judge(
    state: State, model: str, manifest: Manifest, converted: Converted, *, brought: Brought, told: Told, actor: str
) -> tuple[GateVerdict, ...]:
    """Returns the verdicts of all gates. BadInput `sample_missing`, `tensors_invalid`, `conversion_limit`."""
    policy = policy_of(state, model)
    measures = brought.held_out is not None or policy.max_latency_us_p95 is not None or bool(policy.operators)
    measured = await _measured(state, model, manifest, converted, brought) if measures else None
    evaluation = measured[1] if measured is not None else None
    newest, fixed, fixed_sha256 = _held_out(manifest, brought, *measured) if measured else (None, None, "")
    evidence = Evidence(
        manifest=manifest,
        parity=converted.answer.parity,
        load_mb=converted.answer.form.load_mb,
        latency_us_p50=evaluation.measured.latency_us_p50 if evaluation else None,
        latency_us_p95=evaluation.measured.latency_us_p95 if evaluation else None,
        operators=evaluation.measured.operators if evaluation else None,
        held_out=newest,
        callers=_callers(state, model),
        licence=told.licence,
        own=tuple(_told(each, actor) for each in brought.own),
        never_forget=fixed,
        never_forget_sha256=fixed_sha256,
        retrained_by=brought.rule,
        data_sets=told.data_sets,
        lost_rows=lost_rows(state, told.data_sets, brought.trained_since),
    )
    return judge_all(policy, evidence)


async def _measured(
    state: State, model: str, manifest: Manifest, converted: Converted, brought: Brought
) -> tuple[Version | None, Evaluation]:
    """Returns (the champion, what a child has measured)."""
    champion = _champion(state, model, brought.champion) if brought.held_out is not None else None
    held_out = None if brought.held_out is None else await asyncio.to_thread(brought.held_out.read_bytes)
    settings = state.config.convert
    found = await evaluate(
        Form(manifest, *(made.path for made in converted.forms[""])),
        None if champion is None else await asyncio.to_thread(stored_form, state, champion),
        held_out,
        timeout_s=settings.timeout_s,
        memory_mb=settings.memory_mb,
    )
    return champion, found


def _champion(state: State, model: str, named: int) -> Version | None:
    alias = state.aliases.of(model).get(CHAMPION_ALIAS)
    if named or alias is not None:
        version: Version | None = state.registry.version(model, named or (alias.release if alias else 0))
    else:
        passed = (
            [each for each in state.registry.versions(model) if each.passed] if state.registry.newest(model) else []
        )
        free = [each for each in passed if state.registry.withdrawal(model, each.release) is None]
        version = free[-1] if free else None
    gone = version is None or state.registry.removal(model, version.release) is not None
    return None if gone else version


def stored_form(state: State, version: Version) -> Form:
    """Returns a stored version as the child needs it, verified. BadInput `store_corrupt`."""
    manifest = version.manifest
    digests = manifest.artifact.sha256, manifest.golden.blob.sha256
    for digest in digests:
        try:
            with state.blobs.opened(digest):
                pass  # it is verified
        except BadInput as error:
            raise unreadable(f"{version.model} v{version.release}", error.detail) from None
    return Form(manifest, *map(state.blobs.path, digests))


def _held_out(
    manifest: Manifest, brought: Brought, champion: Version | None, evaluation: Evaluation
) -> tuple[HeldOut | None, HeldOut | None, str]:
    """Returns (the newest rows, the fixed rows that no version may forget, the digest of these); None for missing
    ones.
    """
    if brought.held_out is None or evaluation.answers is None:
        return None, None, ""
    rows = read_rows(brought.held_out.read_bytes())
    _refuse_foreign(manifest, rows)
    fixed = np.zeros(len(rows.labels), dtype=np.bool_) if rows.never_forget is None else rows.never_forget
    newest = _answered(manifest, rows, champion, evaluation, ~fixed)
    newest = newest if rows.answers is None else _of_backtest(newest, rows, ~fixed)
    if rows.never_forget is None:
        return newest, None, ""
    return newest, _answered(manifest, rows, champion, evaluation, fixed), rows.never_forget_sha256()


def _of_backtest(newest: HeldOut, rows: Rows, wanted: Array) -> HeldOut:
    """Returns held-out rows with the answers of a backtest in the place of the version's own."""
    assert rows.answers is not None
    assert rows.fitted_until is not None
    answers = rows.answers[wanted]
    return dataclasses.replace(
        newest,
        answers=answers if newest.classifies else numbers(answers),
        fitted_until=rows.fitted_until[wanted],
        own_answers=newest.answers,
    )


def _refuse_foreign(manifest: Manifest, rows: Rows) -> None:
    """Raises BadInput `label_unknown` for held-out rows of which no label is a class of the version."""
    if manifest.task != "classification":
        return
    unknown = unknown_labels(rows.labels, manifest.classes)
    if unknown and sum(unknown.values()) == len(rows.labels):
        said, has = (
            ", ".join(repr(each[:40]) for each in list(names)[:MAX_NAMED]) for names in (unknown, manifest.classes)
        )
        words = (
            f"none of the {len(rows.labels)} held-out labels is a class of the model: they say {said}, it answers {has}"
        )
        raise BadInput(Code.LABEL_UNKNOWN, words)


def _answered(
    manifest: Manifest, rows: Rows, champion: Version | None, evaluation: Evaluation, wanted: Array
) -> HeldOut:
    """Returns the `wanted` (rows,) of the held-out rows with both versions' answers."""
    assert evaluation.answers is not None
    comparable = champion is not None and champion.manifest.task == manifest.task
    before = evaluation.champion if comparable else None
    labels = rows.labels[wanted]
    return HeldOut(
        task=manifest.task,
        labels=labels if manifest.task == "classification" else numbers(labels),
        answers=evaluation.answers[wanted],
        champion=None if before is None else before[wanted],
        champion_name=f"v{champion.release}" if champion is not None else "",
        groups={name: values[wanted] for name, values in rows.groups.items()},
        times=None if rows.times is None else rows.times[wanted],
        classes=manifest.classes,
        trained_until=rows.trained_until,
        champion_until=None if champion is None else _trained_until(champion),
    )


def _trained_until(version: Version) -> float | None:
    """Returns the time of the newest training row of a version, as its gate on the split has kept it."""
    return next((each.evidence.get(TRAINED_UNTIL) for each in version.gates if each.gate == SPLIT), None)


def _callers(state: State, model: str) -> tuple[Caller, ...]:
    known = state.registry.registered.get(model, {})
    running = devices_by_release(state, model) if known else {}
    return tuple(
        Caller(release, state.registry.version(model, release).manifest, len(devices))
        for release, devices in sorted(running.items())
        if release in known
    )


def _told(own: OwnVerdict, actor: str) -> GateVerdict:
    return GateVerdict(
        gate=f"{PREFIX}{own.gate}"[:64],
        passed=own.passed,
        detail=own.detail[:500],
        evidence=own.evidence,
        remedy="" if own.passed else "the gate is your own: look at what it has said",
        judged_by=actor,
    )
