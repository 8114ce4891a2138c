"""The messages that the device sends: numbered, with reports that are kept until they are acknowledged, and limits.

Decides what is sent again and what is dropped. Refuses to know why something is reported.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from agent.ports import Link, Lives, Usage
from agent.stimuli import Identity
from agent.uplink.telemetry_queue import TelemetryQueue
from contract import topics
from contract.bounds import LAST_MOMENT
from contract.errors import EdgewardError
from contract.messages import (
    MAX_SENSORS,
    Ack,
    ConfigState,
    Hardware,
    Heartbeat,
    ModelInterval,
    ModelState,
    Presence,
    Refusal,
    Report,
    Telemetry,
)
from contract.protocol import MAX_DETAIL_CHARS, MAX_FAULTS, PROTOCOL
from contract.signatures import Sign, encoding, sign_message
from contract.wire import encode

_log = logging.getLogger("edgeward.agent")

MAX_UNACKED = 64
"""The most reports that are kept until acknowledged; the heartbeat repeats the newest state anyway."""
RESEND_S = 15.0
"""Reports without an acknowledgement are sent again after this, then after twice as long, and so on."""
MAX_RESEND_S = 240.0
TELEMETRY_EXPIRY_S = 3600
NO_FAULTS: Mapping[str, str] = MappingProxyType({})
NO_ERASED: Mapping[str, int] = MappingProxyType({})
MAX_EXPIRIES = 32
"""Certificates and roles in a heartbeat: those of as many models as a device can have, and a few more."""


LOGGED_CHANGES = 8
"""Changes between codes and signatures that are each logged; of later ones those whose number doubles: whoever forges
acknowledgements can ask for a change with each of them."""


class Reporter:
    """Sends the messages of one device. `boot` is a random number for this start of the agent; messages are numbered
    within it.
    """

    def __init__(
        self,
        device: str,
        boot: int,
        link: Link,
        dropped: Counter[str],
        sign: Sign | None = None,
        *,
        code: Callable[[str, bytes], str] | None = None,
        lives: Callable[[], Lives] = lambda: ((), ()),
    ) -> None:
        self._lives = lives
        self._sign = sign
        self._code = code
        self._agreement = ""
        """The public key of the controller for codes in place of signatures; empty until the controller has sent
        one."""
        self._changes = 0
        self._device = device
        self.boot = boot
        self._link = link
        self._dropped = dropped
        self._seq = 0
        self._unacked: dict[int, bytes] = {}
        self._resend_at: float | None = None
        self._resend_s = RESEND_S
        self._telemetry = TelemetryQueue(dropped)
        self.online = False
        self.bytes_sent = 0

    def link_up(self, now: float) -> None:
        """Announces the device, then sends the messages that were kept while the link was down."""
        self.online = True
        self._resend_s = RESEND_S
        presence = Presence(protocol=PROTOCOL, device=self._device, online=True, boot=self.boot)
        self._send(topics.presence(self._device), encode(presence), retain=True)
        self._resend(now)
        self._flush_telemetry()

    def report(self, state: ModelState, now: float) -> None:
        """Reports a model's new state."""
        _log.info(
            "%s is %s, generation %d %s", state.model, state.phase, state.generation, f"{state.code} {state.detail}"
        )
        self._keep(sign_message(Report(state=state, **self._head()), self._sign), now)

    def refuse(self, error: EdgewardError, now: float) -> None:
        """Reports that something was refused."""
        _log.warning("refused: %s", error)
        refusal = Refusal(code=str(error.code), detail=error.detail[:MAX_DETAIL_CHARS])
        self._dropped[f"refused_{error.code}"] += 1
        self._keep(sign_message(Report(refusal=refusal, **self._head()), self._sign), now)

    def heartbeat(
        self,
        hardware: Hardware,
        identity: Identity,
        models: tuple[ModelState, ...],
        uptime_s: float,
        expiries: Mapping[str, int],
        *,
        at: int = 0,
        faults: Mapping[str, str] = NO_FAULTS,
        config: ConfigState | None = None,
        erased: Mapping[str, int] = NO_ERASED,
    ) -> None:
        """Sends the full state; does nothing while offline. `at`: seconds since 1970, `faults`: the present faults by
        code.
        """
        if not self.online:
            return
        newest = dict(sorted(self._dropped.items())[:32])
        sensors, sinks = self._lives()
        message = Heartbeat(
            hardware=hardware,
            labels=identity.labels,
            pinned=identity.pinned,
            models=models,
            uptime_s=int(uptime_s),
            dropped=newest,
            serve_at=identity.serve_at,
            sensors=sensors[:MAX_SENSORS],
            sinks=sinks[:MAX_SENSORS],
            at=at,
            faults=dict(sorted(faults.items())[:MAX_FAULTS]),
            expiries={name: min(at, LAST_MOMENT) for name, at in list(expiries.items())[:MAX_EXPIRIES]},
            config=config,
            erased=dict(erased),
            nonce=identity.nonce,
            **self._head(),
        )
        self._send(topics.heartbeat(self._device), encode(sign_message(message, self._sign)))

    def telemetry(
        self,
        intervals: tuple[ModelInterval, ...],
        usage: Usage,
        *,
        interval_s: float,
        cpu_s: float,
        stall_ms: float,
        swap_rss_mb: float,
        received: int,
    ) -> None:
        """Queues an interval's measurements and sends as much as the link takes now."""
        message = Telemetry(
            interval_s=round(interval_s, 3),
            intervals=intervals,
            rss_mb=round(usage.rss_mb, 1),
            cpu_ratio=round(cpu_s / interval_s, 4) if interval_s > 0 else 0.0,
            temperature_c=usage.temperature_c,
            swap_stall_ms_max=round(stall_ms, 3),
            swap_rss_mb=round(swap_rss_mb, 1),
            bytes_received=received,
            bytes_sent=self.bytes_sent,
            **self._head(),
        )
        self._telemetry.put(message)
        self._flush_telemetry()

    def acknowledged(self, ack: Ack) -> None:
        """Deletes a report that the controller has."""
        if ack.boot == self.boot and self._unacked.pop(ack.seq, None) is not None:
            self._resend_s = RESEND_S
            if not self._unacked:
                self._resend_at = None

    def agree(self, agreement: str) -> None:
        """Authenticates telemetry by codes for the controller with this public key (PEM); empty: by signatures."""
        if agreement == self._agreement:
            return
        self._agreement = agreement
        self._changes += 1
        if self._changes <= LOGGED_CHANGES or self._changes.bit_count() == 1:
            how = "codes" if agreement else "signatures"
            _log.info("telemetry carries %s from here on (change %d since the start)", how, self._changes)

    def tick(self, now: float) -> None:
        """Sends unacknowledged reports again when due."""
        if self._resend_at is not None and now >= self._resend_at and self.online:
            self._resend_s = min(2 * self._resend_s, MAX_RESEND_S)
            self._resend(now)

    def wake_at(self) -> float:
        """Returns when `tick` is due; infinity for never."""
        return self._resend_at if self._resend_at is not None and self._unacked and self.online else math.inf

    def number(self) -> tuple[int, int]:
        """Returns (boot, seq) for one more message."""
        self._seq += 1
        return self.boot, self._seq

    def _head(self) -> dict[str, Any]:
        boot, seq = self.number()
        return {"protocol": PROTOCOL, "device": self._device, "boot": boot, "seq": seq}

    def _keep(self, report: Report, now: float) -> None:
        if len(self._unacked) == MAX_UNACKED:
            self._unacked.pop(next(iter(self._unacked)))
            self._dropped["reports"] += 1
        payload = encode(report)
        self._unacked[report.seq] = payload
        self._resend_at = self._resend_at or now + self._resend_s
        if self.online:
            self._send(topics.report(self._device), payload)

    def _resend(self, now: float) -> None:
        for payload in self._unacked.values():
            self._send(topics.report(self._device), payload)
        self._resend_at = now + self._resend_s if self._unacked else None

    def _flush_telemetry(self) -> None:
        if not self.online:
            return
        for message in self._telemetry.drain():
            self._send(topics.telemetry(self._device), encode(self._authentic(message)), expiry_s=TELEMETRY_EXPIRY_S)

    def _authentic(self, message: Telemetry) -> Telemetry:
        """Returns the message with a code, or with a signature if no key for codes is agreed on."""
        code = self._code(self._agreement, encoding(message)) if self._code is not None and self._agreement else ""
        return msgspec.structs.replace(message, signature=code) if code else sign_message(message, self._sign)

    def _send(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> None:
        self.bytes_sent += len(payload)
        self._link.publish(topic, payload, qos=1, retain=retain, expiry_s=expiry_s)
