"""The twin: the orders to a device (desired), its reports (reported), and whether it is connected (presence).

Decides how a message changes a twin. Duplicates and late messages change nothing: `boots` detects them. Refuses to know
rollouts.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from contract.desired import Delivery, TrialPolicy
from contract.erasure import Erasure
from contract.messages import ConfigState, Hardware, Heartbeat, ModelState, Presence, Report, SensorState, SinkState
from contract.protocol import MAX_FAULTS, MAX_MODELS_PER_DEVICE
from contract.remote_config import RemoteConfig
from contract.versions import next_version
from contract.wire import Message
from controller.fleet.boots import Boots
from controller.fleet.device_clock import DeviceClock, hear_clock
from controller.fleet.pin import Pin
from controller.written import Written

DOCUMENT_LIFE_S = 7 * 86_400
"""Seconds after which a desired document expires; at half of them a new one is issued."""

FOLLOWED_VERSION = 2**40
"""The highest generation of a device's report that is taken over, the seconds of 34,000 years: there are 9 million
billion higher ones, so a false report of one device cannot use them all."""

PresenceWord = Literal["online", "offline", "silent", "unknown"]


class Assigned(Message, frozen=True):
    """The order to a device about one model. Durable before it is published."""

    release: int
    generation: int
    rollout: str
    digest: str = ""
    """The digest of the chosen form; empty: the version's first form."""
    delivery: Delivery | None = None
    """The encoding in which it is sent; None: unencoded."""
    sources: tuple[str, ...] = ()
    """Addresses that have the artifact besides the broker."""
    policy: TrialPolicy = TrialPolicy()
    attempt: int = 1
    offered_at: float = 0.0

    @property
    def mode(self) -> str:
        """Whether it must serve, or run as a shadow."""
        return self.policy.mode


class Twin(msgspec.Struct, frozen=True):
    """Everything that the controller knows about one device."""

    device: str
    document_version: int = 0
    issued_at: int = 0
    """When the document was issued, in seconds since 1970: signing it again gives the same bytes."""
    desired: dict[str, Assigned] = {}
    reported: dict[str, ModelState] = {}
    hardware: Hardware | None = None
    labels: dict[str, str] = {}
    """The device's own labels; those that the controller gives replace them. Selectors use these."""
    own_labels: dict[str, str] = {}
    """The labels in its own configuration."""
    given_labels: dict[str, str] = {}
    """Set here by people. They replace its own of the same key, so that an operator need not change the device."""
    config: RemoteConfig | None = None
    """The remote configuration that was sent to it; None: there was never one."""
    config_said: ConfigState | None = None
    """The state of that configuration, as the device reports it."""
    note: Written | None = None
    """The note that a person wrote about it."""
    pinned: dict[str, int] = {}
    """The releases at which its own configuration holds models."""
    pins: dict[str, Pin] = {}
    """By model, the releases at which people hold it. Durable."""
    dropped: dict[str, int] = {}
    sensors: tuple[SensorState, ...] = ()
    sinks: tuple[SinkState, ...] = ()
    connected: bool | None = None
    announced: int = 0
    """The start of the agent that opened the newest connection; 0: unknown."""
    boots: Boots = Boots()
    """The starts of its agent that have sent messages, and the newest message of each."""
    seen_at: float | None = None
    expiries: dict[str, int] = {}
    """When certificates and roles expire that the device has or relies on, as it says, in seconds since 1970."""
    serve_at: str = ""
    """The address at which neighbours fetch confirmed blobs; empty: it serves none."""
    asks: str = ""
    """The nonce that its document must contain."""
    answered: str = ""
    """The nonce in its document. Durable: it is part of what was signed."""
    faults: dict[str, str] = {}
    """The faults of the device by code, as it has reported them."""
    clock: DeviceClock | None = None
    """What its heartbeats say about its clock."""
    withdrawn: dict[str, int] = {}
    """Models that it must no longer run, by the generation of that order."""
    erasures: tuple[Erasure, ...] = ()
    """Orders to delete captured rows that it has not reported as done. Durable, and in its document, the oldest
    first."""
    erased: dict[str, int] = {}
    """Rows deleted by the orders that it reports as done."""

    @property
    def clock_off_s(self) -> float:
        """Seconds by which its clock is ahead of this one; below 0 behind it; 0 for unknown."""
        return self.clock.off_s if self.clock is not None else 0.0

    def presence(self, now: float, silent_s: float) -> PresenceWord:
        """Returns its presence. Offline: according to its last will. Silent: connected, but no heartbeat for
        `silent_s`.
        """
        if self.connected is False:
            return "offline"
        if self.seen_at is None:
            return "unknown"
        return "online" if now - self.seen_at <= silent_s else "silent"

    def next_version(self, now: float) -> int:
        """Returns the version of its next document: higher than the last one, than the one that it reports, and than a
        backup.

        Its report is needed if this controller's own row was lost, or the clock was set back.
        """
        said = (state.generation for state in self.reported.values())
        told = max((generation for generation in said if generation <= FOLLOWED_VERSION), default=0)
        return next_version(max(self.document_version, told), now)


def with_given_labels(twin: Twin, given: dict[str, str]) -> Twin:
    """Returns the twin with these labels in place of the given ones."""
    return replace(twin, given_labels=given, labels={**twin.own_labels, **given})


def fold_heartbeat(twin: Twin, message: Heartbeat, now: float) -> Twin:
    """Replaces what was reported with the full state, unless something newer is known."""
    boots, is_news = twin.boots.heard(message.boot, message.seq, now)
    if not is_news:
        return replace(twin, boots=boots, seen_at=now, connected=True)
    return replace(
        twin,
        faults=dict(message.faults),
        clock=hear_clock(twin.clock, message.boot, now, message.at) if message.at else None,
        reported={state.model: state for state in message.models},
        hardware=message.hardware,
        labels={**message.labels, **twin.given_labels},
        own_labels=dict(message.labels),
        pinned=dict(message.pinned),
        dropped=dict(message.dropped),
        sensors=message.sensors,
        sinks=message.sinks,
        expiries=dict(message.expiries),
        boots=boots,
        seen_at=now,
        connected=True,
        serve_at=message.serve_at,
        asks=message.nonce,
        config_said=message.config,
        erased=dict(message.erased),
    )


def fold_report(twin: Twin, message: Report, now: float) -> Twin:
    """Replaces what was reported about one model, unless something newer is known."""
    boots, is_news = twin.boots.heard(message.boot, message.seq, now)
    if not is_news:
        return replace(twin, boots=boots)
    faults, refusal, reported = twin.faults, message.refusal, twin.reported
    if refusal is not None and (refusal.code in faults or len(faults) < MAX_FAULTS):
        faults = {**faults, refusal.code: refusal.detail}  # until the next heartbeat, which lists the present faults
    if message.state is not None and (message.state.model in reported or len(reported) < MAX_MODELS_PER_DEVICE):
        reported = {**reported, message.state.model: message.state}
    return replace(twin, reported=reported, faults=faults, boots=boots, seen_at=now, connected=True)


def fold_presence(twin: Twin, message: Presence, now: float) -> Twin:
    """Folds in the broker's report of the connection. The last will of an earlier start is ignored."""
    if message.online:
        return replace(twin, announced=message.boot, connected=True, seen_at=now)
    if message.boot and twin.announced and message.boot != twin.announced:
        return twin
    return replace(twin, connected=False)
