"""HTTP calls to the controller: they send and return JSON, and raise failures as coded errors. Refuses to know what
a call means.
"""

import getpass
import io
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

from contract.errors import BadInput, Code, EdgewardError, WorldError
from contract.visible import visible_values
from edgeward.multipart import Multipart
from edgeward.sending import Sent, ToldBody
from edgeward.settings import Settings

CONNECT_S = 5.0
READ_S = 60.0
PUSH_S = 900.0
"""Seconds for a push: a conversion may take minutes, and the controller has its own limit."""


class Transport:
    """Calls one controller. Repeats only connection attempts, which is safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        retries = urllib3.Retry(total=2, connect=2, read=0, backoff_factor=0.2, allowed_methods=None)
        self._pool = urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S))

    @property
    def url(self) -> str:
        """The address of the controller."""
        return self._settings.url

    def get(self, path: str, *, also: tuple[int, ...] = ()) -> Any:
        """Sends GET and returns the JSON of the answer. Statuses in `also` are answers, not failures."""
        return _read(self._request("GET", path), also)

    def post(self, path: str, body: Any = None) -> Any:
        """Sends POST with a JSON body and returns the JSON of the answer."""
        payload = json.dumps({} if body is None else body).encode()
        return self._call("POST", path, body=payload, headers={"Content-Type": "application/json"})

    def put(self, path: str, body: Any) -> Any:
        """Sends PUT with a JSON body and returns the JSON of the answer."""
        payload = json.dumps(body).encode()
        return self._call("PUT", path, body=payload, headers={"Content-Type": "application/json"})

    def delete(self, path: str) -> Any:
        """Sends DELETE and returns the JSON of the answer."""
        return self._call("DELETE", path)

    def fetch(self, path: str) -> bytes:
        """Sends GET and returns the bytes of the answer."""
        answer = self._request("GET", path)
        if answer.status >= 400:
            _read(answer)
        return answer.data

    def events(self, path: str, after: str) -> Iterator[dict[str, Any]]:
        """Yields server-sent events until the controller ends the stream."""
        headers = {"Accept": "text/event-stream", "Last-Event-ID": after} if after else {}
        answer = self._request("GET", path, headers=headers, preload_content=False)
        if answer.status >= 400:
            _read(answer)
        try:
            for line in io.TextIOWrapper(answer, encoding="utf-8"):  # type: ignore[type-var]  # urllib3's answer is a file
                if line.startswith("data: "):
                    yield visible_values(line.encode(), json.loads(line.removeprefix("data: ")))
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None

    def push(self, path: str, request: dict[str, Any], parts: Mapping[str, bytes], sent: Sent | None = None) -> Any:
        """Sends a multipart push, `parts` by name beside the request, and returns the JSON of the answer.

        `sent` is called with (bytes sent, bytes in all) for each piece.
        """
        fields = {"request": ("request.json", json.dumps(request).encode(), "application/json")}
        fields |= {name: (name, content, "application/octet-stream") for name, content in parts.items()}
        body = Multipart(fields)
        headers = {"Content-Type": body.content_type, "Content-Length": str(body.size_bytes)}
        timeout = urllib3.Timeout(connect=CONNECT_S, read=PUSH_S)
        told = ToldBody(body, sent) if sent is not None else body
        return self._call("POST", path, body=told, headers=headers, timeout=timeout)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        return _read(self._request(method, path, **options))

    def _request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        headers = {
            "Authorization": f"Bearer {self._settings.token}",
            "X-Edgeward-Actor": _user(),
            **options.pop("headers", {}),
        }
        url = f"{self._settings.url}{path}"
        try:
            return self._pool.request(method, url, headers=headers, **options)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> WorldError:
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, urllib3.exceptions.SSLError):
            return WorldError(Code.CONTROLLER_UNREACHABLE, f"{self._settings.url}: TLS: {_tls_words(str(cause))}")
        words = f"{self._settings.url}: {_reason(cause)}; is `edgeward-controller run` up?"
        return WorldError(Code.CONTROLLER_UNREACHABLE, words)


def _read(answer: urllib3.BaseHTTPResponse, also: tuple[int, ...] = ()) -> Any:
    try:
        body = visible_values(answer.data, json.loads(answer.data))
    except ValueError:
        raise WorldError(Code.CONTROLLER_UNREACHABLE, f"HTTP {answer.status} without JSON: not a controller?") from None
    if answer.status < 400 or answer.status in also:
        return body
    raise _error(answer.status, body)


def _error(status: int, body: dict[str, Any]) -> EdgewardError:
    kind = WorldError if status >= 500 else BadInput
    try:
        return kind(Code(body.get("code", "")), body.get("detail", ""))
    except ValueError:
        return kind(Code.REQUEST_INVALID, f"HTTP {status}: {body}"[:300])


def _reason(cause: Exception) -> str:
    return str(cause).rpartition(": ")[2] or type(cause).__name__


_TLS = {
    "Hostname mismatch": "its certificate is for another name: use the name that it has in EDGEWARD_URL",
    "IP address mismatch": "its certificate is for another address: use the name that it has in EDGEWARD_URL",
    "certificate has expired": "its certificate has expired: renew it where the proxy runs",
    "not yet valid": "its certificate is not valid yet: is the clock of this machine right?",
    "certificate verify failed": "no authority that this machine trusts has signed its certificate: name the file of "
    "yours in SSL_CERT_FILE",
    "wrong version number": "it speaks none: is it http:// in place of https://?",
    "record layer failure": "it speaks none: is it http:// in place of https://?",
}


def _tls_words(said: str) -> str:
    """Returns the remedy for a fault of TLS, after the library's own message."""
    return next((words for mark, words in _TLS.items() if mark in said), said[:200])


def _user() -> str:
    """The name of this machine's user for the audit; its number if it has no name, as in a container."""
    try:
        return getpass.getuser().encode("ascii", "replace").decode()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"
