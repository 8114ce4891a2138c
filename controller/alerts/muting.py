"""Alerts of which no person is notified: those that people silenced, and those that another alert explains.

Decides what matches. Refuses to know where silences are kept. Terms are Alertmanager's. A `*` in a value stands for any
text; regular expressions are not supported, because a caller could send one that takes very long.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.alerts.alert import Alert
from controller.alerts.rule import Inhibition, LabelName, LabelText

MAX_SILENCES = 1_000
"""The most silences that are kept, ended ones included: the oldest ended ones are removed first."""
MAX_SILENCE_S = 90 * 86_400.0
"""A silence ends by itself. A rule that should be quiet for longer should be changed."""


class Matcher(Message, frozen=True):
    """A condition on one label of an alert; a label that an alert lacks is empty."""

    name: LabelName
    value: LabelText
    """`*` stands for any text."""
    equal: bool = True
    """False: the label must be another one."""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels fulfil the condition."""
        return text_matches(labels.get(self.name, ""), self.value) == self.equal

    def __str__(self) -> str:
        return f"{self.name}{'=' if self.equal else '!='}{self.value}"


class Silence(Message, frozen=True):
    """A person's statement that some alerts are known: nobody is notified of them until `ends_at`."""

    id: str
    matchers: Annotated[tuple[Matcher, ...], msgspec.Meta(min_length=1, max_length=16)]
    starts_at: float
    """Seconds since 1970, as `ends_at`."""
    ends_at: float
    created_by: str
    reason: str

    def state(self, now: float) -> Literal["pending", "active", "expired"]:
        """Whether the silence is pending, active or over at `now`."""
        if now >= self.ends_at:
            return "expired"
        return "active" if now >= self.starts_at else "pending"

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether every matcher matches."""
        return all(each.matches(labels) for each in self.matchers)


class Muted(msgspec.Struct, frozen=True):
    """Why nobody is notified of an alert that fires."""

    silenced_by: tuple[str, ...] = ()
    """Ids of silences."""
    inhibited_by: tuple[str, ...] = ()
    """Fingerprints of alerts."""

    def word(self, state: str) -> str:
        """The state that people are shown."""
        if state != "firing":
            return state
        return "silenced" if self.silenced_by else "inhibited" if self.inhibited_by else state


NOTHING = Muted()


def muted(
    alerts: Iterable[Alert], silences: Sequence[Silence], inhibitions: Sequence[Inhibition], now: float
) -> dict[str, Muted]:
    """Returns by fingerprint why nobody is notified of an alert; other alerts are omitted."""
    alerts = list(alerts)
    holding = [each for each in silences if each.state(now) == "active"]
    sources = [
        (rule, [each for each in alerts if each.state == "firing" and has_labels(each.labels, rule.source)])
        for rule in inhibitions
    ]
    sources = [(rule, firing) for rule, firing in sources if firing]
    found = {}
    for alert in alerts:
        silenced = tuple(each.id for each in holding if each.matches(alert.labels))
        inhibited = _inhibitors(alert, sources)
        if silenced or inhibited:
            found[alert.fingerprint] = Muted(silenced, inhibited)
    return found


def _inhibitors(alert: Alert, sources: Sequence[tuple[Inhibition, list[Alert]]]) -> tuple[str, ...]:
    """Returns the alerts that explain this one: one of each inhibition is enough."""
    found = []
    for rule, firing in sources:
        if has_labels(alert.labels, rule.target):
            wanted = [alert.labels.get(name, "") for name in rule.equal]
            for each in firing:
                if each is not alert and [each.labels.get(name, "") for name in rule.equal] == wanted:
                    found.append(each.fingerprint)
                    break
    return tuple(found)


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether `labels` has all of `wanted`, whose values may hold `*`."""
    return all(text_matches(labels.get(name, ""), text) for name, text in wanted.items())


def text_matches(text: str, wanted: str) -> bool:
    """Whether `text` equals `wanted`, in which `*` stands for any text and nothing else is special."""
    return fnmatchcase(text, wanted.replace("[", "[[]").replace("?", "[?]")) if "*" in wanted else text == wanted


def read_matcher(text: str) -> Matcher:
    """Reads a matcher from `name=value` or `name!=value`. BadInput `request_invalid`."""
    name, sign, value = text.partition("=")
    if not sign or not name.rstrip("!"):
        raise BadInput(Code.REQUEST_INVALID, f"{text[:80]!r}: expected name=value or name!=value; * is any text")
    equal = not name.endswith("!")
    try:
        return msgspec.convert({"name": name.rstrip("!").strip(), "value": value, "equal": equal}, Matcher)
    except msgspec.ValidationError as error:
        raise BadInput(Code.REQUEST_INVALID, f"{text[:80]!r}: {error}") from None
