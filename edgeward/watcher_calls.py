"""The calls of the client that are about the watcher: its findings, and a new version of it.

Decides nothing. Refuses to know HTTP (`transport`) and how it is fitted (`edgeward.watcher`).
"""

from typing import Any

from contract.watcher import WATCHER
from edgeward.answers.pushes import Pushed
from edgeward.answers.watcher import Watcher, WatcherHistory
from edgeward.transport import Transport


class WatcherCalls:
    """Calls about the watcher."""

    _transport: Transport

    def watcher(self) -> Watcher:
        """Which devices depart from what is usual for them, in which figure, and by how much."""
        return Watcher.read(self._transport.get("/v1/watcher"))

    def watcher_history(self, days: float = 14) -> WatcherHistory:
        """The distance of devices from their usual values, hour by hour: the rows on which a watcher is trained."""
        return WatcherHistory.read(self._transport.get(f"/v1/watcher/history?days={days:g}"))

    def train_watcher(self, days: float = 14) -> Pushed:
        """Fits a watcher here on the fleet's newest days and pushes it as a version; the controller then uses it.

        BadInput `sample_too_small` for a fleet with too short a history.
        """
        import numpy as np

        from edgeward.watcher.fit import fit  # scikit-learn takes a second

        found = self.watcher_history(days)
        hours = [np.array(each.hours, float) for each in found.devices]
        shape = (-1, len(found.features))
        made = fit(hours, [np.array(each.rows, float).reshape(shape) for each in found.devices])
        push: Any = getattr(self, "push")  # noqa: B009 - of `VersionCalls`, beside which this class stands
        pushed: Pushed = push(
            made.model, name=WATCHER, sample=made.sample, data=made.rows, metrics=made.metrics,
            tags={"made_by": "edgeward watcher train"},
        )  # fmt: skip
        return pushed
