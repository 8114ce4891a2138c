"""Examines how the data of one version have moved: collects the facts for `drift.report`, and reads shapes while others
write.

Decides which version is meant and which releases count with the same bins. Refuses to know what a difference means.
"""

import asyncio
import logging
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from msgspec.structs import replace

from contract.distributions import Reference, read_reference
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.tensors import decode_tensors
from controller.drift.report import DriftReport, Facts, Trial, report_of, since_of
from controller.reconcile.world import members_of
from controller.rollout.model import JUDGED, Rollout
from controller.state import State
from controller.telemetry.shapes import read_shapes
from controller.verbs.gates import policy_of
from controller.verbs.intact import unreadable
from controller.verbs.labels import kind_of, known_classes
from controller.verbs.versions import devices_by_release

DAY_S = 86_400.0
MAX_DAYS = 28.0
MAX_DEVICES = 100
"""The most devices whose shapes are read for one look: five weeks of hours are 84,000 rows, 2 s of a thread."""
MAX_ALIKE = 8
"""The most newest releases that are compared with the examined one: most have different bins."""
MAX_LABELLED = 20_000
"""Newest rows with a label: two years of the label budget."""

_log = logging.getLogger("edgeward.drift")


async def look(state: State, model: str, release: int | None, now: float, days: float = 7.0) -> DriftReport:
    """Returns what has moved since the weeks before, for one release; None: the one that most devices run.

    BadInput `unknown_model`, `unknown_version`, `version_removed`, `request_invalid`; `store_corrupt` if the golden set
    of that release is missing or damaged.
    """
    if not 1.0 <= days <= MAX_DAYS:
        raise BadInput(Code.REQUEST_INVALID, f"{days:g} days: expected 1 to {MAX_DAYS:g}")
    state.registry.versions(model)
    facts = _facts(state, model, release or _most_run(state, model), now, days * DAY_S)
    since, newest = since_of(now, facts.span_s), now - facts.span_s
    return await asyncio.to_thread(_read_and_judge, state, facts, since, newest)


async def look_at_all(state: State, now: float) -> None:
    """Examines the data of every model, one after the other, and keeps the results for alerts and retraining.

    It reads weeks of the store, so it runs in the background and never in a pass.
    """
    for model in state.registry.models():
        found = None
        try:
            found = await look(state, model, None, now)
        except Exception:  # one model's data must not hide those of others
            _log.exception("the data of %s could not be looked at", model)
        state.data_looks[model] = found


def _read_and_judge(state: State, facts: Facts, since: float, newest: float) -> DriftReport:
    rows, _ = read_shapes(state.telemetry.path, facts.model, since, newest, MAX_DEVICES)
    labelled = state.captures.labelled(facts.model, MAX_LABELLED)
    return report_of(replace(facts, labelled=labelled), rows)


def _facts(state: State, model: str, release: int, now: float, span_s: float) -> Facts:
    manifest = state.registry.version(model, release).manifest
    if (removal := state.registry.removal(model, release)) is not None:
        words = f"{model} v{release}: its blobs were deleted by {removal.by} at {removal.at}, its golden set among them"
        raise BadInput(Code.VERSION_REMOVED, words)
    reference = _reference(state, model, manifest)
    alike = frozenset(_alike(state, model, release, reference))
    return Facts(
        model=model,
        release=release,
        task=manifest.task,
        reference=reference,
        alike=alike,
        kinds={device: kind_of(state, device) for device in state.world.durable.twins},
        labelled=(),
        trial=_trial(state, model, alike | {release}),
        fairness_limit=policy_of(state, model).fairness.demographic_parity_difference,
        now=now,
        span_s=span_s,
        classes=known_classes(state, model, release),
    )


def _most_run(state: State, model: str) -> int:
    """Returns the release that most devices have; if none has any, the newest version."""
    running = devices_by_release(state, model)
    newest = state.registry.newest(model)
    assert newest is not None  # a model without versions is unknown
    return max(running, key=lambda each: (len(running[each]), each), default=newest.release)


def _alike(state: State, model: str, release: int, reference: Reference) -> Iterator[int]:
    """Returns the newest other releases whose inputs are counted with exactly the same bins."""
    known = sorted(state.registry.registered.get(model, {}), reverse=True)[:MAX_ALIKE]
    for other in known:
        if other != release and state.registry.removal(model, other) is None:
            try:
                found = _reference(state, model, state.registry.version(model, other).manifest)
            except BadInput as error:  # a damaged version beside it only takes its own past away
                _log.warning("%s is looked at without v%d: %s", model, other, error.detail)
                continue
            if found.features.keys() == reference.features.keys() and all(
                np.array_equal(edges, found.features[name]) for name, edges in reference.features.items()
            ):
                yield other


def _reference(state: State, model: str, manifest: Manifest) -> Reference:
    """Returns the reference in the golden set of a version. BadInput `store_corrupt` if it is missing or damaged."""
    try:
        return _read(state.blobs.get(manifest.golden.blob.sha256), manifest)
    except BadInput as error:
        raise unreadable(f"the golden set of {model} v{manifest.release}", error.detail) from None


@lru_cache(maxsize=2 * MAX_ALIKE)
def _read(golden: bytes, manifest: Manifest) -> Reference:
    return read_reference(decode_tensors(golden), manifest)


def _trial(state: State, model: str, comparable: frozenset[int]) -> Trial | None:
    """Returns the running rollout of a release with the same bins."""
    for rollout in state.world.durable.rollouts.values():
        if rollout.model == model and rollout.status in JUDGED and rollout.release in comparable:
            return Trial(rollout.id, rollout.release, _having(state, rollout), rollout.began_at)
    return None


def _having(state: State, rollout: Rollout) -> frozenset[str]:
    """Returns members that report the release."""
    running = devices_by_release(state, rollout.model).get(rollout.release, ())
    return frozenset(running) & members_of(state.world, rollout).keys()
