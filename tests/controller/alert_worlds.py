"""Facts, rules and files for tests of alerts."""

from pathlib import Path
from typing import Any

from msgspec.structs import replace

from contract.messages import ModelState, UpdateOutcome, VersionRef
from controller.alerts.alert import Alert, look
from controller.alerts.facts import Facts
from controller.alerts.rule import Rule
from controller.drift.signals import Kind, Signal
from controller.fleet.twin import Twin, fold_heartbeat
from controller.rollout.model import Rollout
from tests.controller.reconcile_worlds import beat, campaign

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "configs" / "alerts.toml"
START = 1_000_000.0


def said(kind: Kind = "contract_breach_ratio", **fields: Any) -> Signal:
    """Returns the results of a look at a model's data."""
    told: dict[str, Any] = {"model": "m", "value": 0.2, "low": 0.15, "high": 0.25, "limit": 0.1, "n": 500,
                            "devices": 12, "valid": True, "why": "humidity is missing"}  # fmt: skip
    return Signal(kind=kind, **told | fields)


def twin(device: str, seen_at: float = START, **fields: Any) -> Twin:
    heard = fold_heartbeat(Twin(device), beat(device, **fields)[1], seen_at)
    return replace(heard, connected=True)


def failed_on(device: str, release: int, result: str, code: str = "") -> Twin:
    version = VersionRef(release=release, digest="d")
    outcome = UpdateOutcome(generation=1, version=version, result=result, code=code)  # type: ignore[arg-type]
    return twin(device, models=(ModelState(model="m", phase="steady", generation=1, outcome=outcome),))


def facts(*twins: Twin, now: float = START, rollouts: tuple[Rollout, ...] = (), **fields: Any) -> Facts:
    known: dict[str, Any] = {"started_at": START - 10_000, "silent_s": 90.0, "models": frozenset({"m"})}
    return Facts(
        now=now,
        twins={each.device: each for each in twins},
        rollouts={each.id: each for each in rollouts},
        **{**known, **fields},
    )


def found(rule: Rule, judged: Facts, before: dict[str, Alert] | None = None) -> dict[str, Alert]:
    """Returns the alerts of one rule by fingerprint; a fault of the rule fails the test."""
    result = look([rule], judged, before or {}, {})
    assert result.status[rule.name].fault == ""
    return result.active


def the_only(alerts: dict[str, Alert]) -> Alert:
    (alert,) = alerts.values()
    return alert


def of_model(status: str, **fields: Any) -> Rollout:
    return campaign("a", status=status, **fields)
