"""The state that verbs and API handlers share: stores, world, trust, publisher, events, encodings. Built once by
`open_state`.

Decides what is opened, in which order, and from where. Refuses to know what is done with it: that is in `verbs`.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from contract.blobs import Blob
from contract.errors import BadInput, Code
from controller.alerts.check import read_alert_file
from controller.alerts.defaults import DEFAULTS
from controller.alerts.records import TABLES as ALERT_TABLES
from controller.alerts.records import AlertRecords
from controller.alerts.state import AlertState
from controller.broker.foreign import Foreign
from controller.broker.inbox import Inbox
from controller.broker.inquiries import Inquiries
from controller.broker.link import ControllerLink
from controller.broker.messages import Publisher
from controller.broker.process import RunningBroker
from controller.broker.skipped import Skipped
from controller.clock import stamp, today
from controller.config import Config
from controller.convert.starter import Starter
from controller.convert.turns import Turns
from controller.convert.under_way import Pushing
from controller.drift.report import DriftReport
from controller.encode.deliveries import Deliveries
from controller.events.attempts import Fare
from controller.events.cloudevents import Events
from controller.events.notifier import Notifier
from controller.fleet.absences import Absence
from controller.fleet.invented import Names, names_of
from controller.health import PassRecord, StepRecord
from controller.reconcile.durable import MOVED_TABLES, TABLES, FleetRecords, rows_of_table
from controller.reconcile.world import World
from controller.registry.aliases import Aliases
from controller.registry.blobs import BlobStore
from controller.registry.bucket import Bucket
from controller.registry.captures import Captures
from controller.registry.catalogue import Catalogue
from controller.registry.credentials import Credentials
from controller.registry.data_sets import DataSets
from controller.registry.discussions import Discussions
from controller.registry.erasures import Erasures
from controller.registry.fleet_tables import FleetTables
from controller.registry.journal import Journal
from controller.registry.notes import NoteStore
from controller.registry.registry import Registry
from controller.registry.retrainings import Retrainings
from controller.registry.runs import Runs
from controller.registry.store import TinyStore
from controller.rollout.model import Rollout
from controller.telemetry.store import TelemetryStore
from controller.telemetry.vitals import VitalsStore
from controller.trust.agreement import load_or_make_agreement
from controller.trust.audit_seal import AuditSeal
from controller.trust.authorities import Authorities
from controller.trust.enrolment import Enrolment
from controller.trust.keys import open_trust_metadata
from controller.trust.metadata import TrustMetadata
from controller.trust.refusals import Refusals
from controller.trust.senders import Senders
from controller.trust.tokens import Tokens
from controller.watcher.departure import Watch

STARTED = "controller start"
"""The action of a controller's first entry in the audit: a controller that writes it also seals the audit."""
MAX_NAMED_VERSIONS = 256
"""Versions whose classes and columns are in memory, to be compared with what devices count: those that a fleet runs."""

_log = logging.getLogger("edgeward.controller")


@dataclass
class State:
    """One controller's state. Verbs change it; the service publishes what has changed."""

    config: Config
    store: TinyStore
    tables: FleetTables
    records: FleetRecords
    blobs: BlobStore
    journal: Journal
    captures: Captures
    data_sets: DataSets
    runs: Runs
    erasures: Erasures
    telemetry: TelemetryStore
    vitals: VitalsStore
    retrainings: Retrainings
    credentials: Credentials
    enrolment: Enrolment
    senders: Senders
    registry: Registry
    aliases: Aliases
    notes: NoteStore
    discussions: Discussions
    catalogue: Catalogue
    trust_metadata: TrustMetadata
    publisher: Publisher
    tokens: Tokens
    world: World
    deliveries: Deliveries
    events: Events
    inbox: Inbox
    conversions: Turns
    inquiries: Inquiries
    """Questions to devices that wait for an answer."""
    bucket: Bucket | None
    passes: PassRecord
    audit_seal: AuditSeal
    alerts: AlertState
    started_at: float
    """The start, in seconds since 1970."""
    audit_fault: str = ""
    """The fault of the audit that this start has found."""
    told_root: str = ""
    """The newest root that the audit is known to name."""
    notifier: Notifier | None = None
    """Sends messages to receivers of alerts, once the service has started it."""
    event_fares: Sequence[Fare] = ()
    """The counts of the receivers of events."""
    data_looks: dict[str, DriftReport | None] = field(default_factory=dict)
    """The newest result about the data of each model's devices; None if it failed. Alerts and retraining read it."""
    watch: Watch = field(default_factory=Watch)
    """The findings of the watcher's newest looks at the vitals of the fleet."""
    absences: dict[str, tuple[float | None, tuple[Absence, ...], float | None]] = field(default_factory=dict)
    """device -> (when it was seen, its absences, since when it is offline), as read from `vitals`; see
    `verbs.returns`.
    """
    broker: RunningBroker | None = None
    """The broker, once the service has started or found it."""
    links: Sequence[ControllerLink] = ()
    """The service's connections to the broker."""
    api_port: int = 0
    """The port of the API, once it listens."""
    trust_changed: bool = False
    """Whether trust metadata is newer than what the broker holds."""
    refusals: Refusals = field(default_factory=Refusals)
    """Refused attempts of the current minute."""
    refused_by_policy: dict[str, int] = field(default_factory=dict)
    """The newest release of each model that its policy could not roll out; each is logged once."""
    retraining_look_at: dict[str, float] = field(default_factory=dict)
    """The time of the next check of each model's retraining policy, in seconds since 1970."""
    broker_outdated: bool = False
    """Whether the broker must restart, because it trusts other authorities than it should."""
    lent: dict[str, Blob] = field(default_factory=dict)
    """Blobs of candidates that the broker holds while devices probe them, by digest."""
    linked_by: tuple[int, ...] = ()
    """Serial numbers of the certificates by which `links` have connected."""
    data_look_at: float = 0.0
    """When data sets are checked next, in monotonic seconds."""
    open_erasures: bool = True
    """Whether a deletion waits for devices."""
    erasing: set[str] = field(default_factory=set)
    """Deletions whose rows are not all gone from this controller's files: they are not done, even if all devices
    are.
    """
    steps: StepRecord = field(default_factory=StepRecord)
    """How the steps after each pass end."""
    data_turns: Turns = field(default_factory=Turns)
    """Data sets are made and compared one after the other."""
    erasing_turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    own_look_at: float = 0.0
    """When the controller's own certificates are checked next, in monotonic seconds."""
    warn_look_at: float = 0.0
    """When all expiries are checked next, in monotonic seconds."""
    skipped: Skipped = field(default_factory=Skipped)
    """Documents and blobs that could not be published, for health."""
    foreign: Foreign = field(default_factory=lambda: Foreign(time.monotonic))
    """Foreign retained messages on the broker, for health."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pushing: Pushing = field(default_factory=Pushing)
    """Pushes that are under way, for the page and for clients that wait."""
    starter: Starter = field(default_factory=Starter)
    """The starter of conversion children; its process starts with the first push."""

    @property
    def public_url(self) -> str:
        """Returns the address at which devices reach the API."""
        api = self.config.api
        return api.public_url or f"http://{api.host}:{self.api_port or api.port}"

    @property
    def connected(self) -> bool:
        """Whether every connection to the broker is up."""
        return bool(self.links) and all(link.connected for link in self.links)

    def poke(self) -> None:
        """Requests a pass now, because an operator has changed something."""
        self.wake.set()

    def in_use(self, model: str) -> set[int]:
        """Returns the releases of `model` that any device is desired to run."""
        return {twin.desired[model].release for twin in self.world.durable.twins.values() if model in twin.desired}

    def save_rollouts(self, *rollouts: Rollout) -> None:
        """Makes rollouts durable, passes them to the next pass, and makes events."""
        self.records.save_rollouts(*rollouts)
        self.world.durable.rollouts.update({rollout.id: rollout for rollout in rollouts})
        self.events.saw(rollouts)

    def close(self) -> None:
        """Closes the files, and ends the starter of conversions."""
        self.starter.end()
        stores = (self.tables, self.journal, self.captures, self.data_sets, self.erasures, self.telemetry)
        for each in (*stores, self.vitals, self.retrainings, self.runs):
            each.close()
        self.credentials.close()


def open_state(config: Config) -> State:
    """Opens or makes everything in the data directory.

    BadInput `store_corrupt`, `config_invalid`; WorldError `disk_full`, `disk_failed`.
    """
    directory, now = config.data_dir, today()
    store, journal = TinyStore(directory / "tables"), Journal(directory / "journal.sqlite")
    tables = FleetTables(directory / "fleet.sqlite", (*TABLES, *ALERT_TABLES))
    tables.take_over(directory / "tables", MOVED_TABLES, rows_of_table)
    records = FleetRecords(tables)
    blobs, registry = BlobStore(directory / "blobs"), Registry(store)
    aliases, notes = Aliases(store, registry), NoteStore(store, registry)
    credentials = Credentials(directory / "credentials.sqlite")
    agreement = load_or_make_agreement(directory / "agreement.pem")
    senders = Senders(credentials, require_signed=config.fleet.require_signed, code=agreement.code)
    metadata = Path(config.trust.metadata_dir).expanduser() if config.trust.metadata_dir else None
    trust_metadata = open_trust_metadata(store, directory / "keys", metadata, now)
    trust_metadata.witness = journal.checkpoint
    audit_seal = AuditSeal(directory / "audit.seal", trust_metadata)
    audit_fault = audit_seal.examine(journal.hash_of, sealed=journal.goes_on_after(STARTED))
    journal.seal = audit_seal.renew
    world = records.load_world(journal.last_words(), config.fleet.silent_s, journal.untold())
    world.sources, world.neighbours_by = config.publish.sources, config.publish.neighbours
    world.registered, world.withdrawn = registry.registered, registry.withdrawn
    world.names = lru_cache(MAX_NAMED_VERSIONS)(partial(_names, registry))
    kept = config.telemetry
    telemetry = TelemetryStore(directory / "telemetry.sqlite", kept.keep_days, kept.max_mb)
    world.past, world.past_shapes, world.measured.heard = telemetry.past, telemetry.shapes, telemetry.heard()
    senders.retired = world.durable.retired
    for row, why in records.unreadable.items():
        _log.error("%s cannot be read and was left aside: %s", row, why)
    inquiries = Inquiries()
    events = Events("/edgeward/controller", stamp, first=time.time_ns() // 1_000_000)
    events.know(world.durable.rollouts.values())
    journal.told = events.tell_audit
    return State(
        config=config,
        store=store,
        tables=tables,
        records=records,
        blobs=blobs,
        journal=journal,
        captures=Captures(directory / "captured.sqlite"),
        data_sets=DataSets(directory / "data_sets"),
        runs=Runs(directory / "runs.sqlite"),
        erasures=Erasures(directory / "erasures.sqlite"),
        telemetry=telemetry,
        vitals=VitalsStore(directory / "vitals.sqlite"),
        retrainings=Retrainings(directory / "retraining.sqlite"),
        credentials=credentials,
        enrolment=Enrolment(Authorities(directory / "pki", now), credentials),
        senders=senders,
        registry=registry,
        aliases=aliases,
        notes=notes,
        discussions=Discussions(store),
        catalogue=Catalogue(registry, aliases, notes),
        trust_metadata=trust_metadata,
        publisher=Publisher(registry, blobs, trust_metadata),
        tokens=Tokens(store),
        world=world,
        deliveries=Deliveries(world.durable, records, blobs, config.publish.chunk_bytes),
        events=events,
        inbox=Inbox(senders, time.time, inquiries.answered, agreement=agreement.public),
        inquiries=inquiries,
        conversions=Turns(),
        bucket=_bucket(config),
        passes=PassRecord(time.monotonic()),
        audit_seal=audit_seal,
        audit_fault=audit_fault,
        alerts=_alerts(config, tables),
        started_at=time.time(),
    )


def _alerts(config: Config, tables: FleetTables) -> AlertState:
    """Returns the rules of the configured file, or the default rules. BadInput `alert_rule_invalid`,
    `config_invalid`.
    """
    records = AlertRecords(tables)
    if not config.alerts.file:
        return AlertState(DEFAULTS, "", "", records)
    path = Path(config.alerts.file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"alerts.file: {path}: {getattr(error, 'strerror', error)}") from None
    return AlertState(read_alert_file(text, str(path)), text, str(path), records)


def _bucket(config: Config) -> Bucket | None:
    wanted = config.publish
    return Bucket(wanted.bucket, wanted.bucket_endpoint, time.monotonic) if wanted.bucket else None


def _names(registry: Registry, model: str, release: int) -> Names:
    return names_of(registry.version(model, release).manifest)
