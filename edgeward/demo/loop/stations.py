"""The application of the demo: five stations that ask their device each hour, and get the label a little later.

Decides which station gets which row, and when labels come. It asks over the Open Inference Protocol and sends labels by
the answers' ids, as any application does. Refuses to know models and versions.
"""

import json
import threading
import time
from collections import deque
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from edgeward.demo.loop.air import LABEL, TIME, inputs_of

LATE_S = 1.0
"""Seconds after which the label of an hour is known."""
ASK_S = 10.0


class Stations:
    """One thread for each station; the stations take turns, so that each hour belongs to one."""

    def __init__(self, rows: Any, ports: list[int], *, rows_per_s: float, labels_file: Path, model: str) -> None:
        self._rows, self._ports, self._model = rows, ports, model
        self._rows_per_s = rows_per_s
        self._inputs = inputs_of(rows)
        self._labels_file = labels_file
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._began = 0.0
        self.first = 0
        self.asked = 0
        self.failed = 0
        self.labelled = 0

    def start(self, first: int) -> None:
        """Begins at the row with this number."""
        self.first, self._began = first, time.monotonic()
        columns = [TIME, *(name for name in self._rows.columns if name != TIME)]
        self._labels_file.write_text(",".join(columns) + "\n", encoding="utf-8")
        for number in range(len(self._ports)):
            thread = threading.Thread(target=self._run, args=(number,), name=f"station-{number + 1}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Ends all stations."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(ASK_S)

    @property
    def hour(self) -> Any:
        """The time of the row that is asked about now."""
        at = self.first + int((time.monotonic() - self._began) * self._rows_per_s)
        return self._rows[TIME].iloc[min(at, len(self._rows) - 1)]

    def _run(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self._ports[number], timeout=ASK_S)
        waiting: deque[tuple[float, str, int]] = deque()
        for row in range(self.first + number, len(self._rows), len(self._ports)):
            due = self._began + (row - self.first) / self._rows_per_s
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                break
            self._ask(connection, row, waiting)
            while waiting and waiting[0][0] <= time.monotonic():
                self._label(connection, *waiting.popleft()[1:])
        connection.close()

    def _ask(self, connection: HTTPConnection, row: int, waiting: "deque[tuple[float, str, int]]") -> None:
        cells = [float(cell) for cell in self._inputs[row]]
        tensor = {"name": "X", "datatype": "FP32", "shape": [1, len(cells)], "data": cells}
        status, identifier = self._post(connection, "infer", {"inputs": [tensor]})
        with self._lock:
            self.asked += 1
            self.failed += status != 200
        if status == 200:
            waiting.append((time.monotonic() + LATE_S, identifier, row))

    def _label(self, connection: HTTPConnection, identifier: str, row: int) -> None:
        values = self._rows.iloc[row]
        status, _ = self._post(connection, "feedback", {"id": identifier, "label": int(values[LABEL])})
        line = ",".join([f"{values[TIME]:%Y-%m-%dT%H}", *(str(values[n]) for n in self._rows.columns if n != TIME)])
        with self._lock:
            self.labelled += status == 200
            with self._labels_file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def _post(self, connection: HTTPConnection, verb: str, body: dict[str, Any]) -> tuple[int, str]:
        """Returns (status, the answer's id); status 0 if there was no answer."""
        try:
            connection.request("POST", f"/v2/models/{self._model}/{verb}", json.dumps(body))
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Edgeward-Answer-Id") or ""
        except (OSError, HTTPException):
            connection.close()
            return 0, ""
