"""Devices on which nearly all inferences of a release fail: each is one observation.

If two or three of ten devices fail so, the mean over devices is too uncertain for a verdict, although the release
is clearly bad. Decides which device fails, and whether more of those with the release fail than by chance: the
number of failing devices that would have the release if devices were chosen at random. Source: Fisher, "The Design
of Experiments", 1935 (exact test of a two by two table). Refuses to know rules.
"""

import math
from dataclasses import dataclass

import numpy as np

from controller.rollout.by_device import own_rows
from controller.rollout.evidence import Compared
from controller.rollout.rows import Flags, sums_by

ALTOGETHER = 0.5
"""The fraction of failed inferences from which a device counts as failing: a device with few failures is below a
tenth.
"""
MIN_INFERENCES = 5
"""The fewest inferences of a device before it is judged: the first request may fail during the start."""


@dataclass(frozen=True, slots=True)
class Failing:
    """The number of devices that fail now and did not before, with the release and without it."""

    treated: int
    devices: int
    beside: int
    devices_beside: int

    @property
    def words(self) -> str:
        """Returns words for a sentence; empty if no device with the release fails."""
        if not self.treated:
            return ""
        others = f", {self.beside} of {self.devices_beside} others" if self.devices_beside else ""
        return f"; {self.treated} of {self.devices} devices fail altogether{others}"

    def chance(self) -> float:
        """The probability that so many or more of the failing devices have the release if it has no effect."""
        everyone, failing = self.devices + self.devices_beside, self.treated + self.beside
        most = min(failing, self.devices)
        ways = sum(
            math.comb(self.devices, count) * math.comb(self.devices_beside, failing - count)
            for count in range(self.treated, most + 1)
        )
        return ways / math.comb(everyone, failing)


def failing_devices(found: Compared) -> Failing:
    """Counts devices of both sides since the release was first seen; those without inferences are not counted."""
    table = found.table
    own = own_rows(table.treated, table.start, found.first[table.device])
    beginning = np.min(table.start[table.treated], initial=math.inf)
    has_it, has_none = np.isfinite(found.first), ~np.isfinite(found.first)
    with_release, with_release_past = _states(found, table.treated), _states(found, own)
    beside, beside_past = (_states(found, own & after) for after in (table.start >= beginning, table.start < beginning))
    return Failing(
        treated=int(np.count_nonzero(with_release[1] & ~with_release_past[1] & has_it)),
        devices=int(np.count_nonzero(with_release[0] & has_it)),
        beside=int(np.count_nonzero(beside[1] & ~beside_past[1] & has_none)),
        devices_beside=int(np.count_nonzero(beside[0] & has_none)),
    )


def _states(found: Compared, rows: Flags) -> tuple[Flags, Flags]:
    """By device, shape (D,): whether it has enough inferences in these rows, and whether it fails."""
    table, devices = found.table, len(found.first)
    total, failed = (
        sums_by(table.device[rows], table.column(name)[rows], devices) for name in ("inferences", "errors")
    )
    known = total >= MIN_INFERENCES
    return known, known & (failed >= ALTOGETHER * total)
