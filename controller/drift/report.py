"""The report of one version's drift: what moved and where, estimated quality, breaches, trial compared with control.

Decides what is examined, from rows and labels that are handed in. Refuses to know where they are kept.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from contract.captured import CapturedRow
from contract.distributions import Reference
from contract.labels import Answer
from controller.drift.between import Between, between, same_hours
from controller.drift.blocks import DAY_S, MAX_BLOCKS, WEEK_S, Blocks, Row, blocks_of
from controller.drift.breaches import BreachRate, breach_rates
from controller.drift.fairness import Fairness, fairness_of
from controller.drift.labelled import labelled_blocks, unknown_label_rates
from controller.drift.quality import QualityEstimate, cannot_be_told, estimate, middles
from controller.drift.shape import Shape
from controller.drift.signals import Signal, breach_signals, drift_signals, fairness_signals, quality_signal
from controller.drift.what_moved import DeviceMoved, Ranked, devices_moved, ranked, sentence

Task = Literal["classification", "regression", "other"]
DEFAULT_DAYS = 7


class Trial(msgspec.Struct, frozen=True):
    """A running rollout: which release it brings, to which devices, and since when."""

    rollout: str
    release: int
    devices: frozenset[str]
    began_at: float


class Facts(msgspec.Struct, frozen=True):
    """The inputs of a report besides rows."""

    model: str
    release: int
    task: Task
    reference: Reference
    alike: frozenset[int]
    """Releases whose inputs are counted with the same bins."""
    kinds: Mapping[str, str]
    """The stratum of each device."""
    labelled: Sequence[CapturedRow]
    trial: Trial | None
    fairness_limit: float | None
    now: float
    span_s: float
    classes: frozenset[Answer] = frozenset()
    """Plain labels that any version of the model answers; empty if the classes of the version are not known."""


class DriftReport(msgspec.Struct, frozen=True):
    """The report of one version."""

    model: str
    release: int
    days: float
    devices: int
    says: str
    """A sentence about the column that has moved most, and its movements in the past."""
    moved: tuple[Ranked, ...]
    by_device: tuple[DeviceMoved, ...]
    by_kind: tuple[DeviceMoved, ...]
    quality_estimate: QualityEstimate
    breaches: tuple[BreachRate, ...]
    fairness: tuple[Fairness, ...]
    trial: str
    """The rollout whose devices are compared with the others; empty: none runs, or it counts with other bins."""
    trial_beside_control: tuple[Between, ...]
    signals: tuple[Signal, ...]


def since_of(now: float, span_s: float) -> float:
    """Returns the time from which rows are needed."""
    return now - MAX_BLOCKS * max(WEEK_S, span_s)


def report_of(facts: Facts, rows: Sequence[Row]) -> DriftReport:
    """Makes the report."""
    blocks = blocks_of(rows, facts.now, facts.span_s, facts.release, facts.alike)
    here = _newest(rows, facts)
    classifies = facts.task == "classification"
    found = ranked(blocks, facts.reference, classifies=classifies)
    quality = _quality(facts, blocks) if classifies else cannot_be_told(_WITHOUT[facts.task])
    unknown = unknown_label_rates(facts.labelled, facts.release, blocks, facts.classes)
    rates, fair = [*unknown, *breach_rates(here)], fairness_of(here)
    signals = [
        quality_signal(facts.model, quality, blocks.devices),
        *breach_signals(facts.model, rates),
        *fairness_signals(facts.model, fair, facts.fairness_limit),
        *drift_signals(facts.model, found, blocks.devices),
    ]
    return DriftReport(
        model=facts.model,
        release=facts.release,
        days=facts.span_s / DAY_S,
        devices=len(here),
        says=sentence(found, blocks, "week" if facts.span_s == WEEK_S else "block"),
        moved=tuple(found),
        by_device=tuple(devices_moved(blocks)),
        by_kind=tuple(devices_moved(blocks, facts.kinds)),
        quality_estimate=quality,
        breaches=tuple(rates),
        fairness=tuple(fair),
        trial=facts.trial.rollout if facts.trial is not None else "",
        trial_beside_control=tuple(_beside(facts.trial, rows, facts)) if facts.trial is not None else (),
        signals=tuple(signals),
    )


_WITHOUT: Mapping[Task, str] = {
    "regression": "a regression gives no confidence, so that its error can't be told without labels",
    "other": "its answers have no confidence, so that their quality can't be told without labels",
}


def _newest(rows: Sequence[Row], facts: Facts) -> dict[str, Shape]:
    """Returns by device the data of the version in the newest block, whether or not the device has a past."""
    found: dict[str, Shape] = {}
    for device, release, start, shape in rows:
        if release == facts.release and facts.now - facts.span_s <= start < facts.now:
            found[device] = found.get(device, Shape()).plus(shape)
    return found


def _quality(facts: Facts, blocks: Blocks) -> QualityEstimate:
    edges = facts.reference.output
    met = blocks.counts("")
    if edges is None or not len(met) or met.shape[1] != len(edges) + 2:
        return cannot_be_told("no confidences were counted: the model gives none, or no device has a past with it")
    past = labelled_blocks(facts.labelled, edges.tolist(), blocks, facts.release, facts.classes)
    return estimate(met[0], past[1:], middles(edges.tolist()))


def _beside(trial: Trial, rows: Sequence[Row], facts: Facts) -> list[Between]:
    since = [row for row in rows if row[2] >= trial.began_at]
    ours = [
        (device, start, shape)
        for device, release, start, shape in since
        if device in trial.devices and release == trial.release
    ]
    others = [(device, start, shape) for device, release, start, shape in since if device not in trial.devices]
    return between(*same_hours(ours, others), facts.kinds, np.random.default_rng(0))
