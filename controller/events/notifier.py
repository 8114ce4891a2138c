"""Sends messages to receivers of alerts: each has a task and a short queue, so that a slow one delays no other.

Decides what happens to a message that is not accepted. Refuses to know when a message is due (`controller.alerts`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import aiohttp
import msgspec

from contract.webhook_signature import signed_headers
from controller.alerts.routing import Delivered, Due
from controller.alerts.rule import AlertmanagerReceiver, MailReceiver, Receiver, WebhookReceiver
from controller.background import Background
from controller.events import alertmanager, mail
from controller.events.alert_events import group_event
from controller.events.attempts import Fare, deliver
from controller.events.post import new_session, post
from controller.events.secrets import read_secret
from controller.events.webhooks import signed_post_headers

MAX_WAITING = 32
"""The most messages that wait for one receiver. A message without room is due again at the next look."""
HOLD_S = 120.0
"""Seconds for which a group waits after a message was dropped: an outage of an hour causes 30 attempts, not 700."""

_log = logging.getLogger("edgeward.alerts")
Note = Callable[[str, Delivered], None]


class Notifier:
    """All receivers, from `start` to `stop`. `delivered` is called for each message that a receiver has accepted,
    to make that durable.
    """

    def __init__(self, receivers: Sequence[Receiver], beside: Path, delivered: Note) -> None:
        self._receivers = {each.name: each for each in receivers}
        self._queues: dict[str, asyncio.Queue[Due]] = {name: asyncio.Queue(MAX_WAITING) for name in self._receivers}
        self._beside = beside
        self._delivered = delivered
        self._background = Background()
        self._waiting: set[str] = set()
        self._held: dict[str, float] = {}
        self.fares = {name: Fare(name, _kind(each)) for name, each in self._receivers.items()}

    def start(self) -> None:
        """Starts to deliver. BadInput `config_invalid` for a secret that cannot be read."""
        for receiver in self._receivers.values():
            self._check(receiver)
            self._background.begin(self._serve(receiver))

    async def stop(self) -> None:
        """Stops. Waiting messages are due again after the next start."""
        await self._background.stop()

    def offer(self, messages: Iterable[Due], now: float) -> None:
        """Puts due messages into the queues, except for groups that wait already or were dropped a short time ago."""
        for due in messages:
            if due.group in self._waiting or self._held.get(due.group, 0.0) > now:
                continue
            try:
                self._queues[due.receiver].put_nowait(due)
            except asyncio.QueueFull:
                self.fares[due.receiver].dropped += 1
            else:
                self._waiting.add(due.group)

    async def try_out(self, due: Due) -> Fare:
        """Sends one message once, immediately, and returns the result; nothing is noted as delivered."""
        receiver, fare = self._receivers[due.receiver], Fare(due.receiver, self.fares[due.receiver].kind)
        async with new_session() as session:
            try:
                await self._send(receiver, due, session)
                fare.sent = 1
            except Exception as error:  # the person who tests the receiver gets the fault
                fare.error = str(error) or type(error).__name__
        return fare

    async def _serve(self, receiver: Receiver) -> None:
        queue, fare = self._queues[receiver.name], self.fares[receiver.name]
        async with new_session() as session:
            while True:
                due = await queue.get()
                try:
                    await self._tell(receiver, due, session, fare)
                except Exception:  # a failed write must not end the task: the message is due again
                    _log.exception("receiver %s: what was delivered could not be noted", receiver.name)
                finally:
                    self._waiting.discard(due.group)

    async def _tell(self, receiver: Receiver, due: Due, session: aiohttp.ClientSession, fare: Fare) -> None:
        word = await deliver(lambda: self._send(receiver, due, session), fare, time.time)
        if word == "given_up":
            self._held[due.group] = time.time() + HOLD_S
            _log.error("receiver %s: given up for now: %s", receiver.name, fare.error)
            return
        if word == "refused":
            _log.error("receiver %s: refused, told again when something changes: %s", receiver.name, fare.error)
        self._held.pop(due.group, None)
        self._delivered(due.group, Delivered(time.time(), due.delivered))

    async def _send(self, receiver: Receiver, due: Due, session: aiohttp.ClientSession) -> None:
        match receiver:
            case WebhookReceiver():
                body = group_event(due)
                secret = self._beside / receiver.secret_file if receiver.secret_file else None
                await post(session, receiver.url, body, signed_post_headers(body, secret))
            case MailReceiver():
                await asyncio.to_thread(mail.send_mail, receiver, mail.mail_of(receiver, due), self._beside)
            case AlertmanagerReceiver():
                for alerts in alertmanager.posts_of(due, time.time(), receiver.repeat_s):
                    url, headers = receiver.url.rstrip("/") + alertmanager.PATH, {"Content-Type": "application/json"}
                    await post(session, url, msgspec.json.encode(alerts), headers)

    def _check(self, receiver: Receiver) -> None:
        if isinstance(receiver, WebhookReceiver) and receiver.secret_file:
            signed_headers(b"", read_secret(self._beside / receiver.secret_file), 0)
        if isinstance(receiver, MailReceiver) and receiver.user:
            read_secret(self._beside / receiver.password_file)


def _kind(receiver: Receiver) -> str:
    return str(type(receiver).__struct_config__.tag)
