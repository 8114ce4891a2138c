"""The newest lines of the agent's log in memory, without secrets, for operators who request them.

Decides how many are kept: a small device has no room for more, and its journal holds more. Refuses to know who
requests them.
"""

import logging
from collections import deque
from collections.abc import Iterator

from agent.config import Broker, Config, WebhookSink
from agent.uplink.redaction import Redactor
from contract.inquiries import MAX_LINE_CHARS
from contract.visible import one_line

KEPT_LINES = 1_000
"""The most lines that are kept: at most 400 kB, and 100 kB with lines of usual length."""


class OneLine(logging.Formatter):
    """Formats each record as one log line, with any message; a trace follows on separate lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """Returns the line (called by logging)."""
        record.message = one_line(record.message)
        return super().formatMessage(record)


class LogLines(logging.Handler):
    """A handler that keeps lines, each cut and without secrets."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)
        self.setFormatter(OneLine())

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record as text; a record that cannot be formatted is dropped."""
        try:
            for line in self._redact(self.format(record)).splitlines():
                self._kept.append(line[:MAX_LINE_CHARS])
        except Exception:  # as logging itself does: a bad log call must not stop the program
            self.handleError(record)

    def newest(self) -> tuple[str, ...]:
        """Returns all kept lines, oldest first; from any thread."""
        return tuple(self._kept.copy())


def secrets_of(config: Config) -> Iterator[str]:
    """Yields texts that no line may contain: contents of files of keys, tokens and secrets, header values, the broker's
    password.
    """
    broker: Broker = config.broker
    yield broker.key_file
    if "@" in broker.url:
        yield broker.url.rpartition("@")[0].rpartition("//")[2]
    for sensor in config.sensor:
        if isinstance(sensor.sink, WebhookSink):
            yield from (sensor.sink.token_file, sensor.sink.secret_file, *sensor.sink.headers.values())
