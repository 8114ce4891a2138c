"""Late labels: the true answers for rows that devices have captured, and the rows that people are asked to label.

Decides nothing about rollouts: `rollouts.judge_again` does that. `drift.wanted` decides which rows are asked for.
"""

import time
from collections.abc import Mapping

import msgspec

from contract.errors import BadInput, Code
from contract.labels import Answer, Unusable, plain_label, settle_label
from controller.clock import stamp
from controller.drift.wanted import DAY_S, LOOK_BACK_S, PER_DAY, Candidate, Wanted, wanted_rows
from controller.fleet.fit import stratum_of
from controller.rollout.model import Strategy, Wave
from controller.state import State

MAX_LOOKED_AT = 5_000
"""The newest captured rows from which the day's rows are chosen: 50 ms."""
KINDS = Strategy(name="", waves=(Wave(percent=100),)).strata
"""The default keys of a stratum, unless a strategy names others."""


class LabelsWanted(msgspec.Struct, frozen=True):
    """The rest of the day's label budget of one model."""

    model: str
    per_day: int
    given_today: int
    captured: int
    """Rows that devices have captured in the newest two days: 0 means that no device may send any."""
    rows: tuple[Wanted, ...]


def label_rows(state: State, model: str, labels: Mapping[int, str | float], *, actor: str) -> int:
    """Sets the labels of a model's captured rows, by id. Returns how many of these rows exist.

    BadInput `unknown_model`; `label_invalid` names the first row with an invalid label, and then none is set.
    """
    state.registry.versions(model)
    for number, label in labels.items():
        if settle_label(label, regression=False) in (None, Unusable.LABEL):
            raise BadInput(Code.LABEL_INVALID, f"row {number}: {label!r:.40} is no label")
    count = state.captures.label(model, labels, time.time())
    state.journal.audit(stamp(), actor, "rows label", model, f"{count} of {len(labels)} rows")
    return count


def known_classes(state: State, model: str, release: int) -> frozenset[Answer]:
    """Returns the plain labels that any version of the model answers; empty if those of this release are not known.

    BadInput `unknown_model`, `unknown_version`.
    """
    if not state.registry.version(model, release).manifest.classes:
        return frozenset()
    versions = state.registry.versions(model)
    return frozenset(plain_label(name) for version in versions for name in version.manifest.classes)


def labels_wanted(state: State, model: str, now: float) -> LabelsWanted:
    """Returns rows that people are asked to label today. BadInput `unknown_model`."""
    state.registry.versions(model)
    began = now // DAY_S * DAY_S
    given = state.captures.given_since(model, began)
    rows = [
        Candidate(number, device, kind_of(state, device), row)
        for number, device, row in state.captures.newest_rows(model, MAX_LOOKED_AT)
        if now - LOOK_BACK_S <= row.at <= now
    ]
    wanted = wanted_rows(rows, given, str(int(began)))
    return LabelsWanted(model=model, per_day=PER_DAY, given_today=given, captured=len(rows), rows=tuple(wanted))


def kind_of(state: State, device: str) -> str:
    """Returns the stratum of a device; "" for one that has not reported."""
    twin = state.world.durable.twins.get(device)
    return "" if twin is None else stratum_of(twin, KINDS)
