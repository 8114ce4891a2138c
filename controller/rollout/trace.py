"""A rollout as the spans of one trace: push, conversion, gates, waves, and the steps of each device, with stored times.

Decides the spans and their parents. Every time is one that the audit or a device's report already has, so a restart
loses none of them. Refuses to know how a trace is sent and stored.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from contract.messages import ModelState
from controller.rollout.model import Member, Rollout

MAX_DEVICES = 500
"""The most devices of one trace, failed ones first: about 2,500 spans, which a collector can show."""
STEPS = {"fetching": "transfer", "probing": "probe", "ready": "wait", "trial": "trial"}
"""The name of the span of each phase in which a device is updating."""

Attribute = str | int | float | bool


class Span(msgspec.Struct, frozen=True):
    """One interval of time; in seconds since 1970."""

    name: str
    begins: float
    ends: float
    parent: int = -1
    """The index of its parent; -1: the root has none."""
    attributes: dict[str, Attribute] = {}
    fault: str = ""
    """Why it has failed; empty if it has not."""


class Deed(msgspec.Struct, frozen=True):
    """One entry of the audit about a rollout."""

    at: float
    action: str
    by: str
    detail: str = ""


class Told(msgspec.Struct, frozen=True):
    """One report of a device about the model, as it was received."""

    at: float
    state: ModelState


class Pushed(msgspec.Struct, frozen=True):
    """When the version was pushed, and how many seconds its conversion and its gates took; 0 for unknown."""

    at: float
    by: str
    conversion_s: float = 0.0
    gates_s: float = 0.0


def trace_id_of(rollout: Rollout) -> str:
    """Names the trace of a rollout, from its beginning on: 32 hexadecimal digits, never all zero."""
    named = f"{rollout.model} {rollout.release} {rollout.id} {rollout.created_at}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def traced_devices(rollout: Rollout, failed: Iterable[str]) -> list[Member]:
    """Returns the members that get spans: those that failed first, then in the order of the plan."""
    first = frozenset(failed)
    return sorted(rollout.members, key=lambda member: member.device not in first)[:MAX_DEVICES]


def spans_of(
    rollout: Rollout, pushed: Pushed, deeds: Sequence[Deed], told: Mapping[str, Sequence[Told]], ended_at: float
) -> list[Span]:
    """Returns the spans of a rollout that has ended; a parent is before its children. `told` is by device."""
    what: dict[str, Attribute] = {"edgeward.model": rollout.model, "edgeward.release": rollout.release}
    root = what | {"edgeward.rollout": rollout.id, "edgeward.status": rollout.status, "edgeward.by": pushed.by}
    fault = rollout.reason if rollout.status != "completed" else ""
    name = f"rollout {rollout.model} v{rollout.release}"
    spans = [Span(name, pushed.at, max(ended_at, pushed.at), attributes=root, fault=fault)]
    _add_push(spans, pushed)
    began = next((deed for deed in deeds if deed.action == "rollout start"), None)
    began_at = began.at if began is not None else rollout.began_at
    registered_at = spans[1].ends
    if began_at > registered_at:
        spans.append(Span("release", registered_at, began_at, 0, {"edgeward.by": rollout.created_by}))
    waves = _add_waves(spans, rollout, deeds, began_at, ended_at)
    devices = [member for member in rollout.members if member.device in told and member.wave in waves]
    for member in devices:
        _add_device(spans, rollout, member, told[member.device], waves[member.wave])
    return spans


def _add_push(spans: list[Span], pushed: Pushed) -> None:
    converted = pushed.at + pushed.conversion_s
    judged = converted + pushed.gates_s
    spans.append(Span("push", pushed.at, judged, 0, {"edgeward.by": pushed.by}))
    if pushed.conversion_s:
        spans.append(Span("conversion", pushed.at, converted, 1))
        spans.append(Span("gates", converted, judged, 1))


def _add_waves(
    spans: list[Span], rollout: Rollout, deeds: Sequence[Deed], began_at: float, ended_at: float
) -> dict[int, int]:
    """Appends a span for each wave that has begun; returns its index by the number of the wave."""
    approved = next((deed.at for deed in deeds if deed.action == "rollout approve"), began_at)
    moments = [approved, *(deed.at for deed in deeds if deed.action in {"rollout wave", "rollout promote"})]
    numbers = sorted({member.wave for member in rollout.members if member.wave <= rollout.wave})
    ends = [*moments[1 : len(numbers)], ended_at]
    found = {}
    for number, begins, stops in zip(numbers, moments, ends, strict=False):
        devices = sum(member.wave == number for member in rollout.members)
        attributes: dict[str, Attribute] = {"edgeward.wave": number + 1, "edgeward.devices": devices}
        found[number] = len(spans)
        spans.append(Span(f"wave {number + 1}", begins, max(begins, stops), 0, attributes))
    return found


def _add_device(spans: list[Span], rollout: Rollout, member: Member, told: Sequence[Told], wave: int) -> None:
    """Appends a device's span and one for each step that it took; nothing for a device without reports about it."""
    about = [each for each in told if _is_about(each.state, rollout) and each.at >= spans[wave].begins - 1]
    if not about:
        return
    end = next((each for each in about if _has_ended(each.state, rollout)), about[-1])
    outcome = end.state.outcome if _has_ended(end.state, rollout) else None
    attributes: dict[str, Attribute] = {"edgeward.device": member.device, "edgeward.stratum": member.stratum}
    fault = ""
    if outcome is not None:
        attributes["edgeward.outcome"] = outcome.result
        fault = f"{outcome.code}: {outcome.detail}" if outcome.result not in {"confirmed", "shadowed"} else ""
    device = len(spans)
    spans.append(Span(member.device, about[0].at, end.at, wave, attributes, fault))
    for before, after in pairwise(about[: about.index(end) + 1]):
        if (step := STEPS.get(before.state.phase)) is not None:
            spans.append(Span(step, before.at, after.at, device, fault=fault if after is end else ""))
    if outcome is not None:
        spans.append(Span(outcome.result.replace("_", " "), end.at, end.at, device, fault=fault))


def _is_about(state: ModelState, rollout: Rollout) -> bool:
    named = (state.target, state.trial)
    return _has_ended(state, rollout) or any(each is not None and rollout.carries(each.digest) for each in named)


def _has_ended(state: ModelState, rollout: Rollout) -> bool:
    return state.outcome is not None and rollout.carries(state.outcome.version.digest) and state.phase == "steady"
