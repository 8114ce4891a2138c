"""The trace of a rollout that has ended, from data that the controller stores for other purposes.

Decides which times are read. Refuses to know how the trace is sent: `events.traces` does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from contract.messages import Report
from controller.rollout.model import Rollout
from controller.rollout.trace import Deed, Pushed, Span, Told, spans_of, traced_devices
from controller.state import State

MAX_DEEDS = 500
"""Entries of the audit about one rollout: a rollout has tens."""
MAX_REPORTS = 100
"""Reports of one device: an update has five or so."""
FAILED = frozenset({"failed", "rejected", "silent", "regressed"})


def trace_spans(state: State, rollout: Rollout, now: float) -> list[Span]:
    """Returns the spans of a rollout that has ended at `now`."""
    endings = state.world.durable.endings.get(rollout.id, {})
    failed = (device for device, ending in endings.items() if ending.outcome in FAILED)
    told = {
        member.device: _told(state.journal.history_of(member.device, MAX_REPORTS), rollout.model)
        for member in traced_devices(rollout, failed)
    }
    deeds = [
        Deed(_seconds(entry["at"]), entry["action"], entry["actor"], entry["detail"])
        for entry in state.journal.audit_story(rollout.id, MAX_DEEDS)
    ]
    return spans_of(rollout, _pushed(state, rollout), deeds, told, now)


def _pushed(state: State, rollout: Rollout) -> Pushed:
    version = state.registry.version(rollout.model, rollout.release)
    took: Mapping[str, float] = version.evidence.get("took_s", {})
    at = _seconds(version.lineage.created_at)
    return Pushed(at, version.lineage.created_by, took.get("conversion", 0.0), took.get("gates", 0.0))


def _told(history: Sequence[tuple[str, str]], model: str) -> list[Told]:
    found = [(at, msgspec.json.decode(body, type=Report)) for at, body in history]
    return [
        Told(_seconds(at), report.state)
        for at, report in found
        if report.state is not None and report.state.model == model
    ]


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
