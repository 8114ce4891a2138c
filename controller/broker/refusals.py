"""Messages that were refused or throttled, by device: few lines in the log, and for health the devices that send most.

Decides which message is logged, and for how long it counts. Refuses to know why a message is refused.
"""

import msgspec

LINES_A_MINUTE = 5
"""The most lines in the log for one device in a minute. At its end, the sum of all its messages is logged."""
ALL_LINES_A_MINUTE = 60
"""The same for all devices together: a broken upgrade may reach every device of a fleet on one day."""
MINUTE_S = 60.0
LATELY_S = 300.0
"""Seconds for which messages count for health."""
WORTH_TELLING = 100
"""Messages in a minute from which a device is a finding: a device with a newer controller sends a few."""
MAX_NAMES = 100
"""The most devices that are counted separately in one minute; the others share one sum."""


class Noise(msgspec.Struct):
    """What one device has sent in the current minute."""

    refused: int = 0
    throttled: int = 0
    lines: int = 0

    @property
    def messages(self) -> int:
        """The number of refused and throttled messages."""
        return self.refused + self.throttled


class Refusals:
    """Counts by device within a minute. Times are seconds since 1970."""

    def __init__(self) -> None:
        self._minute: dict[str, Noise] = {}
        self._began = 0.0
        self._lines = 0
        self._loudest: dict[str, tuple[float, Noise]] = {}
        """The end of the newest minute above WORTH_TELLING, and its counts, by device."""

    def refused(self, device: str, now: float) -> bool:
        """Notes a refused message; returns whether it must be logged."""
        noise = self._noise(device, now)
        noise.refused += 1
        if noise.lines >= LINES_A_MINUTE or self._lines >= ALL_LINES_A_MINUTE:
            return False
        noise.lines += 1
        self._lines += 1
        return True

    def throttled(self, device: str, now: float) -> None:
        """Notes a message that was not decoded, because the device had sent too much."""
        self._noise(device, now).throttled += 1

    def sums(self, now: float) -> list[str]:
        """Returns, once the minute is over, a sentence for each device of which not all was logged, the most active
        first.
        """
        if not self._minute or now - self._began < MINUTE_S:
            return []
        said = []
        minute, self._minute, self._lines = self._minute, {}, 0
        for device, noise in sorted(minute.items(), key=lambda item: -item[1].messages)[:LINES_A_MINUTE]:
            if noise.messages >= WORTH_TELLING and device:
                self._loudest[device] = (now, noise)
            if noise.messages > noise.lines:
                said.append(f"{device or 'other devices'}: {_words(noise)} in a minute, {noise.lines} of them logged")
        return said

    def told(self, now: float) -> dict[str, str]:
        """Returns by device, in words, what it sent in its newest bad minute, if that is recent; the worst first."""
        self._loudest = {name: each for name, each in self._loudest.items() if now - each[0] <= LATELY_S}
        worst_first = sorted(self._loudest.items(), key=lambda item: -item[1][1].messages)
        return {device: f"{_words(noise)} in a minute" for device, (_, noise) in worst_first}

    def _noise(self, device: str, now: float) -> Noise:
        if not self._minute:
            self._began = now
        if device not in self._minute and len(self._minute) >= MAX_NAMES:
            device = ""
        return self._minute.setdefault(device, Noise())


def _words(noise: Noise) -> str:
    kinds = {"malformed": noise.refused, "throttled": noise.throttled}
    return " and ".join(f"{count} {kind} messages" for kind, count in kinds.items() if count)
