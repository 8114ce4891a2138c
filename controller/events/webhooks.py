"""Sends events to other programs: each configured address receives every event by POST, in order, with a few retries.

Decides nothing about retries (`attempts`). An event that an address does not accept in time is counted and dropped.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md (structured mode).
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from contract.webhook_signature import signed_headers
from contract.wire import encode
from controller.background import Background
from controller.events.attempts import Fare, deliver
from controller.events.cloudevents import Event, Events
from controller.events.post import new_session, post
from controller.events.secrets import read_secret

CONTENT_TYPE = "application/cloudevents+json"

_log = logging.getLogger("edgeward.webhooks")


class Webhooks:
    """One task for each address, from `start` to `stop`. `secret` names a file with the secret that signs
    every event.
    """

    def __init__(self, urls: Sequence[str], events: Events, secret: Path | None = None) -> None:
        self._urls = urls
        self._events = events
        self._secret = secret
        self._background = Background()
        self.fares = [Fare(f"events-{number}", "webhook") for number, _ in enumerate(urls, start=1)]

    def start(self) -> None:
        """Starts to deliver events. BadInput `config_invalid` for a secret that cannot be read."""
        if self._secret is not None and self._urls:
            signed_headers(b"", read_secret(self._secret), 0)
        for url, fare in zip(self._urls, self.fares, strict=True):
            self._background.begin(self._serve(url, fare))

    async def stop(self) -> None:
        """Stops. Waiting events are dropped."""
        await self._background.stop()

    async def _serve(self, url: str, fare: Fare) -> None:
        async with new_session() as session:
            listener = self._events.listen()
            while True:
                if listener.lost:
                    _log.error("webhook %s is too slow: events were dropped", url)
                    fare.dropped += 1
                    listener = self._events.listen()
                event = await listener.queue.get()
                if await self._deliver(session, url, event, fare) != "sent":
                    _log.error("webhook %s did not take event %s (%s)", url, event.id, event.type)

    async def _deliver(self, session: aiohttp.ClientSession, url: str, event: Event, fare: Fare) -> str:
        body = encode(event)

        async def send() -> None:
            await post(session, url, body, signed_post_headers(body, self._secret))

        return await deliver(send, fare, time.time)


def signed_post_headers(body: bytes, secret: Path | None) -> dict[str, str]:
    """Returns the headers of a CloudEvent; with a secret, signed now."""
    headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "edgeward-controller"}
    return headers if secret is None else headers | signed_headers(body, read_secret(secret), int(time.time()))
