"""Sends events to other programs: each configured address receives every event by POST, in order, with a few retries.

Decides the number and the delay of retries. An event that an address does not accept in time is counted and dropped.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md (structured mode).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence

import aiohttp

from contract.wire import encode
from controller.background import Background
from controller.events.cloudevents import Event, Events

ATTEMPTS = 5
TIMEOUT_S = 10.0
FIRST_WAIT_S = 1.0
CONTENT_TYPE = "application/cloudevents+json"

_log = logging.getLogger("edgeward.webhooks")


class Webhooks:
    """One task for each address, from `start` to `stop`."""

    def __init__(self, urls: Sequence[str], events: Events) -> None:
        self._urls = urls
        self._events = events
        self._background = Background()
        self.undelivered: Counter[str] = Counter()

    def start(self) -> None:
        """Starts to deliver events."""
        for url in self._urls:
            self._background.begin(self._serve(url))

    async def stop(self) -> None:
        """Stops. Events that wait are dropped."""
        await self._background.stop()

    async def _serve(self, url: str) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
            listener = self._events.listen()
            while True:
                if listener.lost:
                    _log.error("webhook %s is too slow: events were dropped", url)
                    listener = self._events.listen()
                event = await listener.queue.get()
                if not await self._deliver(session, url, event):
                    self.undelivered[url] += 1
                    _log.error("webhook %s did not take event %s (%s)", url, event.id, event.type)

    async def _deliver(self, session: aiohttp.ClientSession, url: str, event: Event) -> bool:
        for attempt in range(ATTEMPTS):
            try:
                async with session.post(url, data=encode(event), headers={"Content-Type": CONTENT_TYPE}) as answer:
                    if answer.status < 300:
                        return True
                    if answer.status < 500 and answer.status not in (408, 429):
                        return False
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(FIRST_WAIT_S * 2.0**attempt)
        return False
