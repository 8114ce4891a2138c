"""One stream for the page: what has changed, at most once a second, the same bytes for every reader.

Decides when the fleet is examined and what a message says. A reader is notified of a change, and requests again the
data that it shows; a reader that was disconnected requests all data. Refuses to know what a page shows.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import web

from contract.wire import Message, encode
from controller.api.auth import still_good
from controller.api.state_key import STATE
from controller.api.steps import in_steps
from controller.events.cloudevents import Event
from controller.fleet.glance import Glance, look
from controller.reconcile.roster import fresh_roster, moment
from controller.state import State

TICK_S = 1.0
"""Seconds between two checks for changes; a person reads no faster."""
COST_RATIO = 20.0
"""After each check there is a pause of this many times its duration: the view of a large fleet never takes more than a
twentieth of a core."""
RECHECK_S = 2.0
"""Seconds between checks of a reader's session: its stream ends at most this long after its token."""
KEEP_ALIVE_S = 15.0
WRITE_S = 30.0
"""Seconds after which a reader that reads nothing is disconnected."""
MAX_WAITING = 4
"""The most messages that wait for one reader. Above this limit, the reader is disconnected, connects again and requests
everything."""
MAX_NAMED = 50
"""The most devices that a message names. If more have changed, it gives their number."""

_log = logging.getLogger("edgeward.api")


class LiveMessage(Message, frozen=True):
    """What has changed since the message before."""

    topics: tuple[str, ...]
    """fleet | rollouts | models | pushes | alerts | audit."""
    at: float
    """Seconds since 1970."""
    devices: int
    health: dict[str, int]
    presence: dict[str, int]
    changed: int
    """The number of devices whose health has changed."""
    names: tuple[str, ...]
    """The names of the first 50 of them."""


@dataclass(eq=False)
class Reader:
    """One reader: an open page."""

    queue: "asyncio.Queue[bytes]" = field(default_factory=lambda: asyncio.Queue(MAX_WAITING))
    lost: bool = False


class Live:
    """The messages to the readers of one controller. The fleet is examined only while there is a reader."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._glance: Glance | None = None
        self._looked_at = 0.0
        self._cost_s = 0.0
        self._looking = asyncio.Lock()
        self._readers: set[Reader] = set()
        self._number = int(time.time() * 1000)
        self._changed: dict[str, None] = {}
        """Devices that have changed since the last message to readers, in order."""
        self._presence: dict[str, int] = {}
        self._pushes = 0

    async def seen(self) -> Glance:
        """Returns the newest view of the fleet, which is made again when the last one is old enough for its cost."""
        async with self._looking:
            before, begun = self._glance, time.monotonic()
            if before is not None and begun - self._looked_at < max(TICK_S, COST_RATIO * self._cost_s):
                return before
            world, now, spent_s = self._state.world, time.time(), time.thread_time()
            found = await in_steps(look(world.durable.twins, fresh_roster(world, now), moment(world, now)))
            self._changed.update(dict.fromkeys(found.changed_since(before)))
            self._glance, self._looked_at, self._cost_s = found, begun, time.thread_time() - spent_s
            return found

    async def join(self) -> Reader:
        """Adds a reader. Its first message gives the state of the fleet."""
        reader = Reader()
        reader.queue.put_nowait(self._text(await self.seen(), (), ()))
        self._readers.add(reader)
        return reader

    def leave(self, reader: Reader) -> None:
        """Removes a reader."""
        self._readers.discard(reader)

    async def run(self) -> None:
        """Sends messages to readers until it is cancelled."""
        listener = self._state.events.listen()
        try:
            while True:
                await asyncio.sleep(TICK_S)
                events = [listener.queue.get_nowait() for _ in range(listener.queue.qsize())]
                if listener.lost:
                    self._state.events.leave(listener)
                    listener = self._state.events.listen()
                if self._readers:
                    try:
                        await self._tell(events)
                    except Exception:  # one failed check must not end the task: open pages would no longer change
                        _log.exception("open pages could not be told what has changed")
        finally:
            self._state.events.leave(listener)

    async def _tell(self, events: list[Event]) -> None:
        seen = await self.seen()
        presence = seen.presence_counts()
        changed, self._changed = tuple(self._changed), {}
        moved, self._presence = self._presence != presence, presence
        topics = {topic_of(each.type) for each in events} | ({"fleet"} if changed or moved else set())
        begun, self._pushes = self._pushes, self._state.pushing.changes
        topics |= {"pushes"} if begun != self._pushes else set()
        if not topics:
            return
        self._number += 1
        text = self._text(seen, tuple(sorted(topics)), changed)
        for reader in self._readers:
            if reader.queue.full():
                reader.lost = True
            else:
                reader.queue.put_nowait(text)

    def _text(self, seen: Glance, topics: tuple[str, ...], changed: tuple[str, ...]) -> bytes:
        message = LiveMessage(
            topics=topics,
            at=time.time(),
            devices=len(seen.health),
            health=seen.health_counts(),
            presence=seen.presence_counts(),
            changed=len(changed),
            names=changed[:MAX_NAMED],
        )
        return b"id: %d\nevent: live\ndata: %s\n\n" % (self._number, encode(message))


LIVE = web.AppKey("live", Live)


def topic_of(kind: str) -> str:
    """Returns the topic that a page must request again after an event of this type."""
    words = kind.removeprefix("dev.edgeward.").split(".")
    if words[0] == "audit":
        return "rollouts" if words[-1].startswith("rollout_") else "audit"
    return {
        "rollout": "rollouts", "mention": "rollouts", "verdict": "rollouts",
        "alert": "alerts", "alerts": "alerts", "model": "models", "drift": "models",
    }.get(words[0], "fleet")  # fmt: skip


async def live_of(app: web.Application) -> AsyncIterator[None]:
    """Runs the task that sends messages to readers while the application runs."""
    telling = asyncio.create_task(app[LIVE].run())
    yield
    telling.cancel()
    with suppress(asyncio.CancelledError):
        await telling


async def stream_live(request: web.Request) -> web.StreamResponse:
    """Streams what has changed as server-sent events, until the caller's session ends."""
    live = request.app[LIVE]
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await answer.prepare(request)
    reader = await live.join()
    try:
        await answer.write(b": hello\n\n")
        while not reader.lost and (text := await _next(request, reader)):
            async with asyncio.timeout(WRITE_S):
                await answer.write(text)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionResetError:
        pass  # the reader has disconnected
    finally:
        live.leave(reader)
    return answer


async def _next(request: web.Request, reader: Reader) -> bytes:
    """Returns the next text of the stream; an empty one once the caller's token is revoked or expired."""
    until = time.monotonic() + KEEP_ALIVE_S
    while time.monotonic() < until:
        try:
            async with asyncio.timeout(RECHECK_S):
                text = await reader.queue.get()
        except TimeoutError:
            text = b""
        if not still_good(request):
            return b""
        if text:
            return text
    return b": still here\n\n"


def live_app(app: web.Application) -> None:
    """Gives the application its stream."""
    app[LIVE] = Live(app[STATE])
    app.cleanup_ctx.append(live_of)
