"""The lines of `edgeward status`: what the controller says of itself, and whether alerts fire beside it."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from edgeward.answers.alerts import Alert
from edgeward.answers.operators import Health
from edgeward.cli.fleet import status_lines

HEALTH = Health(
    status="ok", findings=(), pass_age_s=1.0, broker="started localhost:8883", broker_connected=True,
    free_bytes=10**9, expiry_days=180.0, devices=2, messages_dropped=0, messages_not_authentic=0, retained_put_right=0,
)  # fmt: skip
FLEET = cast("Any", SimpleNamespace(findings=(), presence={"online": 2}))


def alert(name: str, severity: str, **labels: str) -> Alert:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    known: dict[str, Any] = dict.fromkeys(Alert.__struct_fields__)
    return Alert(**known | {"name": name, "severity": severity, "labels": labels, "since": at, "state": "firing"})


def test_a_controller_that_works_beside_firing_alerts_names_their_number_and_the_worst() -> None:
    firing = [alert("Noise", "info"), alert("ModelGone", "critical", device="cam-1"), alert("Slow", "warning")]
    lines = list(status_lines(HEALTH, FLEET, firing))
    assert lines[:3] == [
        "controller: ok",
        "alerts: 3 firing, the worst: critical ModelGone, cam-1",
        "  all: edgeward alert list",
    ]
    assert "of the certificates and roles that people renew, the first expires in 180 days" in lines


def test_without_a_firing_alert_nothing_is_said_of_alerts() -> None:
    assert not any("alert" in line for line in status_lines(HEALTH, FLEET))
