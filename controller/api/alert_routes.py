"""The routes of alerts: alerts, silences, rules and receivers; and an Alertmanager's own route."""

import time
from collections import Counter
from datetime import datetime
from typing import Annotated

import msgspec
from aiohttp import web

from contract.errors import BadInput, Code
from contract.wire import Message, decode
from controller.alerts.alert import Alert
from controller.alerts.muting import NOTHING, Matcher, Muted, has_labels, read_matcher
from controller.alerts.records import newest_first
from controller.alerts.shown import alert_view
from controller.api import alert_views as views
from controller.api.auth import actor_of
from controller.api.route import Route
from controller.api.state_key import STATE
from controller.clock import stamp_of
from controller.events.alertmanager import ENDS_AFTER_REPEATS, GettableAlert, gettable
from controller.state import State
from controller.verbs import alerts

MAX_PAGE = 1_000
DEFAULT_PAGE = 100
_BY_LABEL = ("severity", "model", "device")
STATES = ("pending", "firing", "silenced", "inhibited", "resolved")


class SilenceRequest(Message, frozen=True):
    """A request to silence alerts."""

    matchers: Annotated[tuple[Matcher, ...], msgspec.Meta(min_length=1, max_length=16)]
    reason: str
    ends_at: str
    """The end in ISO 8601, with a time zone."""
    starts_at: str = ""
    """Empty: now."""


class RuleTestRequest(Message, frozen=True):
    """A file of alerts to try out."""

    text: str
    source: Annotated[str, msgspec.Meta(max_length=400)] = "alerts.toml"
    """The name of the file in errors."""


async def list_alerts(request: web.Request) -> views.AlertPage:
    """Returns alerts, newest first. `state`: one of five, `all`, or empty for those that are not resolved.

    `severity`, `model` and `device` are whole words, several behind commas; `q` are words of its name, labels and
    sentences. `match` is `name=value` or `name!=value` of a label, with * for any text, and may be repeated. `since`
    and `until` (seconds since 1970) keep the alerts that existed in between. BadInput `request_invalid`.
    """
    state, query = request.app[STATE], request.query
    word = query.get("state", "")
    if word not in ("", "all", *STATES):
        raise BadInput(Code.REQUEST_INVALID, f"state {word[:20]!r}: expected all, or one of {', '.join(STATES)}")
    wanted = [read_matcher(text) for text in query.getall("match", [])[:16]]
    named = {key: frozenset(query[key][:1000].split(",")) for key in _BY_LABEL if query.get(key)}
    words = query.get("q", "")[:200].lower().split()
    since, until = _number(query.get("since", "0")), _number(query.get("until", "1e12"))
    among = [
        alert
        for alert in newest_first([*state.alerts.records.active.values(), *state.alerts.records.ended.values()])
        if all(each.matches(alert.labels) for each in wanted) and _was_there(alert, since, until)
        if _has(alert, named) and all(each in _text(alert) for each in words)
    ]
    by_word = [(_why(state, alert).word(alert.state), alert) for alert in among]
    found = [alert for each, alert in by_word if word in ("all", each) or (not word and each != "resolved")]
    limit, offset = int(_number(query.get("limit", str(DEFAULT_PAGE)))), int(_number(query.get("offset", "0")))
    if not 1 <= limit <= MAX_PAGE or offset < 0:
        raise BadInput(Code.REQUEST_INVALID, f"expected limit = 1 to {MAX_PAGE}, and offset = 0 or more")
    shown = tuple(alert_view(each, _why(state, each)) for each in found[offset : offset + limit])
    return views.AlertPage(
        total=len(found), items=shown, counts=dict.fromkeys(STATES, 0) | Counter(each for each, _ in by_word)
    )


def _has(alert: Alert, named: dict[str, frozenset[str]]) -> bool:
    return all(alert.labels.get(label, "") in values for label, values in named.items())


def _text(alert: Alert) -> str:
    """The text that is searched for words, in small letters."""
    return " ".join((alert.name, alert.summary, alert.reading.detail, *alert.labels.values())).lower()


async def show_alert(request: web.Request) -> views.AlertDetail:
    """Returns one alert by its fingerprint, with its history. BadInput `unknown_alert`."""
    state, name = request.app[STATE], request.match_info["fingerprint"]
    records = state.alerts.records
    past = newest_first(alert for alert in records.ended.values() if alert.fingerprint == name)
    found = records.active.get(name) or next(iter(past), None)
    if found is None:
        raise BadInput(Code.UNKNOWN_ALERT, f"no alert {name[:32]!r}: see `edgeward alert list --state all`")
    plain = msgspec.structs.asdict(alert_view(found, _why(state, found)))
    return views.AlertDetail(**plain, past=tuple(alert_view(each) for each in past))


async def as_alertmanager(request: web.Request) -> list[GettableAlert]:
    """Returns alerts that fire as an Alertmanager does, for programs that read one (amtool, Karma, Grafana).

    `filter` is a matcher, `active`, `silenced` and `inhibited` are true or false. BadInput `request_invalid`.
    """
    state, query = request.app[STATE], request.query
    wanted = [read_matcher(text.replace('"', "")) for text in query.getall("filter", [])[:16]]
    shown = {word: query.get(word, "true") != "false" for word in ("active", "silenced", "inhibited")}
    ends_at = time.time() + ENDS_AFTER_REPEATS * state.config.alerts.every_s
    found = []
    for alert in newest_first(state.alerts.records.active.values()):
        why = _why(state, alert)
        word = why.word(alert.state)
        if word == "pending" or not shown["active" if word == "firing" else word]:
            continue
        if all(each.matches(alert.labels) for each in wanted):
            told = (each.name for each in state.alerts.file.receiver if has_labels(alert.labels, each.match))
            found.append(gettable(alert, why, told, ends_at))
    return found


async def list_silences(request: web.Request) -> list[views.SilenceView]:
    """Returns every silence, newest first."""
    state, now = request.app[STATE], time.time()
    return [views.silence_view(each, state.alerts, now) for each in state.alerts.records.all_silences()]


async def create_silence(request: web.Request) -> views.SilenceView:
    """Silences alerts until a given time."""
    state, asked, now = request.app[STATE], decode(await request.read(), SilenceRequest), time.time()
    starts_at = _moment(asked.starts_at, "starts_at") if asked.starts_at else now
    ends_at = _moment(asked.ends_at, "ends_at")
    made = alerts.silence(state, asked.matchers, starts_at, ends_at, asked.reason, actor=actor_of(request))
    return views.silence_view(made, state.alerts, time.time())


async def end_silence(request: web.Request) -> views.SilenceView:
    """Ends a silence now."""
    state = request.app[STATE]
    ended = alerts.unsilence(state, request.match_info["silence"], actor=actor_of(request))
    return views.silence_view(ended, state.alerts, time.time())


async def list_rules(request: web.Request) -> views.Rules:
    """Returns the rules, each with its result at the newest look."""
    kept = request.app[STATE].alerts
    counts: dict[str, Counter[str]] = {}
    for alert in kept.records.active.values():
        word = kept.muted.get(alert.fingerprint, NOTHING).word(alert.state)
        counts.setdefault(alert.name, Counter())[word] += 1
    rules = []
    for rule in kept.file.rule:
        status = kept.status.get(rule.name)
        rules.append(
            views.RuleView(
                rule=rule,
                alerts=dict(counts.get(rule.name, {})),
                left_out=status.left_out if status else 0,
                fault=status.fault if status else "",
                idle=status.idle if status else "",
            )
        )
    looked_at = None if kept.looked_at is None else stamp_of(kept.looked_at)
    return views.Rules(source=kept.source, looked_at=looked_at, look_s=round(kept.look_s, 4), rules=tuple(rules))


async def test_rules(request: web.Request) -> views.RuleTest:
    """Tries a file of alerts on this fleet, and changes nothing. BadInput `alert_rule_invalid` with file and line."""
    asked = decode(await request.read(), RuleTestRequest, max_bytes=2 * alerts.MAX_TEXT_BYTES)
    found, would = alerts.test_rules(request.app[STATE], asked.text, asked.source)
    shown = tuple(alert_view(each) for each in would[:MAX_PAGE])
    return views.RuleTest(rules=len(found.rule), receivers=len(found.receiver), alerts=shown)


async def list_receivers(request: web.Request) -> list[views.ReceiverView]:
    """Returns the state of every receiver of alerts and of events."""
    return [views.receiver_view(each) for each in alerts.fares_of(request.app[STATE]).values()]


async def try_receiver(request: web.Request) -> views.ReceiverView:
    """Sends one receiver a test message, once, and returns the result."""
    name = request.match_info["receiver"]
    return views.receiver_view(await alerts.try_receiver(request.app[STATE], name, actor=actor_of(request)))


def _why(state: State, alert: Alert) -> Muted:
    return state.alerts.muted.get(alert.fingerprint, NOTHING) if alert.state == "firing" else NOTHING


def _was_there(alert: Alert, since: float, until: float) -> bool:
    return alert.since < until and (alert.ends_at is None or alert.ends_at >= since)


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not abs(found) < 1e15:
        raise BadInput(Code.REQUEST_INVALID, f"{text[:40]!r}: expected a number")
    return found


def _moment(text: str, key: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadInput(Code.REQUEST_INVALID, f"{key} {text[:40]!r}: expected a date and time with a zone, in ISO 8601")
    return found.timestamp()


ALERT_ROUTES = (
    Route("view", "GET", "/v1/alerts", list_alerts, "Alerts, newest first", views.AlertPage),
    Route("view", "GET", "/v1/alerts/{fingerprint}", show_alert, "One alert and its past", views.AlertDetail),
    Route("view", "GET", "/api/v2/alerts", as_alertmanager, "Alerts, as an Alertmanager", list[GettableAlert]),
    Route("view", "GET", "/v1/silences", list_silences, "Silences", list[views.SilenceView]),
    Route("device", "POST", "/v1/silences", create_silence, "Make alerts quiet", views.SilenceView, SilenceRequest),
    Route("device", "DELETE", "/v1/silences/{silence}", end_silence, "End a silence", views.SilenceView),
    Route("view", "GET", "/v1/alert-rules", list_rules, "Rules of alerts", views.Rules),
    Route(
        "view", "POST", "/v1/alert-rules/test", test_rules, "Try a file of alerts", views.RuleTest, RuleTestRequest,
        max_body_bytes=2 * alerts.MAX_TEXT_BYTES,
    ),
    Route("view", "GET", "/v1/alert-receivers", list_receivers, "How receivers fare", list[views.ReceiverView]),
    Route(
        "device", "POST", "/v1/alert-receivers/{receiver}/test", try_receiver, "Send a test message",
        views.ReceiverView,
    ),
)  # fmt: skip
