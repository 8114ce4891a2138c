"""The calls of the client about alerts: list, silence, try rules and receivers.

Decides nothing. Refuses to know HTTP (`transport`).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from contract.errors import BadInput, Code
from edgeward.answers.alerts import Alert, AlertDetail, AlertPage, AlertReceiver, AlertRules, RuleTest, Silence
from edgeward.answers.table import Table
from edgeward.transport import Transport

ALERTS_PAGE = 1_000
"""Alerts per call: the most that the controller answers."""


class AlertCalls:
    """Calls about alerts."""

    _transport: Transport

    def alerts(
        self,
        state: str = "",
        *,
        match: Sequence[str] = (),
        text: str = "",
        severity: str = "",
        model: str = "",
        device: str = "",
        since: float = 0.0,
        until: float = 1e12,
    ) -> Table[Alert]:
        """Returns alerts, newest first: those that are not resolved, or those in one `state`, or `all`.

        `text` are words of names, labels and sentences; `severity`, `model` and `device` are whole. `match` are
        `name=value` or `name!=value` of labels, with * for any text; `since` and `until` (seconds since 1970) keep
        those that existed in between.
        """
        asked = [("state", state), ("since", since), ("until", until), ("limit", ALERTS_PAGE)]
        named = (("q", text), ("severity", severity), ("model", model), ("device", device))
        asked += [(name, value) for name, value in named if value] + [("match", each) for each in match]
        found: list[Alert] = []
        while True:
            query = urlencode([*asked, ("offset", len(found))])
            page = AlertPage.read(self._transport.get(f"/v1/alerts?{query}"))
            found += page.items
            if not page.items or len(found) >= page.total:
                return Table(found)

    def alert(self, fingerprint: str) -> AlertDetail:
        """Returns one alert with its history. BadInput `unknown_alert`."""
        return AlertDetail.read(self._transport.get(f"/v1/alerts/{quote(fingerprint, safe='')}"))

    def silences(self) -> Table[Silence]:
        """Returns every silence, newest first."""
        return Table(map(Silence.read, self._transport.get("/v1/silences")))

    def silence(self, match: Sequence[str], *, reason: str, hours: float, starts_at: datetime | None = None) -> Silence:
        """Silences alerts with these labels (`name=value`, `name!=value`, * for any text) for some hours."""
        begins = starts_at or datetime.now(UTC)
        body = {
            "matchers": [_matcher(each) for each in match],
            "reason": reason,
            "starts_at": begins.isoformat() if starts_at else "",
            "ends_at": (begins + timedelta(hours=hours)).isoformat(),
        }
        return Silence.read(self._transport.post("/v1/silences", body))

    def unsilence(self, identifier: str) -> Silence:
        """Ends a silence now. BadInput `unknown_silence`."""
        return Silence.read(self._transport.delete(f"/v1/silences/{quote(identifier, safe='')}"))

    def alert_rules(self) -> AlertRules:
        """Returns the rules of alerts, each with its result at the newest look."""
        return AlertRules.read(self._transport.get("/v1/alert-rules"))

    def test_alert_rules(self, text: str, source: str = "alerts.toml") -> RuleTest:
        """Tries a file of alerts on this fleet, and changes nothing. BadInput `alert_rule_invalid` names the line."""
        return RuleTest.read(self._transport.post("/v1/alert-rules/test", {"text": text, "source": source}))

    def alert_receivers(self) -> Table[AlertReceiver]:
        """Returns the state of every receiver of alerts and of events."""
        return Table(map(AlertReceiver.read, self._transport.get("/v1/alert-receivers")))

    def test_alert_receiver(self, name: str) -> AlertReceiver:
        """Sends one receiver a test message, once. BadInput `unknown_receiver`."""
        return AlertReceiver.read(self._transport.post(f"/v1/alert-receivers/{quote(name, safe='')}/test"))


def _matcher(text: str) -> dict[str, object]:
    name, sign, value = text.partition("=")
    if not sign or not name.rstrip("!"):
        raise BadInput(Code.REQUEST_INVALID, f"{text[:80]!r}: expected name=value or name!=value; * is any text")
    return {"name": name.rstrip("!").strip(), "value": value, "equal": not name.endswith("!")}
