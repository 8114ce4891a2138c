"""Fetches a model from an MLflow server into a folder: `models:/name@alias`, `models:/name/3`, `runs:/id/path`.

Decides which calls of the REST API an address needs, and that artifacts come through the server or from this
machine's disk. Source: mlflow.org/docs/latest/rest-api.html. Refuses to import MLflow.
"""

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlparse

import urllib3

from contract.errors import BadInput, Code, WorldError
from edgeward.exports.addresses import SCHEMES
from edgeward.runs.tracking import authorization
from edgeward.within import within

CALL_S = 30.0
"""Seconds without a byte after which a call has failed."""
ANSWER_S = 60.0
"""Seconds for a whole answer that is JSON, with its repetitions."""
FILE_S = 1_800.0
"""Seconds for a whole file: `MAX_BYTES` at 600 kB/s."""
MAX_BYTES = 1 << 30
"""The most bytes of all files of a model."""
MAX_FILES = 1_000
_NAMED = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/([0-9]+|latest))\Z")
_LOGGED = re.compile(r"models:/(m-[0-9a-f]{8,})\Z")
_OF_RUN = re.compile(r"runs:/([0-9a-f]+)/(.+)\Z")


def fetch_model(address: str, directory: Path, uri: str | None = None) -> Path:
    """Fetches the files of a model into an empty directory, which is returned.

    `uri` is the server (default: MLFLOW_TRACKING_URI). BadInput `request_invalid`, `config_invalid`; WorldError
    `controller_unreachable` if the server does not answer.
    """
    server = _Server(uri or os.environ.get("MLFLOW_TRACKING_URI", ""))
    place = server.place_of(address)
    url = urlparse(place)
    if url.scheme in ("", "file"):
        return _on_this_disk(Path(unquote(url.path)))
    if url.scheme != "mlflow-artifacts":
        words = f"{address} lies at {place}: fetch it with `mlflow artifacts download`, and push the folder"
        raise BadInput(Code.REQUEST_INVALID, words)
    server.fetch_folder(url.path.strip("/"), directory)
    return directory


class _Server:
    """An MLflow server."""

    def __init__(self, uri: str) -> None:
        if not uri.startswith(("http://", "https://")):
            words = "models:/ and runs:/ need MLFLOW_TRACKING_URI, the address of an MLflow server, as http://host:5000"
            raise BadInput(Code.CONFIG_INVALID, words)
        self._uri = uri.rstrip("/")
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(CALL_S), retries=urllib3.Retry(total=2, read=1))
        self._bytes = self._files = 0

    def place_of(self, address: str) -> str:
        """Returns where the artifacts of an address are."""
        if found := _OF_RUN.match(address):
            run = self._json("/api/2.0/mlflow/runs/get", run_id=found[1])
            return f"{run['run']['info']['artifact_uri'].rstrip('/')}/{found[2]}"
        if found := _LOGGED.match(address):
            return str(self._json(f"/api/2.0/mlflow/logged-models/{found[1]}")["model"]["info"]["artifact_uri"])
        found = _NAMED.match(address)
        if found is None:
            words = "expected models:/NAME@ALIAS, models:/NAME/VERSION or runs:/ID/PATH"
            raise BadInput(Code.REQUEST_INVALID, f"{address!r}: {words}")
        version = self._version(found[1], found[2], found[3])
        answer = self._json("/api/2.0/mlflow/model-versions/get-download-uri", name=found[1], version=version)
        place = str(answer["artifact_uri"])
        return self.place_of(place) if place.startswith(SCHEMES) else place

    def _version(self, name: str, alias: str | None, number: str | None) -> str:
        if alias is not None:
            answer = self._json("/api/2.0/mlflow/registered-models/alias", name=name, alias=alias)
            return str(answer["model_version"]["version"])
        if number != "latest":
            return str(number)
        found = self._json("/api/2.0/mlflow/model-versions/search", filter=f"name='{name}'").get("model_versions", [])
        if not found:
            raise BadInput(Code.REQUEST_INVALID, f"MLflow's registry has no version of {name}")
        return str(max(int(each["version"]) for each in found))

    def fetch_folder(self, path: str, to: Path) -> None:
        """Fetches all files under a path of the server's artifacts."""
        listed = self._json("/api/2.0/mlflow-artifacts/artifacts", path=path).get("files", [])
        for each in listed:
            name = Path(str(each["path"])).name
            if each.get("is_dir"):
                (to / name).mkdir(exist_ok=True)
                self.fetch_folder(f"{path}/{name}", to / name)
                continue
            content = self._call(f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{path}/{name}')}", FILE_S)
            self._files, self._bytes = self._files + 1, self._bytes + len(content)
            if self._bytes > MAX_BYTES or self._files > MAX_FILES:
                raise BadInput(Code.REQUEST_INVALID, f"the model has more than {MAX_FILES} files or {MAX_BYTES} bytes")
            (to / name).write_bytes(content)

    def _json(self, where: str, **query: str) -> Any:
        return json.loads(self._call(f"{where}?{urlencode(query)}" if query else where, ANSWER_S))

    def _call(self, path: str, within_s: float) -> bytes:
        try:
            answer = within(within_s, lambda: self._pool.request("GET", self._uri + path, headers=authorization()))
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            words = f"MLflow at {self._uri} does not answer: {error}"
            raise WorldError(Code.CONTROLLER_UNREACHABLE, words[:300]) from None
        if answer.status >= 400:
            words = answer.data[:300].decode(errors="replace")
            raise BadInput(Code.REQUEST_INVALID, f"MLflow at {self._uri}: HTTP {answer.status}: {words}")
        return answer.data


def _on_this_disk(path: Path) -> Path:
    if not path.is_dir():
        words = f"the model lies at {path} on the server's disk: start `mlflow server` so that it serves artifacts"
        raise BadInput(Code.REQUEST_INVALID, words)
    return path
