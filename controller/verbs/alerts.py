"""Judges rules of alerts, sends messages to receivers, makes silences. Each silence is in the audit.

Decides when rules are judged. Refuses to know what a rule means (`controller.alerts`), and how messages are sent.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping

from contract.errors import BadInput, Code
from controller.alerts.alert import Alert, Look, RuleStatus, look
from controller.alerts.check import idle_words, read_alert_file
from controller.alerts.facts import Facts, Reading
from controller.alerts.measures import MEASURES
from controller.alerts.muting import MAX_SILENCE_S, MAX_SILENCES, NOTHING, Matcher, Silence, muted
from controller.alerts.routing import Due, due_messages
from controller.alerts.rule import SEVERITIES, AlertFile
from controller.alerts.shown import alert_view
from controller.alerts.state import QUALITY, AlertState
from controller.clock import stamp, stamp_of
from controller.events.attempts import Fare
from controller.events.notifier import Notifier
from controller.health import lasting_findings
from controller.state import State
from controller.verbs.health import facts_of, own_expiries
from controller.verbs.intact import looks

MAX_COST = 0.05
"""The fraction of one core that evaluations may use: an evaluation that takes 1 s is followed by a pause of
20 s."""
MAX_TOLD = 100
"""The most changed alerts of one evaluation that are logged and become events. At most 1,000 events wait for a reader,
and an outage of a whole site must not displace its other events. The list of alerts has all."""
MANY_DEVICES = 2_000
"""With more devices rules are judged in a thread: 100,000 devices take seconds, in which the API must answer."""
MAX_TEXT_BYTES = 256 * 1024
"""The largest file of alert rules that can be tried."""
TRIED = "EdgewardTest"
"""The name of the alert in the test message of a receiver."""

_log = logging.getLogger("edgeward.alerts")


async def look_again(state: State, notifier: Notifier) -> None:
    """Judges the rules and queues due messages, unless it is too early. WorldError `disk_full`: nothing has changed."""
    alerts, began = state.alerts, time.monotonic()
    if began < alerts.next_look:
        return
    alerts.next_look = began + state.config.alerts.every_s
    facts, before = alert_facts(state), dict(alerts.records.active)
    if len(facts.twins) > MANY_DEVICES:
        result = await asyncio.to_thread(_judged, alerts, facts, before)
    else:
        result = _judged(alerts, facts, before)
    alerts.records.save(result)
    alerts.muted = muted(result.active.values(), alerts.records.all_silences(), alerts.file.inhibit, facts.now)
    _tell(state, result)
    _propose_soon(state, result)
    _colour(state)
    records = alerts.records
    notifier.offer(
        due_messages(alerts.file.receiver, alerts.told(), records.resolved(), records.delivered, facts.now), facts.now
    )
    alerts.looked_at, alerts.look_s = facts.now, time.monotonic() - began
    alerts.next_look = max(alerts.next_look, began + alerts.look_s / MAX_COST)


def _judged(alerts: AlertState, facts: Facts, before: dict[str, Alert]) -> Look:
    """Returns the result of one evaluation. Its facts are values of one moment, so that it may run in a thread."""
    idle = idle_words(alerts.text, alerts.file, alerts.source, facts)
    return look(alerts.file.rule, facts, before, idle)


def _tell(state: State, result: Look) -> None:
    """Logs changes, failed rules and rules that cannot trip, and makes events of them."""
    alerts = state.alerts
    for alert in result.changed[:MAX_TOLD]:
        view = alert_view(alert, alerts.muted.get(alert.fingerprint, NOTHING))
        state.events.tell_alert(view)
        _log.info("alert %s: %s %s: %s", view.fingerprint, view.state, view.name, view.annotations["description"])
    if len(result.changed) > MAX_TOLD:
        _log.info("%d more alerts have changed: edgeward alert list", len(result.changed) - MAX_TOLD)
    for name, status in result.status.items():
        before = alerts.status.get(name, RuleStatus())
        alerts.rule_faults += bool(status.fault)
        if status.fault and status.fault != before.fault:
            _log.error("rule %s failed, its alerts stay as they were: %s", name, status.fault)
        if status.idle and not before.idle:
            _log.warning("rule %s is not judged: %s", name, status.idle)
    alerts.status = result.status


def _colour(state: State) -> None:
    """Gives each device the words of the worst alert about it that is not muted: its health is `attention` then.

    A silence means that people know the alert, so a silenced alert affects no device's health.
    """
    words: dict[str, str] = {}
    for alert in sorted(state.alerts.told(), key=lambda each: SEVERITIES.index(each.labels["severity"])):
        if device := alert.labels.get("device"):
            words.setdefault(device, f"alert {alert.name}: {alert.reading.detail}")
    state.world.alerts = words


def _propose_soon(state: State, result: Look) -> None:
    """Makes the next pass check the retraining policy of a model when an alert about its quality has begun to fire."""
    for alert in result.changed:
        if alert.state == "firing" and state.alerts.measure_of(alert) in QUALITY:
            state.retraining_look_at.pop(alert.labels.get("model", ""), None)
            state.poke()


def alert_facts(state: State) -> Facts:
    """Returns the present facts."""
    world = state.world
    return Facts(
        now=time.time(),
        started_at=state.started_at,
        silent_s=world.silent_s,
        twins=dict(world.durable.twins),
        rollouts=dict(world.durable.rollouts),
        withdrawn=dict(world.withdrawn),
        findings=lasting_findings(facts_of(state)),
        looks=looks(state),
        own_expiries={what: end.timestamp() for what, end in own_expiries(state).items()},
        signals=[each for found in state.data_looks.values() if found is not None for each in found.signals],
        watched=frozenset(state.data_looks),
        departures=list(state.watch.found.values()),
        models=frozenset(state.registry.models()),
    )


def test_rules(state: State, text: str, source: str) -> tuple[AlertFile, list[Alert]]:
    """Tries a file on this fleet: returns its rules, and what would be an alert now.

    BadInput `alert_rule_invalid` for a malformed file, and for a rule that cannot trip on this fleet.
    """
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise BadInput(Code.ALERT_RULE_INVALID, f"{source}: more than {MAX_TEXT_BYTES} bytes")
    found, facts = read_alert_file(text, source), alert_facts(state)
    for words in idle_words(text, found, source, facts).values():
        raise BadInput(Code.ALERT_RULE_INVALID, words)
    result = look(found.rule, facts, {}, {})
    for name, status in result.status.items():
        if status.fault:
            raise BadInput(Code.ALERT_RULE_INVALID, f"{source}: {name} failed: {status.fault}")
    return found, list(result.active.values())


def silence(
    state: State, matchers: tuple[Matcher, ...], starts_at: float, ends_at: float, reason: str, *, actor: str
) -> Silence:
    """Silences matching alerts until `ends_at`. BadInput `request_invalid`."""
    now, records = time.time(), state.alerts.records
    if not reason.strip() or len(reason) > 1_000:
        raise BadInput(Code.REQUEST_INVALID, "say why, in 1 to 1,000 characters: the next shift reads it")
    if ends_at <= max(now, starts_at) or ends_at - max(now, starts_at) > MAX_SILENCE_S:
        days = MAX_SILENCE_S / 86_400
        raise BadInput(Code.REQUEST_INVALID, f"a silence ends after its start, in the future, within {days:.0f} days")
    if all(each.equal and each.value.strip("*") == "" for each in matchers):
        raise BadInput(Code.REQUEST_INVALID, "this would silence every alert there may be: name a label's value")
    held = sum(each.state(now) != "expired" for each in records.silences.values())
    if held >= MAX_SILENCES:
        raise BadInput(Code.REQUEST_INVALID, f"there are {MAX_SILENCES} silences: end some of them")
    made = Silence(
        id=secrets.token_hex(6), matchers=matchers, starts_at=starts_at, ends_at=ends_at, created_by=actor,
        reason=reason.strip(),
    )  # fmt: skip
    words = f"{' '.join(map(str, matchers))} until {stamp_of(ends_at)}: {made.reason}"
    state.journal.audit(stamp(), actor, "alert silence", made.id, words[:500])
    records.put_silence(made, now)
    _mute_anew(state)
    return made


def unsilence(state: State, name: str, *, actor: str) -> Silence:
    """Ends a silence now. BadInput `unknown_silence`; `request_invalid` for one that has ended."""
    now, records = time.time(), state.alerts.records
    known = records.silences.get(name)
    if known is None:
        raise BadInput(Code.UNKNOWN_SILENCE, f"no silence {name[:64]!r}: see `edgeward alert silences`")
    if known.state(now) == "expired":
        raise BadInput(Code.REQUEST_INVALID, f"silence {name} ended at {stamp_of(known.ends_at)}")
    ended = Silence(
        id=known.id, matchers=known.matchers, starts_at=min(known.starts_at, now), ends_at=now,
        created_by=known.created_by, reason=known.reason,
    )  # fmt: skip
    state.journal.audit(stamp(), actor, "alert unsilence", name, " ".join(map(str, known.matchers))[:500])
    records.put_silence(ended, now)
    _mute_anew(state)
    return ended


def _mute_anew(state: State) -> None:
    alerts = state.alerts
    alerts.muted = muted(
        alerts.records.active.values(), alerts.records.all_silences(), alerts.file.inhibit, time.time()
    )
    _colour(state)


async def try_receiver(state: State, name: str, *, actor: str) -> Fare:
    """Sends one receiver a test message, once. BadInput `unknown_receiver`."""
    if state.notifier is None or name not in state.notifier.fares:
        raise BadInput(Code.UNKNOWN_RECEIVER, f"no receiver {name[:64]!r}: see `edgeward alert receivers`")
    state.journal.audit(stamp(), actor, "alert receiver try", name, "")
    return await state.notifier.try_out(_test_message(name, time.time()))


def _test_message(receiver: str, now: float) -> Due:
    labels = {"alertname": TRIED, "severity": "info"}
    reading = Reading(
        {}, 1.0, "tests", 0.0, 1, "messages", "A person tests this receiver; nothing is wrong", "you have read it",
        "edgeward alert receivers",
    )  # fmt: skip
    alert = Alert(
        fingerprint="0" * 16, labels=labels, state="firing", summary="A test of this receiver", reading=reading,
        test=MEASURES["controller_finding"].test, since=now, seen_at=now, starts_at=now,
    )  # fmt: skip
    return Due(receiver, f"test/{receiver}", {"alertname": TRIED}, (alert,), (), now)


def fares_of(state: State) -> Mapping[str, Fare]:
    """Returns the state of every receiver of alerts and of events, by name."""
    notifier = {} if state.notifier is None else state.notifier.fares
    return {**notifier, **{fare.name: fare for fare in state.event_fares}}
