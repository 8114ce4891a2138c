"""Late labels: the true answers for rows that devices have captured, and which rows people are asked about.

Decides nothing about rollouts: `rollouts.judge_again` does that. Which rows are asked for decides `drift.wanted`.
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
"""Newest captured rows among which the day's rows are chosen: 50 ms."""
KINDS = Strategy(name="", waves=(Wave(percent=100),)).strata
"""What makes devices alike where nobody has said otherwise: the default of a strategy."""


class LabelsWanted(msgspec.Struct, frozen=True):
    """What is left of the day's label budget of one model."""

    model: str
    per_day: int
    given_today: int
    captured: int
    """Rows that devices have kept in the newest two days: 0 means that no device may send any."""
    rows: tuple[Wanted, ...]


def label_rows(state: State, model: str, labels: Mapping[int, str | float], *, actor: str) -> int:
    """Sets the labels of a model's captured rows, by id. Returns how many of these rows exist.

    BadInput `unknown_model`; `label_invalid` names the first row whose label is none, and none is set then.
    """
    state.registry.versions(model)
    for number, label in labels.items():
        if settle_label(label, regression=False) in (None, Unusable.LABEL):
            raise BadInput(Code.LABEL_INVALID, f"row {number}: {label!r:.40} is no label")
    count = state.captures.label(model, labels, time.time())
    state.journal.audit(stamp(), actor, "rows label", model, f"{count} of {len(labels)} rows")
    return count


def known_classes(state: State, model: str, release: int) -> frozenset[Answer]:
    """The plain labels that any version of the model answers; empty where those of this release are not known.

    BadInput `unknown_model`, `unknown_version`.
    """
    if not state.registry.version(model, release).manifest.classes:
        return frozenset()
    versions = state.registry.versions(model)
    return frozenset(plain_label(name) for version in versions for name in version.manifest.classes)


def labels_wanted(state: State, model: str, now: float) -> LabelsWanted:
    """Rows that people are asked about today. BadInput `unknown_model`."""
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
    """The kind of a device; "" for one that has not reported."""
    twin = state.world.durable.twins.get(device)
    return "" if twin is None else stratum_of(twin, KINDS)
