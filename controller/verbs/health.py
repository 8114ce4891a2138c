"""The health of this controller: collects the facts, and reports findings that begin and end.

Decides where facts are read. `controller.health` judges them.
"""

import json
import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from controller.clock import today
from controller.fleet.expiry import SELF_RENEWED
from controller.fleet.faults import refused_config
from controller.health import Facts, Finding, lasting_findings
from controller.state import State
from controller.trust.certificates import certificate_end
from controller.verbs.intact import unpublished

DAY_S = 86_400.0

_log = logging.getLogger("edgeward.controller")


def facts_of(state: State) -> Facts:
    """Returns the present facts. Raises no WorldError or OSError: a disk that cannot be read counts as having no free
    space.
    """
    now, date, passes, broker = time.monotonic(), time.time(), state.passes, state.broker
    return Facts(
        pass_age_s=now - passes.good_at,
        failing_s=None if passes.failing_since is None else now - passes.failing_since,
        last_error=passes.last_error,
        running_s=now - passes.began_at,
        reconcile_s=state.config.fleet.reconcile_s,
        broker=f"{broker.kind} {broker.shown}" if broker else "none",
        broker_connected=state.connected,
        broker_fault=broker.fault if broker else "not started",
        free_bytes=_free_bytes(state),
        expiry_days=_expiry_days(state, today()),
        failing_steps=state.steps.told(now)
        | {f"rollout {name}": words for name, words in state.world.measured.undecided.items()},
        skipped=unpublished(state),
        foreign=state.foreign.told(),
        unreadable=state.records.unreadable,
        taken=[name for name, twin in state.world.durable.twins.items() if twin.boots.is_taken(date)],
        refused_configs={
            name: words
            for name, twin in state.world.durable.twins.items()
            if (words := refused_config(twin)) is not None
        },
        strangers=state.inbox.strangers(),
        loudest=state.world.measured.left_out.unusable_told() | state.inbox.loudest(),
        left_out=state.world.measured.left_out.rows_told(date),
        audit_fault=_audit_fault(state),
    )


def tell_changes(state: State, before: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Logs what has changed since `before`, and makes an event of it; returns the present findings."""
    found = lasting_findings(facts_of(state))
    codes, known = {each.code for each in found}, {each.code for each in before}
    for each in found:
        if each.code not in known:
            _log.error("health: %s: %s", each.code, each.detail)
    for code in sorted(known - codes):
        _log.info("health: %s is over", code)
    if codes != known:
        state.events.tell_health(found)
    return found


def _audit_fault(state: State) -> str:
    fault = state.audit_seal.fault
    return f"{fault}; once it is understood, remove {state.audit_seal.fault_path}" if fault else ""


def _free_bytes(state: State) -> int:
    try:
        return shutil.disk_usage(state.config.data_dir).free
    except OSError:
        return 0


def own_expiries(state: State) -> dict[str, datetime]:
    """Returns when the controller's certificates, those of its broker, and the roles expire that no pass renews."""
    authorities = state.enrolment.authorities.trusted
    ends = {f"authority {name}": each.certificate.not_valid_after_utc for name, each in authorities.items()}
    if state.broker is not None and state.broker.files is not None:
        ends |= state.broker.files.ends
    if cert_file := state.config.broker.cert_file:
        with suppress(OSError, ValueError):  # a connection attempt names what is wrong with the file
            ends["broker.cert_file"] = certificate_end(Path(cert_file))
    for name, text in _newest_roles(state.trust_metadata.files).items():
        ends[f"role {name}"] = datetime.fromisoformat(json.loads(text)["signed"]["expires"])
    return {what: end.astimezone(UTC) for what, end in ends.items()}


def _expiry_days(state: State, now: datetime) -> Mapping[str, float]:
    return {what: (end - now).total_seconds() / DAY_S for what, end in own_expiries(state).items()}


def _newest_roles(files: Mapping[str, str]) -> dict[str, str]:
    """Returns documents by role: of roots only the newest, because older ones are only steps on the way to it."""
    roots = sorted((name for name in files if name.endswith(".root.json")), key=lambda name: int(name.split(".")[0]))
    others = {name.removesuffix(".json"): name for name in files if not name.endswith(".root.json")}
    named = {"root": roots[-1]} if roots else {}
    return {role: files[name] for role, name in (named | others).items() if role not in SELF_RENEWED}
