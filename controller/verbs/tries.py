"""Tries a model: converts it, judges parity and measures its form as a push does, and registers nothing.

Decides that a try waits in the same queue as pushes, and that the audit records it. Refuses to know HTTP, and the
search that tries models.
"""

from pathlib import Path

from contract.wire import Message
from controller.clock import stamp
from controller.convert.convert import ConversionLimits, run_conversion
from controller.convert.request import ModelKind
from controller.convert.scratch import scratch_directory
from controller.evaluate.evaluate import Form, evaluate
from controller.gates.parity import judge_parity
from controller.state import State
from controller.verbs.candidates import ProbedOn, Where, probe_candidate
from controller.verbs.push import manifest_of


class Tried(Message, frozen=True):
    """The measurements of a model as if it were a version, made on the controller's machine with one thread."""

    task: str
    estimator: str
    passed: bool
    """Whether the converted form answers as the estimator did: the parity gate."""
    detail: str
    """The verdict of the parity gate in words."""
    digest: str
    """SHA-256 of the full form as ONNX."""
    size_bytes: int
    latency_us_p50: float
    latency_us_p95: float
    """The latency of one row."""
    load_s: float
    load_mb: float
    operators: tuple[str, ...]
    on: ProbedOn | None = None
    """The measurements of a device; None if none was requested, or parity has failed."""


async def try_out(
    state: State,
    model: str,
    kind: ModelKind,
    raw: Path,
    sample: Path,
    *,
    waive_rows: bool,
    where: Where | None,
    actor: str,
) -> Tried:
    """Converts and measures the model in the file `raw` on the rows in `sample`; stores nothing but an audit entry.

    `waive_rows`: few distinct rows of the sample are enough. `where`: a device probes the form as well, if parity
    has passed; other pushes run in the meantime. BadInput as of a push, before its gates, and as `probe_candidate`;
    WorldError `busy` if no turn comes in time.
    """
    state.registry.next_release(model)  # a bad name must be refused before minutes of conversion
    settings, at = state.config.convert, stamp()
    limits = ConversionLimits(settings.timeout_s, settings.memory_mb, settings.trusted_types, settings.require_sandbox)
    chunk_bytes = state.config.publish.chunk_bytes
    with scratch_directory(raw.parent) as directory:
        async with state.conversions.turn():
            converted = await run_conversion(
                kind, raw, sample, limits, directory=directory, chunk_bytes=chunk_bytes, rows_waived=waive_rows,
                starter=state.starter,
            )  # fmt: skip
            manifest = manifest_of(state, model, converted)
            form = Form(manifest, *(made.path for made in converted.forms[""]))
            found = await evaluate(form, None, None, timeout_s=settings.timeout_s, memory_mb=settings.memory_mb)
        verdict, artifact = judge_parity(converted.answer.parity), manifest.artifact
        files = {made.blob.sha256: made.path for made in converted.forms[""]}
        wanted = where if verdict.passed else None
        on = await probe_candidate(state, model, manifest, files, wanted, actor=actor) if wanted is not None else None
    measured = found.measured
    assert measured.latency_us_p50 is not None
    assert measured.latency_us_p95 is not None
    words = f"{artifact.length} bytes, {'passed' if verdict.passed else 'did not pass'} parity: nothing was registered"
    state.journal.audit(at, actor, "try", model, words)
    return Tried(
        task=converted.answer.task,
        estimator=converted.answer.estimator,
        passed=verdict.passed,
        detail=verdict.detail,
        digest=artifact.sha256,
        size_bytes=artifact.length,
        latency_us_p50=measured.latency_us_p50,
        latency_us_p95=measured.latency_us_p95,
        load_s=converted.answer.form.load_s,
        load_mb=converted.answer.form.load_mb,
        operators=measured.operators,
        on=on,
    )
