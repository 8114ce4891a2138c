"""The twin: what a device was told (desired), what it says (reported), whether it is there (presence).

Decides how a message changes a twin. Duplicates and late arrivals change nothing: every message carries (boot, seq).
Refuses to know rollouts.
"""

from typing import Literal

import msgspec
from msgspec.structs import replace

from contract.desired import Delivery, TrialPolicy
from contract.messages import Hardware, Heartbeat, ModelState, Presence, Report
from contract.protocol import MAX_MODELS_PER_DEVICE
from contract.wire import Message

DOCUMENT_LIFE_S = 7 * 86_400
"""A desired document expires so long after it was issued; at half of it a new one is issued."""

PresenceWord = Literal["online", "offline", "silent", "unknown"]


class Assigned(Message, frozen=True):
    """What a device was told about one model. Durable before it is published."""

    release: int
    generation: int
    rollout: str
    digest: str = ""
    """The digest of the form that was chosen for the device; empty: the version's first form."""
    delivery: Delivery | None = None
    """The encoding in which it travels; None: as it is."""
    sources: tuple[str, ...] = ()
    """Addresses where the artifact is found besides the broker."""
    policy: TrialPolicy = TrialPolicy()
    attempt: int = 1
    offered_at: float = 0.0

    @property
    def mode(self) -> str:
        """Whether it is to serve, or to run as a shadow."""
        return self.policy.mode


class Twin(msgspec.Struct, frozen=True):
    """Everything the controller knows about one device."""

    device: str
    document_version: int = 0
    issued_at: int = 0
    """When the document was issued, in seconds since 1970: signing it again gives the same bytes."""
    desired: dict[str, Assigned] = {}
    reported: dict[str, ModelState] = {}
    hardware: Hardware | None = None
    labels: dict[str, str] = {}
    pinned: dict[str, int] = {}
    dropped: dict[str, int] = {}
    connected: bool | None = None
    newest: tuple[int, int] = (0, 0)
    """(boot, seq) of the newest message that was folded in."""
    seen_at: float | None = None
    expiries: dict[str, int] = {}
    """When certificates and roles expire that the device has or relies on, as it says, in seconds since 1970."""
    serve_at: str = ""
    """The address where neighbours fetch what it has confirmed; empty: it shares nothing."""
    asks: str = ""
    """The nonce that the device wants its document to repeat."""
    answered: str = ""
    """The nonce in its document. Durable: it is part of what was signed."""

    def presence(self, now: float, silent_s: float) -> PresenceWord:
        """Whether it is there. Offline: its will says so. Silent: connected, but no heartbeat for `silent_s`."""
        if self.connected is False:
            return "offline"
        if self.seen_at is None:
            return "unknown"
        return "online" if now - self.seen_at <= silent_s else "silent"


def fold_heartbeat(twin: Twin, message: Heartbeat, now: float) -> Twin:
    """The full state replaces what was reported, unless something newer is known."""
    if (message.boot, message.seq) <= twin.newest:
        return replace(twin, seen_at=now, connected=True)
    return replace(
        twin,
        reported={state.model: state for state in message.models},
        hardware=message.hardware,
        labels=dict(message.labels),
        pinned=dict(message.pinned),
        dropped=dict(message.dropped),
        expiries=dict(message.expiries),
        newest=(message.boot, message.seq),
        seen_at=now,
        connected=True,
        serve_at=message.serve_at,
        asks=message.nonce,
    )


def fold_report(twin: Twin, message: Report, now: float) -> Twin:
    """One model's state replaces what was reported about it, unless something newer is known."""
    if (message.boot, message.seq) <= twin.newest:
        return twin
    reported = twin.reported
    if message.state is not None and (message.state.model in reported or len(reported) < MAX_MODELS_PER_DEVICE):
        reported = {**reported, message.state.model: message.state}
    return replace(twin, reported=reported, newest=(message.boot, message.seq), seen_at=now, connected=True)


def fold_presence(twin: Twin, message: Presence, now: float) -> Twin:
    """The broker's word about the connection."""
    seen_at = now if message.online else twin.seen_at
    return replace(twin, connected=message.online, seen_at=seen_at)
