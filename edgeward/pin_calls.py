"""The calls of the client about pins: hold a model on devices at one release, and end that.

Decides nothing. Refuses to know HTTP (`transport`).
"""

from collections.abc import Sequence
from datetime import datetime

from edgeward.answers.pins import PinAnswer
from edgeward.answers.table import Table
from edgeward.transport import Transport


class PinCalls:
    """Calls about pins."""

    _transport: Transport

    def pin(
        self,
        devices: Sequence[str],
        model: str,
        *,
        release: int | str | None = None,
        reason: str = "",
        until: datetime | None = None,
        dry_run: bool = False,
    ) -> Table[PinAnswer]:
        """Holds a model on devices at a release; returns the result for each.

        No rollout, roll back or retry moves them. Without `release` each is held at the release that it has
        confirmed; a device on another release is sent there, or refused. `until` has a zone; without it the pin
        stays until `unpin`. With `dry_run` nothing happens.
        """
        body: dict[str, object] = {
            "devices": list(devices),
            "model": model,
            "release": release,
            "reason": reason,
            "until": until.timestamp() if until is not None else 0.0,
        }
        return self._answers("pin", body, dry_run=dry_run)

    def unpin(self, devices: Sequence[str], model: str, *, dry_run: bool = False) -> Table[PinAnswer]:
        """Ends the pins of a model on devices; returns the result for each. They keep their versions, and open
        rollouts include them again.
        """
        return self._answers("unpin", {"devices": list(devices), "model": model}, dry_run=dry_run)

    def _answers(self, verb: str, body: dict[str, object], *, dry_run: bool) -> Table[PinAnswer]:
        end = "/dry-run" if dry_run else ""
        return Table(map(PinAnswer.read, self._transport.post(f"/v1/devices/{verb}{end}", body)))
