"""Collects from the controller the facts about one model that duties need. Decides nothing about duties."""

from contextlib import suppress
from datetime import datetime

from contract.errors import BadInput
from edgeward.answers.models import VersionDetail
from edgeward.client import Client
from edgeward.report.compliance import Facts

DAYS = 30
MAX_ROLLOUTS = 1_000


def gather_facts(client: Client, model: str, now: datetime) -> Facts:
    """The facts about a model. BadInput `unknown_model`."""
    version = _newest_passed(client, model)
    rollouts = client.rollouts(model=model, limit=MAX_ROLLOUTS)
    audit = client.audit()
    since = now.timestamp() - DAYS * 86_400
    rows = client.telemetry(model, every="day", since=since, until=now.timestamp())
    gates = version.gates if version is not None else ()
    return Facts(
        model=model,
        now=now,
        audit_entries=len(audit.entries),
        audit_since=audit.entries[0].at if audit.entries else None,
        audit_faults=audit.faults,
        version=f"v{version.release}" if version is not None else "",
        signed=version is not None and version.release in client.proposal(model).signed,
        gates=tuple(each.gate for each in gates),
        has_note=version is not None and version.notes.note is not None,
        has_data_digest=version is not None and version.lineage.data is not None,
        metrics=tuple(version.metrics) if version is not None else (),
        rollouts=len(rollouts),
        approved=_approved(client, {each.id for each in rollouts}),
        rolled_back=sum(each.status == "rolled_back" for each in rollouts),
        rules_of_alerts=len(client.alert_rules().rules),
        alerts=sum(each.labels.get("model", model) == model for each in client.alerts("all", since=since)),
        inferences=sum(row.inferences for row in rows),
        captured=_has_captured(client, model),
        drift_measured=_drift_measured(client, model),
        fairness_gate=any("fairness" in each.gate for each in gates),
        retraining_policy=_has_policy(client, model),
    )


def _newest_passed(client: Client, model: str) -> VersionDetail | None:
    passed = [each for each in client.versions(model) if each.passed]
    return client.version(model, passed[-1].release) if passed else None


def _approved(client: Client, rollouts: set[str]) -> int:
    approvals = client.audit_entries(action="rollout approve", limit=MAX_ROLLOUTS)
    return len({each.subject for each in approvals} & rollouts)


def _has_captured(client: Client, model: str) -> bool:
    return client.labels_wanted(model).captured > 0


def _drift_measured(client: Client, model: str) -> bool:
    with suppress(BadInput):  # nothing was reported yet
        return client.drift(model, days=DAYS).devices > 0
    return False


def _has_policy(client: Client, model: str) -> bool:
    with suppress(BadInput):
        return bool(client.retraining_policy(model).plain)
    return False
