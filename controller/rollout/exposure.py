"""The use of a release by devices so far: the hours in which it answered, and the number of answers.

Decides how hours are counted from what was measured. Refuses to know where that is stored.
"""

import numpy as np

from contract.wire import Message
from controller.rollout.facts import BUCKET_S
from controller.rollout.model import JUDGED, Rollout
from controller.rollout.progress import WaveProgress
from controller.rollout.rows import Table


class Exposure(Message, frozen=True):
    """The part of the fleet's work that a release has done."""

    device_hours: float
    """Hours from the first to the newest measurement of the release on each device, summed."""
    predictions: int
    predictions_ratio: float
    """The fraction of all predictions of the rollout's devices since the release was first seen; 0 to 1."""
    device_hours_at_most: float
    """Device-hours by the end of this wave, if every device of it keeps the release until then."""


def exposure_of(rollout: Rollout, table: Table, waves: tuple[WaveProgress, ...]) -> Exposure:
    """The exposure by what the members of an open rollout have measured."""
    ours, inferences = table.treated, table.column("inferences")
    began = float(np.min(table.start[ours], initial=np.inf))
    since = table.start >= began
    done, everything = float(inferences[ours].sum()), float(inferences[since].sum())
    hours = _hours(table)
    now_on = [each for each in waves if each.state == "now"] if rollout.status in JUDGED else []
    turn = sum(each.devices for each in waves if each.state != "waiting")
    return Exposure(
        device_hours=round(hours, 3),
        predictions=int(done),
        predictions_ratio=done / everything if everything else 0.0,
        device_hours_at_most=round(hours + sum(each.left_s for each in now_on) * turn / 3600.0, 3),
    )


def _hours(table: Table) -> float:
    """Returns hours between the first and the newest row of the release on each device, summed."""
    devices, ours = len(table.names), table.treated
    first, last = np.full(devices, np.inf), np.full(devices, -np.inf)
    np.minimum.at(first, table.device[ours], table.start[ours])
    np.maximum.at(last, table.device[ours], table.start[ours])
    seen = np.isfinite(first)
    return float((last[seen] - first[seen] + BUCKET_S).sum()) / 3600.0
