"""A file with the counts and states of sensors and sinks and the faults of the device: for `status` and `doctor`.

Decides when the file is written: at each change of a state or a fault, otherwise rarely, to spare the flash. Refuses to
know what a sensor is. The file is not a durable record: it is not synced, and a damaged one counts as missing.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from agent.ports import Lives
from contract.errors import BadInput
from contract.messages import SensorState, SinkState
from contract.wire import Said, decode, encode

FILE = "sensors.json"
KEEP_S = 300.0
"""Seconds between two writes while nothing but counts changes."""
NO_FAULTS: Mapping[str, str] = MappingProxyType({})
MAX_FILE_BYTES = 256 * 1024

_log = logging.getLogger("edgeward.agent")


class SavedLives(Said, frozen=True):
    """The content of the file."""

    at: float
    """Seconds since 1970 when it was written."""
    sensors: tuple[SensorState, ...] = ()
    sinks: tuple[SinkState, ...] = ()
    faults: dict[str, str] = {}
    """The texts of faults by code."""


class KeptLives:
    """Writes the file now."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._due = 0.0
        self._known: list[tuple[str, str, str]] | None = None

    def keep(self, lives: Lives, now: float, at: float, faults: Mapping[str, str] = NO_FAULTS) -> None:
        """Writes the file if that is due. `now` is monotonic seconds, `at` seconds since 1970; `faults` are by code."""
        sensors, sinks = lives
        standing = [(each.name, each.state, each.error) for each in sensors]
        standing += [(each.name, each.state, each.error) for each in sinks]
        standing += [(code, "fault", words) for code, words in sorted(faults.items())]
        if not standing and not self._known:
            return
        if standing == self._known and now < self._due:
            return
        self._known, self._due = standing, now + KEEP_S
        new = self._path.with_name(f"tmp-{FILE}")
        try:
            new.write_bytes(encode(SavedLives(at=at, sensors=sensors, sinks=sinks, faults=dict(faults))))
            new.replace(self._path)
        except OSError as error:  # a full disk must not stop a sensor
            _log.warning("%s: %s", self._path, error.strerror)


def load_lives(directory: Path) -> SavedLives | None:
    """Returns what the agent wrote last; None if there is nothing to read."""
    try:
        return decode((directory / FILE).read_bytes(), SavedLives, max_bytes=MAX_FILE_BYTES)
    except (OSError, BadInput):
        return None


def sensor_words(found: SensorState) -> str:
    """A sensor's state in one line."""
    age = "no row yet" if found.row_age_s is None else f"newest row {found.row_age_s:.0f} s before"
    counts = f"{found.rows} rows, {found.answered} answered, {found.refused} refused, {found.unserved} unserved"
    failures = f", the source failed {found.failures} times" if found.failures else ""
    error = f": {found.error}" if found.error else ""
    return f"sensor {found.name} of {found.model}: {found.state}, {counts}, {age}{failures}{error}"


def sink_words(found: SinkState) -> str:
    """A sink's state in one line."""
    age = "nothing delivered yet" if found.delivered_age_s is None else f"newest {found.delivered_age_s:.0f} s before"
    error = f": {found.error}" if found.error else ""
    counts = f"{found.delivered} delivered, {found.undelivered} given up"
    return f"sink {found.name}: {found.state}, {counts}, {age}{error}"
