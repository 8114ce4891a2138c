"""The controller as one object: registry, world and link put together; what the API calls and the loop runs.

Order is safety: a change is durable (tables, journal) before it is published, and a report is acknowledged only then.
"""

import asyncio
import logging
import platform
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from contract import topics
from contract.blobs import Blob
from contract.captured import Captured
from contract.errors import BadInput, Code, EdgewardError
from contract.messages import Ack, Heartbeat, Presence, Report, Telemetry
from contract.wire import decode, encode
from controller.broker.link import ControllerLink
from controller.broker.messages import Publisher
from controller.broker.process import RunningBroker, start_broker
from controller.broker.retained import Broadcast
from controller.config import Config
from controller.encode.deliveries import Deliveries
from controller.events.cloudevents import Events
from controller.events.webhooks import Webhooks
from controller.reconcile.durable import remember, save_devices, save_quarantine, save_rollouts
from controller.reconcile.world import Changes, FromDevice, reconcile
from controller.registry.blobs import BlobStore
from controller.registry.bucket import Bucket
from controller.registry.captures import Captures
from controller.registry.credentials import Credentials
from controller.registry.journal import Journal
from controller.registry.registry import Registry
from controller.registry.store import TinyStore
from controller.rollout.model import Rollout
from controller.trust.certificates import CRL_RENEW_DAYS, open_pki
from controller.trust.enrolment import Enrolment
from controller.trust.keys import open_authority
from controller.trust.refusals import Refusal, Refusals
from controller.trust.senders import Voices
from controller.trust.tokens import Tokens
from controller.verbs.policies import Deployment
from controller.verbs.push import Operations
from controller.verbs.rollouts import Rollouts

MAX_CAPTURED = 500
"""Batches that wait for the next pass; a device sends what is dropped here again."""
MAX_INBOX = 50_000
"""Messages that wait for the next pass; beyond it the oldest telemetry-sized backlog is dropped and counted."""

_log = logging.getLogger("edgeward.controller")

_KINDS: dict[str, type[FromDevice | Captured]] = {
    topics.UP_CAPTURED: Captured,
    topics.UP_HEARTBEAT: Heartbeat,
    topics.UP_REPORT: Report,
    topics.UP_PRESENCE: Presence,
    topics.UP_TELEMETRY: Telemetry,
}


@dataclass
class Unsaved:
    """Changes of passes whose durable write has not succeeded yet."""

    redesired: set[str] = field(default_factory=set)
    unheard: set[str] = field(default_factory=set)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    quarantined: set[str] = field(default_factory=set)
    acks: list[tuple[str, Ack]] = field(default_factory=list)
    reports: list[tuple[str, Report]] = field(default_factory=list)
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)

    def take(self, changes: Changes) -> None:
        """Add the changes of a pass."""
        self.redesired |= changes.redesired
        self.unheard |= changes.unheard
        self.rollouts.update({rollout.id: rollout for rollout in changes.rollouts})
        self.quarantined |= changes.quarantined
        self.acks += changes.acks
        self.reports += changes.reports
        self.heartbeats.update(changes.heartbeats)


class Service:
    """One controller. `start` and `stop` bracket its life in an event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        data_dir = config.data_dir
        self.store = TinyStore(data_dir / "tables")
        self.blobs = BlobStore(data_dir / "blobs")
        self.journal = Journal(data_dir / "journal.sqlite")
        self.captures = Captures(data_dir / "captured.sqlite")
        self.credentials = Credentials(data_dir / "credentials.sqlite")
        self.refusals = Refusals()
        self.enrolment = Enrolment(open_pki(data_dir / "pki", today()), self.credentials, self._refused)
        self.voices = Voices(self.credentials, require_signed=config.fleet.require_signed)
        self.registry = Registry(self.store)
        metadata = Path(config.trust.metadata_dir).expanduser() if config.trust.metadata_dir else None
        self.authority = open_authority(self.store, data_dir / "keys", metadata, today())
        self.world = remember(self.store, self.journal.last_words(), config.fleet.silent_s)
        self.world.sources = config.publish.sources
        self.world.neighbours_by = config.publish.neighbours
        self.publisher = Publisher(self.registry, self.blobs, self.authority)
        self.authority.witness = self.journal.checkpoint
        self.tokens = Tokens(self.store)
        self.broadcast = Broadcast(self.world, self.publisher, self.store)
        self.operations = Operations(self)
        self.rollouts = Rollouts(self)
        self.deployment = Deployment(self)
        self.deliveries = Deliveries(self)
        self.events = Events("/edgeward/controller", stamp, first=time.time_ns() // 1_000_000)
        self.events.know(self.world.rollouts.values())
        bucket, endpoint = config.publish.bucket, config.publish.bucket_endpoint
        self.bucket = Bucket(bucket, endpoint, time.monotonic) if bucket else None
        self.webhooks = Webhooks(config.events.webhooks, self.events)
        self.broker: RunningBroker | None = None
        self.api_port = 0
        """Where the API listens, once it does."""
        self.dropped = 0
        self.disbelieved = 0
        """Messages that were not signed by the device that their topic names."""
        self._links: list[ControllerLink] = []
        self._inbox: deque[tuple[str, FromDevice]] = deque()
        self._captured: deque[tuple[str, Captured]] = deque(maxlen=MAX_CAPTURED)
        self._loop_task: asyncio.Task[None] | None = None
        self._restore_needed = False
        self._trust_changed = False
        self._poke = asyncio.Event()
        self._unsaved = Unsaved()
        self._unpublished: set[str] = set()
        self._unacknowledged: deque[tuple[str, Ack]] = deque()

    async def start(self) -> None:
        """Start or find the broker, connect, and begin to reconcile."""
        directory = self.config.data_dir / "broker"
        self.broker = start_broker(self.config.broker, directory, (self.enrolment, today()))
        loop = asyncio.get_running_loop()
        kinds = (topics.UP_REPORT, topics.UP_HEARTBEAT, topics.UP_PRESENCE, topics.UP_CAPTURED)
        for name, filters, connected in (
            ("svc.controller", [topics.up_filter(kind) for kind in kinds], self._connected),
            ("svc.telemetry", [topics.up_filter(topics.UP_TELEMETRY)], lambda: None),
        ):
            files = self.broker.files
            link = ControllerLink(
                f"{name}-{platform.node()}"[:60],
                self.broker.url if files is None else f"mqtts://{files.host}:{self.broker.port}",
                self.config.broker if files is None else files.client(self.config.broker, name),
                filters,
                loop=loop,
                on_message=self._message,
                on_connected=connected,
            )
            self._links.append(link)
            link.start()
        self.broadcast.link = self._links[0]
        self.webhooks.start()
        self._loop_task = asyncio.create_task(self._run())
        _log.info("%s broker at %s", self.broker.kind, self.broker.shown)

    async def stop(self) -> None:
        """End everything that `start` began."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        await self.webhooks.stop()
        await self.deliveries.stop()
        if self.bucket is not None:
            await self.bucket.stop()
        for link in self._links:
            link.stop()
        if self.broker is not None:
            await asyncio.to_thread(self.broker.stop)
        self.close()

    def close(self) -> None:
        """Let go of the files; all that one that was never started needs."""
        self.journal.close()
        self.captures.close()
        self.credentials.close()

    @property
    def public_url(self) -> str:
        """How devices reach the API."""
        api = self.config.api
        return api.public_url or f"http://{api.host}:{self.api_port or api.port}"

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return bool(self._links) and all(link.connected for link in self._links)

    def poke(self) -> None:
        """Ask for a pass now: an operator has changed something."""
        self._poke.set()

    def published(self, digest: str) -> Blob | None:
        """A blob that some device is to have."""
        doc = self.store.get("published", digest)
        return msgspec.convert(doc, Blob) if doc is not None else None

    def vouch(self, model: str) -> bool:
        """Let the release key that is here, if one is, sign what passed its gates; False if a person must sign."""
        signed = self.publisher.vouch(model, self.in_use(model), today())
        self._trust_changed |= signed
        return signed

    def in_use(self, model: str) -> set[int]:
        """Releases of `model` that some device is desired to run."""
        return {twin.desired[model].release for twin in self.world.twins.values() if model in twin.desired}

    def unsigned(self, model: str) -> list[int]:
        """Releases that passed their gates and that no release signer vouches for."""
        return sorted(set(self.publisher.manifests(model, self.in_use(model))) - self.authority.signed(model))

    def accept_metadata(self, files: dict[str, str]) -> list[str]:
        """Take documents that were signed elsewhere. BadInput with the kind of fault; then nothing has changed."""
        taken = self.authority.accept(files, today())
        self._trust_changed = True
        self.poke()
        return taken

    async def revoke(self, device: str, actor: str) -> int:
        """Take a device's certificates away and end its session; how many certificates that were."""
        now = today()
        count = self.credentials.revoke(device, now.timestamp())
        self.voices.forget(device)
        self.journal.audit(stamp(), actor, "device revoke", device, f"{count} certificates")
        if self.broker is not None and self.broker.files is not None:
            await self._enforce_revocations(now)
            ended = await asyncio.to_thread(
                self.broker.files.end_session, self.broker.port, device, self.enrolment.authority, now
            )
            _log.info("revoked %s; its session was %s", device, "ended" if ended else "not there")
        return count

    async def _keep_revocations_young(self) -> None:
        """A list past its date locks every device out: make a new one every day."""
        if self.broker is None or self.broker.files is None:
            return
        if time.time() - self.credentials.newest_list_at() > CRL_RENEW_DAYS * 86_400:
            await self._enforce_revocations(today())

    async def _enforce_revocations(self, now: datetime) -> None:
        assert self.broker is not None
        assert self.broker.files is not None
        self.broker.files.write_access(self.enrolment, now)
        if not await asyncio.to_thread(self.broker.reload):
            self.journal.audit(stamp(), "controller", "broker restart", "mosquitto", "a reload let the canary in")

    def refuse(self, refusal: Refusal) -> None:
        """Audit a refused attempt: the first of its kind in a minute, and how many followed."""
        self.audit_refusals(self.refusals.note(refusal, time.time()))

    def audit_refusals(self, refusals: Iterable[Refusal]) -> None:
        """Append entries that are due."""
        for each in refusals:
            self.journal.audit(stamp(), each.actor, each.action, each.subject, each.detail)

    def _refused(self, words: str) -> None:
        self.refuse(Refusal("unknown", "enrol refused", "device", words))

    def save_rollouts(self, *rollouts: Rollout) -> None:
        """Make rollouts durable and let the next pass see them."""
        save_rollouts(self.store, rollouts)
        self.world.rollouts.update({rollout.id: rollout for rollout in rollouts})
        self.events.saw(rollouts)

    async def one_pass(self) -> None:
        """Fold, decide, make durable, publish. What could not be made durable or published waits for the next pass."""
        inbox = [self._inbox.popleft() for _ in range(len(self._inbox))]
        self._unsaved.take(reconcile(self.world, inbox, time.time()))
        self._persist()
        self.deployment.start_due(stamp())
        self._keep_captured()
        self._trust_changed |= self.authority.refresh(today())
        await self._keep_revocations_young()
        if not self.connected:
            self._restore_needed = True
            return
        if self._restore_needed:
            await self.broadcast.restore()
            self._restore_needed = False
        elif self._unpublished:
            await self.broadcast.ensure_blobs()
            self.broadcast.publish_for(self._unpublished)
        elif self._trust_changed:
            self.broadcast.publish_trust({model for twin in self.world.twins.values() for model in twin.desired})
        self._trust_changed = False
        self._unpublished.clear()
        while self._unacknowledged:
            device, ack = self._unacknowledged.popleft()
            self._links[0].publish(topics.ack(device), encode(ack), retain=False)

    def _persist(self) -> None:
        unsaved = self._unsaved
        if unsaved.redesired:
            save_devices(self.store, (self.world.twins[device] for device in sorted(unsaved.redesired)))
        if unsaved.quarantined:
            save_quarantine(self.store, self.world.quarantine, sorted(unsaved.quarantined))
        if unsaved.rollouts:
            self.save_rollouts(*unsaved.rollouts.values())
        if unsaved.reports or unsaved.heartbeats:
            history = [(device, encode(report).decode()) for device, report in unsaved.reports]
            reported = [(device, encode(heartbeat)) for device, heartbeat in unsaved.heartbeats.items()]
            self.journal.record(stamp(), history, reported)
        for rollout in unsaved.rollouts.values():
            _log.info("rollout %s: %s, wave %d%s", rollout.id, rollout.status, rollout.wave, _why(rollout))
        self._unpublished |= unsaved.redesired | unsaved.unheard
        if unsaved.unheard:
            self.broadcast.say_again()
        self._unacknowledged.extend(unsaved.acks)
        self._unsaved = Unsaved()

    def _keep_captured(self) -> None:
        if not self._captured:
            return
        batches = list(self._captured)
        self.captures.keep(batches)
        self._captured.clear()
        self._unacknowledged.extend((device, Ack(boot=batch.boot, seq=batch.seq)) for device, batch in batches)

    def _connected(self) -> None:
        self._restore_needed = True
        self.poke()

    def _message(self, topic: str, payload: bytes) -> None:
        if not self.broadcast.saw(topic):
            self.take_message(topic, payload)

    def take_message(self, topic: str, payload: bytes) -> bool:
        """Take in what a device said on one of its topics; False, and counted, if it is not believed or no message."""
        found = topics.parse_up(topic)
        if found is None or found[1] not in _KINDS or not payload:
            return False
        device, kind = found
        try:
            message = decode(payload, _KINDS[kind])
            if not self.voices.believes(device, message, time.time()):
                self.disbelieved += 1
                return False
            if message.device != device:
                raise BadInput(Code.WRONG_DEVICE, f"a message on the topic of {device} names {message.device!r}")
        except EdgewardError as error:
            self.dropped += 1
            _log.warning("message of %s dropped: %s", device, error)
            return False
        if isinstance(message, Captured):
            self._captured.append((device, message))
            return True
        if len(self._inbox) >= MAX_INBOX:
            self._inbox.popleft()
            self.dropped += 1
        self._inbox.append((device, message))
        return True

    async def _run(self) -> None:
        while True:
            try:
                await self.one_pass()
            except EdgewardError as error:
                _log.error("pass failed, trying again: %s", error)
            except Exception:  # one bad pass must not end the controller
                _log.exception("pass failed, trying again")
            self._poke.clear()
            try:
                await asyncio.wait_for(self._poke.wait(), self.config.fleet.reconcile_s)
            except TimeoutError:
                continue


def today() -> datetime:
    """The date and time in UTC, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def stamp() -> str:
    """The date and time as text."""
    return today().isoformat()


def _why(rollout: Rollout) -> str:
    return f" ({rollout.reason})" if rollout.reason else ""
