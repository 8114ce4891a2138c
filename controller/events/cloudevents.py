"""Events as CloudEvents 1.0: kept for readers that reconnect, and passed on to listeners.

Decides what is an event and how many are kept. Refuses to know how they are sent. Source:
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from contract.messages import ModelState
from contract.wire import Message
from controller.alerts.shown import AlertView
from controller.health import Finding
from controller.reconcile.series import VerdictPoint
from controller.retraining.model import Decision, Retraining
from controller.rollout.model import Rollout
from controller.rollout.verdict import Figures

MAX_KEPT = 1000
"""The newest events, which a reader that was disconnected can still get."""
MAX_WAITING = 1000
"""The most events that wait for one listener. Above this limit, the listener is dropped; it may reconnect and
request the missed ones.
"""
TYPE = "dev.edgeward.rollout"
HEALTH_TYPE = "dev.edgeward.health"
EXPIRY_TYPE = "dev.edgeward.expiry"
VERDICT_TYPE = "dev.edgeward.verdict"
SICK_TYPE = "dev.edgeward.device.sick"
GOLDEN_TYPE = "dev.edgeward.device.golden_failed"
AUDIT_TYPE = "dev.edgeward.audit"
MENTION_TYPE = "dev.edgeward.mention"
ALERT_TYPE = "dev.edgeward.alert"
RETRAINING_TYPE = "dev.edgeward.retraining"


class RolloutData(Message, frozen=True, tag_field="kind", tag="rollout"):
    """The state of a rollout."""

    model: str
    release: int
    status: str
    wave: int
    """Counted from 0; people count from 1."""
    reason: str
    trace_id: str = ""
    """The id of its OpenTelemetry trace; empty if none is sent."""


class HealthData(Message, frozen=True, tag_field="kind", tag="health"):
    """What is wrong with the controller; empty once all of it is over."""

    findings: tuple[Finding, ...]


class ExpiryData(Message, frozen=True, tag_field="kind", tag="expiry"):
    """Something that expires soon, or has expired; `what` is `renewal` for a device that returned too late to renew."""

    what: str
    expires: float
    """Seconds since 1970."""
    left_s: float
    """Negative once it has expired."""


class SickData(Message, frozen=True, tag_field="kind", tag="sick"):
    """A device on which the stable version fails as much as the one on trial: the fault is not in a version."""

    model: str
    detail: str


class GoldenData(Message, frozen=True, tag_field="kind", tag="golden"):
    """A device whose confirmed version answers its golden set beyond tolerance; it repairs that itself, once."""

    model: str
    release: int
    digest: str
    golden: str
    """The digest of the golden set."""
    rows: int
    missed: int


class VerdictData(Message, frozen=True, tag_field="kind", tag="verdict"):
    """A rule whose verdict has changed, with its numbers; see `GET /v1/rollouts/{rollout}/verdicts`."""

    metric: str
    stratum: str
    verdict: str
    detail: str
    figures: Figures | None


class AuditData(Message, frozen=True, tag_field="kind", tag="audit"):
    """An entry of the audit, once it is durable; the event's subject is the entry's."""

    number: int
    actor: str
    action: str
    detail: str


class MentionData(Message, frozen=True, tag_field="kind", tag="mention"):
    """A person was mentioned with an @, or asked to look at something; the subject is the rollout or the model."""

    about: str
    """rollout or model."""
    who: str
    by: str
    text: str


class AlertData(Message, frozen=True, tag_field="kind", tag="alert"):
    """An alert whose state has changed."""

    alert: AlertView


class RetrainingData(Message, frozen=True, tag_field="kind", tag="retraining"):
    """An attempt to retrain a model, or what prevents one; see `GET /v1/retraining`."""

    model: str
    champion: int
    status: str
    """The status of the attempt; `held_back` if cool-down or budget stop repeated proposals."""
    release: int
    detail: str


Told = AuditData | MentionData | HealthData | ExpiryData | SickData | GoldenData | AlertData
Data = Told | RolloutData | VerdictData | RetrainingData


class Event(Message, frozen=True):
    """One event; `id` grows within `source`."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: Data


class Listener:
    """A queue of events for one reader, never longer than MAX_WAITING."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event] = asyncio.Queue(MAX_WAITING)
        self.lost = False


class Events:
    """The events of one controller. `stamp` returns the date and time as text; `first` is the number of the first
    event.
    """

    def __init__(self, source: str, stamp: Callable[[], str], first: int) -> None:
        self._source = source
        self._stamp = stamp
        self._number = first
        self._kept: deque[Event] = deque(maxlen=MAX_KEPT)
        self._known: dict[str, tuple[object, ...]] = {}
        self._listeners: set[Listener] = set()
        self.trace_of: Callable[[Rollout], str] = lambda rollout: ""
        """Names the trace of a rollout; empty if none is sent."""

    def know(self, rollouts: Iterable[Rollout]) -> None:
        """Notes the state of rollouts, without an event: later changes are compared with it."""
        self._known.update({rollout.id: _standing(rollout) for rollout in rollouts})

    def saw(self, rollouts: Iterable[Rollout]) -> None:
        """Makes an event for each rollout whose state has changed."""
        for rollout in rollouts:
            before, now = self._known.get(rollout.id), _standing(rollout)
            if before != now:
                self._known[rollout.id] = now
                self._tell(_kind(before, rollout), rollout)

    def tell_health(self, findings: tuple[Finding, ...]) -> None:
        """Makes an event for findings that have begun or ended."""
        kind = "failing" if findings else "ok"
        self._send(f"{HEALTH_TYPE}.{kind}", "controller", HealthData(findings=findings))

    def tell_expiry(self, subject: str, what: str, expires: float, now: float) -> None:
        """Makes an event for something that expires soon or has expired: of a device, of the `fleet`, or of the
        `controller`.
        """
        kind = "refused" if what == "renewal" else "expiring" if expires > now else "expired"
        self._send(f"{EXPIRY_TYPE}.{kind}", subject, ExpiryData(what=what, expires=expires, left_s=expires - now))

    def tell_sick(self, device: str, model: str, detail: str) -> None:
        """Makes an event for a device that itself causes the failures on it."""
        self._send(SICK_TYPE, device, SickData(model=model, detail=detail))

    def tell_golden(self, device: str, state: ModelState) -> None:
        """Makes an event for a device whose confirmed version answers its golden set beyond tolerance."""
        probe, release = state.golden, state.stable.release if state.stable is not None else 0
        if probe is not None and not probe.passed:
            data = GoldenData(
                model=state.model,
                release=release,
                digest=probe.digest,
                golden=probe.golden,
                rows=probe.rows,
                missed=probe.missed,
            )
            self._send(GOLDEN_TYPE, device, data)

    def tell_verdict(self, point: VerdictPoint) -> None:
        """Makes an event for a rule whose verdict has changed."""
        said = point.verdict
        data = VerdictData(
            metric=said.metric, stratum=said.stratum, verdict=said.word, detail=said.detail, figures=said.figures
        )
        self._send(f"{VERDICT_TYPE}.{said.word}", point.rollout, data)

    def tell_audit(self, number: int, entry: Mapping[str, str]) -> None:
        """Makes an event for an entry of the audit, so that webhooks and readers receive every entry."""
        data = AuditData(number=number, actor=entry["actor"], action=entry["action"], detail=entry["detail"])
        self._send(f"{AUDIT_TYPE}.{entry['action'].replace(' ', '_')}", entry["subject"], data)

    def tell_mention(self, about: str, subject: str, who: str, *, by: str, text: str) -> None:
        """Makes an event for somebody who was mentioned or asked to look."""
        self._send(MENTION_TYPE, subject, MentionData(about=about, who=who, by=by, text=text))

    def tell_alert(self, alert: AlertView) -> None:
        """Makes an event for an alert whose state has changed."""
        self._send(f"{ALERT_TYPE}.{alert.state}", alert.fingerprint, AlertData(alert=alert))

    def tell_retraining(self, attempt: Retraining) -> None:
        """Makes an event for an attempt whose state has changed."""
        data = RetrainingData(
            model=attempt.model,
            champion=attempt.champion,
            status=attempt.status,
            release=attempt.release,
            detail=attempt.detail or attempt.decision.detail,
        )
        self._send(f"{RETRAINING_TYPE}.{attempt.status}", attempt.id, data)

    def tell_held_back(self, decision: Decision) -> None:
        """Makes one event for proposals that cool-down or budget stop, and none for further ones."""
        data = RetrainingData(
            model=decision.model, champion=decision.champion, status="held_back", release=0, detail=decision.detail
        )
        self._send(f"{RETRAINING_TYPE}.held_back", decision.model, data)

    def listen(self, after: str = "") -> Listener:
        """Returns a queue of events: of the kept ones those after the id `after`, then all new ones."""
        listener = Listener()
        if after.isdigit():
            for event in self._kept:
                if int(event.id) > int(after):
                    listener.queue.put_nowait(event)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Ends a listener."""
        self._listeners.discard(listener)

    def _tell(self, kind: str, rollout: Rollout) -> None:
        data = RolloutData(
            model=rollout.model,
            release=rollout.release,
            status=rollout.status,
            wave=rollout.wave,
            reason=rollout.reason,
            trace_id=self.trace_of(rollout),
        )
        self._send(f"{TYPE}.{kind}", rollout.id, data)

    def _send(self, kind: str, subject: str, data: Data) -> None:
        self._number += 1
        event = Event(
            specversion="1.0",
            id=str(self._number),
            source=self._source,
            type=kind,
            subject=subject,
            time=self._stamp(),
            datacontenttype="application/json",
            data=data,
        )
        self._kept.append(event)
        for listener in list(self._listeners):
            try:
                listener.queue.put_nowait(event)
            except asyncio.QueueFull:
                listener.lost = True
                self.leave(listener)


def _standing(rollout: Rollout) -> tuple[object, ...]:
    return rollout.status, rollout.wave, rollout.stopped_strata, rollout.stopped_waves


def _kind(before: tuple[object, ...] | None, rollout: Rollout) -> str:
    """Returns the last word of the type: the new status, or what has changed while the status stayed the same."""
    if before is None or before[0] != rollout.status:
        return rollout.status
    if before[1] != rollout.wave:
        return "wave"
    return "stopped"
