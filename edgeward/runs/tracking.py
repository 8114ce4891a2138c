"""Sends a run to an MLflow server as well, over its REST API 2.0: parameters, metrics, small artifacts, the end.

Decides what is sent and when: parameters at once, numbers in batches, the rest at the end. A server that does not
answer never ends a run: what could not be sent is reported once. Source: mlflow.org/docs/latest/rest-api.html. Refuses
to import MLflow.
"""

import json
import os
import sys
import time
from typing import Any
from urllib.parse import quote

import urllib3

from contract.run_record import Point
from edgeward.runs.store import REPRODUCED
from edgeward.within import within

BATCH = 1_000
"""Numbers in one call: the most that MLflow takes."""
PARAMS_BATCH = 100
FLUSH_S = 5.0
"""Seconds after which waiting numbers are sent with the next one."""
CALL_S = 10.0
"""Seconds without a byte after which a call has failed."""
ANSWER_S = 30.0
"""Seconds for a whole call, because the training waits for it; the size of what is sent adds to it."""
MIN_BYTES_S = 100_000
"""Bytes a second that an artifact is sent with at least, or it has failed."""
MAX_ARTIFACT_BYTES = 32 << 20
"""The largest artifact that is sent as well. Larger ones stay in the directory of runs."""


class Tracking:
    """One run on an MLflow server."""

    def __init__(self, uri: str, experiment: str, run: str) -> None:
        self._uri = uri.rstrip("/")
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(CALL_S), retries=urllib3.Retry(total=1, read=0))
        self._waiting: list[Point] = []
        self._sent_at = time.monotonic()
        self._given_up = False
        self._experiment, self.run_id = "", ""
        made = self._call("GET", f"experiments/get-by-name?experiment_name={quote(experiment)}", also=404)
        self._experiment = str(made.get("experiment", {}).get("experiment_id", ""))
        if not self._experiment and not self._given_up:
            made = self._call("POST", "experiments/create", {"name": experiment})
            self._experiment = str(made.get("experiment_id", ""))
        tags = [{"key": "edgeward.run", "value": run}, {"key": "mlflow.runName", "value": run}]
        body = {"experiment_id": self._experiment, "start_time": _now_ms(), "run_name": run, "tags": tags}
        found = self._call("POST", "runs/create", body).get("run", {}).get("info", {})
        self.run_id, self._artifacts_at = str(found.get("run_id", "")), str(found.get("artifact_uri", ""))

    def params(self, params: dict[str, str]) -> None:
        """Sends parameters; MLflow accepts a name only once, and texts of 6,000 characters."""
        pairs = [{"key": name, "value": value[:6000]} for name, value in params.items()]
        for at in range(0, len(pairs), PARAMS_BATCH):
            self._call("POST", "runs/log-batch", {"run_id": self.run_id, "params": pairs[at : at + PARAMS_BATCH]})

    def metrics(self, points: list[Point]) -> None:
        """Takes numbers; sends them when a batch is full or some seconds have passed."""
        self._waiting += points
        if len(self._waiting) >= BATCH or time.monotonic() - self._sent_at > FLUSH_S:
            self._flush()

    def artifact(self, name: str, content: bytes) -> None:
        """Sends a small artifact to a server that proxies artifacts, as `mlflow server` does by default."""
        scheme, _, path = self._artifacts_at.partition(":/")
        if scheme == "mlflow-artifacts" and len(content) <= MAX_ARTIFACT_BYTES:
            self._put(f"/api/2.0/mlflow-artifacts/artifacts/{quote(path.strip('/'))}/{quote(name)}", content)

    def end(self, status: str) -> None:
        """Sends waiting numbers, and how the run ended."""
        self._flush()
        word = {"finished": "FINISHED", "failed": "FAILED"}[status]
        self._call("POST", "runs/update", {"run_id": self.run_id, "status": word, "end_time": _now_ms()})

    def _flush(self) -> None:
        waiting, self._waiting, self._sent_at = self._waiting, [], time.monotonic()
        for at in range(0, len(waiting), BATCH):
            numbers = [
                {"key": each.metric, "value": each.value, "step": each.step, "timestamp": int(each.at * 1000)}
                for each in waiting[at : at + BATCH]
            ]
            self._call("POST", "runs/log-batch", {"run_id": self.run_id, "metrics": numbers})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, also: int = 0) -> dict[str, Any]:
        payload = None if body is None else json.dumps(body).encode()
        return self._send(method, f"/api/2.0/mlflow/{path}", payload, "application/json", also)

    def _put(self, path: str, content: bytes) -> None:
        self._send("PUT", path, content, "application/octet-stream")

    def _send(self, method: str, path: str, body: bytes | None, kind: str, also: int = 0) -> dict[str, Any]:
        if self._given_up:
            return {}
        try:
            headers = {"Content-Type": kind} | authorization()
            within_s = ANSWER_S + len(body or b"") / MIN_BYTES_S
            url = self._uri + path
            answer = within(within_s, lambda: self._pool.request(method, url, body=body, headers=headers))
            if answer.status >= 400 and answer.status != also:
                self._give_up(f"HTTP {answer.status} {answer.data[:200].decode(errors='replace')}")
                return {}
            found = json.loads(answer.data or b"{}")
        except (urllib3.exceptions.HTTPError, ValueError, TimeoutError) as error:
            self._give_up(str(error)[:200])
            return {}
        return found if isinstance(found, dict) else {}

    def _give_up(self, why: str) -> None:
        self._given_up = True
        words = f"edgeward: MLflow at {self._uri} is told nothing more of this run, which goes on: {why}"
        print(words, file=sys.stderr)


def open_tracking(uri: str | None, experiment: str, run: str) -> Tracking | None:
    """The run on the MLflow server at `uri`, or MLFLOW_TRACKING_URI; None if neither is an address of HTTP."""
    wanted = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not wanted.startswith(("http://", "https://")) or REPRODUCED in os.environ:
        return None
    return Tracking(wanted, experiment, run)


def authorization() -> dict[str, str]:
    """Returns the credentials that MLflow's own client would use: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME
    and _PASSWORD.
    """
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    name, word = (os.environ.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD"))
    return urllib3.util.make_headers(basic_auth=f"{name}:{word}") if name else {}


def _now_ms() -> int:
    return int(time.time() * 1000)
