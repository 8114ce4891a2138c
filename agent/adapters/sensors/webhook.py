"""Predictions by POST to an address: the headers that the configuration names, a token, and a signature.

Decides what is sent and which answers are final. Refuses to know when a batch is tried again: `sinks` does. Redirects
are not followed, because the token would go with them. The signature is `contract.webhook_signature`.
"""

import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from agent.adapters.sensors.sinks import TIMEOUT_S, NeverTaken
from agent.adapters.timely import new_opener
from agent.config import WebhookSink
from contract.webhook_signature import signed_headers

LATER = frozenset({408, 425, 429})
"""Statuses below 500 that ask to try again later: a time-out, too early, too many requests."""


class Webhook:
    """One address. Secret files are read again for each batch, so that a change counts at once."""

    def __init__(self, config: WebhookSink, beside: Path) -> None:
        self._config = config
        self._beside = beside.parent
        self._opener = new_opener(TIMEOUT_S, _NoRedirect())

    def deliver(self, lines: list[bytes]) -> None:
        """Sends JSON objects as one array. NeverTaken if the answer is final; otherwise raises what went wrong."""
        body = b"[" + b",".join(lines) + b"]"
        request = urllib.request.Request(self._config.url, body, self._headers(body, int(time.time())))  # noqa: S310 - config.py lets only http and https pass
        try:
            self._opener.open(request, timeout=TIMEOUT_S).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in LATER:
                raise NeverTaken(f"{error.code} {error.reason}: given up, not tried again") from None
            raise OSError(f"{error.code} {error.reason}") from None

    def _headers(self, body: bytes, at: int) -> dict[str, str]:
        config = self._config
        found = {"Content-Type": "application/json", "User-Agent": "edgeward-agent"} | config.headers
        if config.token_file:
            found["Authorization"] = f"Bearer {self._read(config.token_file)}"
        if config.secret_file:
            found |= signed_headers(body, self._read(config.secret_file), at)
        return found

    def _read(self, name: str) -> str:
        return (self._beside / name).read_text(encoding="ascii").strip()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Does not follow a redirect: the caller gets its status."""

    def redirect_request(self, *_: Any) -> None:
        return None
