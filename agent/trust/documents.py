"""Signed documents: trust bundles, roots, roles and desired documents, from a message to assignments.

Makes verified metadata and high-water marks durable before they have any effect. Decides the order in which
documents are handled; `pending` decides whether one is admitted. Refuses to know what follows from an assignment.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec

from agent.core.model import Assignment
from agent.flash.store import DeviceRecord, Store
from agent.ports import Link
from agent.stimuli import Identity
from agent.trust.pending import Pending
from contract import topics
from contract.erasure import Erasure
from contract.errors import BadInput, Code
from contract.inquiries import Inquiry
from contract.remote_config import RemoteConfig
from contract.trust import chain
from contract.trust.chain import FollowedInPartError
from contract.trust.inquiries import check_inquiry
from contract.trust.verified import Trusted, role_expiries
from contract.wire import decode

MAX_BEHIND_S = 120.0
"""Seconds. A clock that is further behind signed time is wrong; the controller's own clock may differ by a little."""


class Found(msgspec.Struct, frozen=True):
    """What follows from a document, for the models that it names. All other models stay as they are."""

    admitted: tuple[Assignment, ...] = ()
    refused: tuple[BadInput, ...] = ()
    withdrawn: Mapping[str, int] = {}
    """Models that the device must no longer run, with the generation of that order."""
    erasures: tuple[Erasure, ...] = ()
    """Captured rows to delete."""
    new_director: bool = False
    """Whether another director's key than before signed this: it numbers its generations separately."""
    config: RemoteConfig | None = None
    """The remote configuration, which replaces parts of the device's own."""
    is_desired: bool = False
    """Whether this follows from a desired document that was just accepted."""


class Documents:
    """The signed documents of one device. Raises BadInput with the kind of fault; the metadata that was verified
    before stays valid.
    """

    def __init__(
        self,
        identity: Identity,
        given: Trusted,
        *,
        store: Store,
        link: Link,
        record: DeviceRecord,
        wall_clock: Callable[[], datetime],
    ) -> None:
        trusted, self.damaged = store.load_trusted()
        self._identity = identity
        self._store = store
        self._link = link
        self.record = record
        self._expiries: tuple[Trusted, dict[str, int]] | None = None
        """The trusted metadata, and when its roles expire, in seconds since 1970."""
        self._pending = Pending(identity.device, identity.machine, trusted or given, wall_clock)
        if trusted is not None:
            self._pending.restore_roles(store.load_roles())

    def clock_fault(self, now: datetime) -> BadInput | None:
        """Returns in words what is wrong with a clock that shows `now`, if signed times prove that it is behind;
        else an empty text.
        """
        behind_s = (chain.time_floor(self._pending.trusted, now) - now).total_seconds()
        if behind_s <= MAX_BEHIND_S:
            return None
        return BadInput(Code.CLOCK_WRONG, f"the clock says {now:%Y-%m-%d %H:%M}, signed time is {behind_s:.0f} s later")

    def topics(self, models: Iterable[str]) -> list[str]:
        """Returns topics on which documents are retained for this device; `models` are those that it knows."""
        roles = [topics.model_role(name) for name in sorted(models)]
        return [topics.trust(), topics.desired(self._identity.device), *roles]

    def receive(self, topic: str, payload: bytes, now: float) -> Found | None:
        """Returns what follows from a message; None if this device does not wait for such a document."""
        if topic == topics.desired(self._identity.device):
            return self._desired(payload, now)
        if topic == topics.trust():
            self._pending.hold_trust_bundle(payload)
            return self._follow(now)
        if topic.startswith(topics.trust()):
            self._keep_trusted(self._pending.read_root(payload.decode(errors="replace")))
            return self._follow(now)
        if model := self._pending.role_of(topic):
            return self._trust(self._pending.read_role(model, payload), now)
        return None

    def read_inquiry(self, payload: bytes) -> Inquiry:
        """Returns an inquiry that the director has signed. BadInput `signature_invalid`, `message_malformed`."""
        inquiry = decode(payload, Inquiry)
        check_inquiry(inquiry, chain.targets_of(self._pending.trusted))
        return inquiry

    def tick(self, now: float) -> Found | None:
        """Reports missing documents once that is due."""
        return self._admit(now) if now >= self._pending.wake_at() else None

    def wake_at(self) -> float:
        """Returns when `tick` is due; infinity for never."""
        return self._pending.wake_at()

    def expiries(self) -> dict[str, int]:
        """When the trusted roles expire, by name, in seconds since 1970; from any thread."""
        trusted = self._pending.trusted
        if self._expiries is None or self._expiries[0] is not trusted:
            self._expiries = (trusted, role_expiries(trusted))
        return self._expiries[1]

    def _follow(self, now: float) -> Found:
        """Follows the newest bundle; first asks for the roots between the trusted one and those of the bundle.

        Each root is durable before anything else is verified: from then on a key that it revokes is not accepted,
        even if the rest of the bundle is invalid.
        """
        if (version := self._pending.missing_root()) is not None:
            self._link.subscribe([topics.root(version)])
            return Found()
        for text in self._pending.newer_roots():
            self._keep_trusted(self._pending.read_root(text))
        try:
            trusted = self._pending.read_trust_bundle()
        except FollowedInPartError as fault:
            self._keep_trusted(fault.verified)
            raise
        return self._trust(trusted, now)

    def _trust(self, trusted: Trusted, now: float) -> Found:
        """Trusts verified metadata once it is durable, and reads again the documents that waited for it."""
        self._keep_trusted(trusted)
        self._keep_trusted(self._pending.retry_roles())
        held, self._pending.held_desired = self._pending.held_desired, None
        return self._desired(held, now) if held is not None else self._admit(now)

    def _keep_trusted(self, trusted: Trusted) -> None:
        if trusted != self._pending.trusted:
            self._store.save_trusted(trusted, self._pending.trusted)
            self._pending.trusted = trusted
        known = self.record.min_releases
        raised = {name: floor for name, floor in self._pending.floors().items() if floor > known.get(name, 0)}
        if raised:
            self._keep(msgspec.structs.replace(self.record, min_releases=known | raised))

    def _keep(self, record: DeviceRecord) -> None:
        self._store.save_device(record)
        self.record = record

    def _desired(self, payload: bytes, now: float) -> Found:
        if not self._pending.current:
            self._pending.await_trust(payload, now)
            return self._admit(now)
        before = self.record.high_water
        document, high_water = self._pending.read_desired(payload, before, self._identity.nonce)
        numbered_by = self.record.numbered_by or before.keyids or high_water.keyids
        if high_water != before:
            self._keep(msgspec.structs.replace(self.record, high_water=high_water, numbered_by=numbered_by))
        named = [want.model for want in document.wanted]
        self._pending.await_roles(document, now)
        self._link.unsubscribe([topics.model_role(name) for name in named])
        self._link.subscribe([topics.model_role(name) for name in named])
        found = self._admit(now)
        rotated = numbered_by != high_water.keyids
        said = {"withdrawn": document.withdrawn, "config": document.config, "erasures": document.erasures}
        return msgspec.structs.replace(found, new_director=rotated, is_desired=True, **said)

    def begin_numbering(self) -> None:
        """Makes durable that the records of models hold no generation of a former director."""
        self._keep(msgspec.structs.replace(self.record, numbered_by=self.record.high_water.keyids))

    def _admit(self, now: float) -> Found:
        admitted, refused = self._pending.take(now, self.record.min_releases)
        return Found(tuple(admitted), tuple(refused))
