"""The stimuli that reach the shell from outside, and the facts that the shell has about its device. Plain values."""

from collections.abc import Callable

import msgspec

from agent.ports import ProbeReport
from contract.signatures import Sign


class LinkUp(msgspec.Struct, frozen=True):
    """The broker has accepted the connection."""

    broker_expires: int = 0
    """When the certificate of the broker expires, in seconds since 1970; 0 without one."""


class LinkDown(msgspec.Struct, frozen=True):
    """The connection has ended."""


class MessageArrived(msgspec.Struct, frozen=True):
    """A message from the broker."""

    topic: str
    payload: bytes


class ProbeEnded(msgspec.Struct, frozen=True):
    """The probe of `model` has ended, with a report; also if the child died."""

    model: str
    report: ProbeReport


class Woke(msgspec.Struct, frozen=True):
    """The time that `wake_at` returned has come."""


class SourceFailed(msgspec.Struct, frozen=True):
    """A source of chunks cannot provide what was requested."""

    source: str
    detail: str


class ExpiriesRead(msgspec.Struct, frozen=True):
    """When the device's certificate and its authority expire, by name, in seconds since 1970."""

    expiries: dict[str, int]


class LookedInto(msgspec.Struct, frozen=True):
    """The result of an inquiry, without secrets."""

    inquiry: str
    """The id of the inquiry."""
    lines: tuple[str, ...]


class CandidateProbed(msgspec.Struct, frozen=True):
    """The probe that an inquiry has asked for has ended."""

    inquiry: str
    """Its id."""
    report: ProbeReport


Stimulus = (
    LinkUp | LinkDown | MessageArrived | ProbeEnded | SourceFailed | Woke | ExpiriesRead | LookedInto | CandidateProbed
)


class Identity(msgspec.Struct, frozen=True):
    """The name, labels and directory of the device."""

    device: str
    machine: str
    labels: dict[str, str]
    nonce: str = ""
    """The nonce of this boot: only documents that repeat it are accepted. Empty: freshness is judged by dates and
    versions."""
    sign: Sign | None = None
    """Signs messages of the device with its key; None for a device that has no key."""
    code: Callable[[str, bytes], str] | None = None
    """Makes the code for data from the device's key and a controller's public key (PEM); "" if they do not fit."""
    serve_at: str = ""
    """The address at which neighbours may fetch confirmed blobs of this device."""
    pinned: dict[str, int] = {}
    """The releases at which this device's configuration pins models, even if others are desired."""


class Intervals(msgspec.Struct, frozen=True):
    """Intervals between messages and checks, in seconds."""

    heartbeat_s: float
    telemetry_s: float
    judge_s: float
