"""The fleet's accuracy over time, from the controller's figures about its devices.

Decides that a point is the accuracy of the labels since the point before, smoothed over the newest few. Refuses to know
the step of the demo.
"""

from dataclasses import dataclass, field

from edgeward.client import Client

SMOOTHED_S = 8.0
"""Each point covers so many seconds: 300 labels, so that chance is 3 points."""


@dataclass
class Point:
    """(labels, right answers) that the controller had counted at a moment, and the version that served."""

    at_s: float
    labelled: int
    right: float
    newest_release: int


@dataclass
class Accuracy:
    """The series."""

    client: Client
    counted: list[Point] = field(default_factory=list)

    def look(self, at_s: float) -> None:
        """Asks the controller once."""
        labelled, right, newest = 0, 0.0, 0
        for device in self.client.devices():
            for model in device.models:
                newest = max(newest, model.stable_release or 0)
                for measured in model.measured:
                    labelled += measured.labelled
                    right += (measured.accuracy or 0.0) * measured.labelled
        self.counted.append(Point(at_s, labelled, right, newest))

    def series(self, since_s: float = 0.0, until_s: float = 1e9) -> list[tuple[float, float]]:
        """Returns (seconds, accuracy) of each moment with enough labels."""
        found = []
        for place, now in enumerate(self.counted):
            earlier = [each for each in self.counted[:place] if each.at_s <= now.at_s - SMOOTHED_S]
            if not earlier or not since_s <= now.at_s <= until_s:
                continue
            labelled = now.labelled - earlier[-1].labelled
            if labelled > 0:
                found.append((now.at_s, (now.right - earlier[-1].right) / labelled))
        return found

    def mean(self, since_s: float, until_s: float) -> float | None:
        """Returns the accuracy of all labels between two moments; None without any."""
        inside = [each for each in self.counted if since_s <= each.at_s <= until_s]
        labelled = inside[-1].labelled - inside[0].labelled if len(inside) > 1 else 0
        return (inside[-1].right - inside[0].right) / labelled if labelled else None
