"""What reaches the shell from outside, and what it is told about itself. Values only; nothing here acts."""

from dataclasses import dataclass

from agent.ports import ProbeReport
from contract.signatures import Sign
from contract.trust.chain import Trusted


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker has accepted the connection."""


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection is gone."""


@dataclass(frozen=True, slots=True)
class MessageArrived:
    """A message from the broker."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ProbeEnded:
    """The probe child of `model` has answered or died."""

    model: str
    report: ProbeReport


@dataclass(frozen=True, slots=True)
class Woke:
    """The time that `wake_at` named has come."""


Stimulus = LinkUp | LinkDown | MessageArrived | ProbeEnded | Woke


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this device is and where its trust starts."""

    device: str
    machine: str
    trusted: Trusted
    labels: dict[str, str]
    nonce: str = ""
    """Of this boot; only documents that repeat it are accepted. Empty: freshness rests on dates and versions."""
    sign: Sign | None = None
    """Signs what the device says with its key; None for one that has no key."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often the device speaks and looks, in seconds."""

    heartbeat_s: float
    telemetry_s: float
    judge_s: float
