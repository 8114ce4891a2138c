"""Devices on which a release fails altogether: each is one observation, however many inferences it has failed.

Two or three of ten such devices make the mean over devices so uncertain that nothing is shown by it, though nobody
would go on. Decides which device fails altogether, and whether more of those with the release do than chance explains:
of all devices that began to fail, how many would have the release if it had been dealt out blindly. Source: Fisher,
"The Design of Experiments", 1935 (exact test of a two by two table). Refuses to know rules.
"""

import math
from dataclasses import dataclass

import numpy as np

from controller.rollout.by_device import own_rows
from controller.rollout.evidence import Compared
from controller.rollout.rows import Flags, sums_by

ALTOGETHER = 0.5
"""The share of failed inferences from which on a device is of no use: one that fails a little is below a tenth."""
MIN_INFERENCES = 5
"""Inferences of a device before it is judged: one that has failed its first request may be starting."""


@dataclass(frozen=True, slots=True)
class Failing:
    """How many devices fail altogether that did not before, of those with the release and of those without it."""

    treated: int
    devices: int
    beside: int
    devices_beside: int

    @property
    def words(self) -> str:
        """For a sentence; empty if no device with the release fails altogether."""
        if not self.treated:
            return ""
        others = f", {self.beside} of {self.devices_beside} others" if self.devices_beside else ""
        return f"; {self.treated} of {self.devices} devices fail altogether{others}"

    def chance(self) -> float:
        """The probability that as many or more of the failing devices have the release if it does nothing."""
        everyone, failing = self.devices + self.devices_beside, self.treated + self.beside
        most = min(failing, self.devices)
        ways = sum(
            math.comb(self.devices, count) * math.comb(self.devices_beside, failing - count)
            for count in range(self.treated, most + 1)
        )
        return ways / math.comb(everyone, failing)


def failing_devices(found: Compared) -> Failing:
    """Counts devices of both sides since the release was first seen; those without inferences count neither way."""
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
    """By device, shape (D,): whether it has inferences enough in these rows, and whether they fail altogether."""
    table, devices = found.table, len(found.first)
    total, failed = (
        sums_by(table.device[rows], table.column(name)[rows], devices) for name in ("inferences", "errors")
    )
    known = total >= MIN_INFERENCES
    return known, known & (failed >= ALTOGETHER * total)
