"""Sensors: the sources of rows. Each is an iterable of samples that ends when its source ends.

Decides the rate of rows and which rows are dropped. Refuses to know which model answers.
"""

import csv
import gzip
import itertools
import json
import queue
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from agent.adapters.sensors.lines import Lines
from agent.config import ReplaySensor, StdinSensor, TopicSensor
from agent.ports import Sample
from contract.errors import BadInput, Code

MAX_WAITING = 1000
"""The most rows of a topic that wait for the model; if there are more, the oldest is dropped and counted."""


def to_sample(values: dict[str, Any], label: str, key: str = "") -> Sample:
    """Makes a sample of a row, and removes the label column. None is a missing cell; an empty text is a text."""
    features = {column: value for column, value in values.items() if column != label}
    return Sample(features, values.get(label) if label else None, str(values.get(key, "")) if key else "")


def from_cells(cells: dict[str, Any]) -> dict[str, Any]:
    """Returns the cells of a line of CSV. An empty cell is missing, because CSV has no other sign for that."""
    return {column: None if cell == "" else cell for column, cell in cells.items()}


def parse_row(raw: bytes | str, label: str, key: str = "") -> Sample:
    """Returns a sample from one JSON object. BadInput `sample_invalid`."""
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInput(Code.SAMPLE_INVALID, f"not JSON: {error}"[:200]) from None
    if not isinstance(row, dict):
        raise BadInput(Code.SAMPLE_INVALID, "expected a JSON object of columns")
    return to_sample(row, label, key)


@dataclass
class Place:
    """The place up to which a file was read: a source that is opened again continues there, so that no row is
    answered twice.
    """

    row: int = 0
    """The number of answered rows since the file was last opened at its beginning."""


def replay(
    config: ReplaySensor, beside: Path, wait: Callable[[float], bool], place: Place | None = None
) -> Iterator[Sample | BadInput]:
    """Yields rows at `rate_hz`; for a bad line, the error. `wait(seconds)` pauses and returns whether to stop.

    After a late row, the next rows are not sent faster. BadInput `config_invalid` if the file cannot be opened.
    """
    path = beside.parent / config.path
    period_s = 1.0 / config.rate_hz
    place = place or Place()
    while True:
        due = time.monotonic()
        for row in itertools.islice(_rows(path), config.start_row + place.row, None):
            due = max(due + period_s, time.monotonic())
            if wait(max(0.0, due - time.monotonic())):
                return
            place.row += 1
            yield row if isinstance(row, BadInput) else to_sample(row, config.label, config.key)
        place.row = 0
        if not config.loop:
            return


def from_stdin(config: StdinSensor, stream: BinaryIO | None = None) -> Iterator[Sample | BadInput]:
    """Yields a sample for each line, a JSON object; for a bad line, the error."""
    lines = Lines(stream or sys.stdin.buffer)
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except BadInput as error:
            yield error
            continue
        if line.strip():
            yield _or_error(line, config)


class TopicQueue:
    """Rows from an MQTT topic, handed over from the network thread."""

    def __init__(self, config: TopicSensor, dropped: Counter[str]) -> None:
        self.config = config
        self._queue: queue.Queue[bytes | None] = queue.Queue(MAX_WAITING)
        self._dropped = dropped

    def put(self, payload: bytes | None) -> None:
        """Adds a row; None ends the rows. Never blocks."""
        while True:
            try:
                self._queue.put_nowait(payload)
            except queue.Full:
                self._dropped["sensor_rows"] += 1
                self._discard_oldest()
            else:
                return

    def __iter__(self) -> Iterator[Sample | BadInput]:
        while (payload := self._queue.get()) is not None:
            yield _or_error(payload, self.config)

    def _discard_oldest(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return


def _or_error(raw: bytes | str, config: TopicSensor | StdinSensor) -> Sample | BadInput:
    try:
        return parse_row(raw, config.label, config.key)
    except BadInput as error:
        return error


def _rows(path: Path) -> Iterator[dict[str, Any] | BadInput]:
    try:
        if path.suffix == ".parquet":
            yield from _parquet_rows(path)
            return
        with cast("BinaryIO", gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")) as file:
            yield from _csv_rows(file, path.name)
    except OSError as error:
        raise BadInput(Code.CONFIG_INVALID, f"sensor path {path}: {error}") from None


def _csv_rows(file: BinaryIO, name: str) -> Iterator[dict[str, Any] | BadInput]:
    reader = csv.DictReader(Lines(file))
    try:
        if reader.fieldnames is None:
            return
    except csv.Error as error:
        raise BadInput(Code.SAMPLE_INVALID, f"{name}: the line of names: {error}") from None
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except BadInput as error:
            yield BadInput(Code.SAMPLE_INVALID, f"{name}: {error.detail}")
        except csv.Error as error:
            yield BadInput(Code.SAMPLE_INVALID, f"{name} line {reader.line_num}: {error}")
        else:
            yield from_cells(row)


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: Parquet needs pyarrow: pip install 'edgeward[parquet]'") from None
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=1024):
        yield from batch.to_pylist()
