"""The calls of the client that watch a model on devices: drift, fairness, signals, and rows to label.

Decides nothing. Refuses to know HTTP (`transport`).
"""

from urllib.parse import urlencode

from edgeward.answers.drift import Drift, Fairness, LabelsWanted, Signal
from edgeward.answers.table import Table
from edgeward.transport import Transport


class DriftCalls:
    """Calls about the data and the quality of a version. `release` as everywhere; "": the one that most devices run."""

    _transport: Transport

    def drift(self, model: str, release: int | str = "", *, days: float = 7) -> Drift:
        """Returns the drift in the newest days compared with the weeks before; `Table(answer.moved).to_frame()`
        gives a frame.
        """
        return Drift.read(self._transport.get(f"/v1/models/{model}/drift?{_asked(release, days)}"))

    def fairness(self, model: str, release: int | str = "", *, days: float = 7) -> Fairness:
        """Returns rates by group in the newest days, with intervals, by Fairlearn's names."""
        return Fairness.read(self._transport.get(f"/v1/models/{model}/fairness?{_asked(release, days)}"))

    def signals(self, model: str, release: int | str = "", *, days: float = 7) -> Table[Signal]:
        """Figures with interval and limit that rules of alerts read."""
        return Table(map(Signal.read, self._transport.get(f"/v1/models/{model}/signals?{_asked(release, days)}")))

    def labels_wanted(self, model: str) -> LabelsWanted:
        """Returns captured rows that people are asked to label today; `label` takes the labels."""
        return LabelsWanted.read(self._transport.get(f"/v1/models/{model}/labels/wanted"))


def _asked(release: int | str, days: float) -> str:
    return urlencode({"release": release, "days": days})
