"""The history of a device in sentences: its reports, what it runs now, and which rollout has asked for that.

Decides the words. Refuses to know where the history is kept.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from contract.messages import ModelState, Report
from controller.fleet.twin import Assigned, Twin
from controller.rollout.model import Rollout


def why(
    twin: Twin,
    rollouts: Mapping[str, Rollout],
    history: Iterable[tuple[str, Report]],
    quarantined: Mapping[str, str],
    *,
    faults: Iterable[tuple[str, int, str, str]] = (),
) -> list[str]:
    """Sentences, oldest first; the last ones say what it runs now and what it is asked to run.

    `faults` are (model, release, code, words) of rows that failed or were refused.
    """
    told = _without_repeats((at, line) for at, report in history if (line := _reported(report)))
    now = [_runs(model, state) for model, state in sorted(twin.reported.items())]
    asked = [_asked(model, assigned, rollouts) for model, assigned in sorted(twin.desired.items())]
    kept = [
        f"Version {digest[:12]} is quarantined on it: it failed there in {name}."
        for digest, name in quarantined.items()
    ]
    pins = [f"Its own configuration holds {model} at v{release}." for model, release in sorted(twin.pinned.items())]
    failed = [f"{model} v{release}: {code}: {words}." for model, release, code, words in faults]
    return [*told, *now, *failed, *asked, *pins, *kept]


def _without_repeats(told: Iterable[tuple[str, str]]) -> list[str]:
    """Sentences with their times; what is said again with nothing between stands once, with how often and how long."""
    runs: list[tuple[str, str, str, int]] = []
    for at, line in told:
        if runs and runs[-1][1] == line:
            runs[-1] = (runs[-1][0], line, at, runs[-1][3] + 1)
        else:
            runs.append((at, line, at, 1))
    return [
        f"{first}: {line}." if n == 1 else f"{first}: {line} (said {n} times, until {last})."
        for first, line, last, n in runs
    ]


def _reported(report: Report) -> str:
    if report.refusal is not None:
        return f"it refused a document: {report.refusal.code} {report.refusal.detail}"
    state = report.state
    return "" if state is None else f"{state.model}: {_phase(state)}"


def _phase(state: ModelState) -> str:
    code = f" ({state.code} {state.detail})" if state.code else ""
    match state.phase:
        case "fetching" if state.target is not None:
            return f"it fetches v{state.target.release}{code}"
        case "probing" if state.target is not None:
            return f"it probes v{state.target.release}"
        case "ready" if state.target is not None:
            return f"v{state.target.release} has arrived and waits{code}"
        case "trial" if state.trial is not None:
            passed = state.outcome is not None and state.outcome.result == "shadowed"
            waits = f", {state.detail} so far" if state.detail and not state.code else ""
            return f"v{state.trial.release} {'has passed as a shadow' if passed else f'is on trial{waits}'}{code}"
        case _:
            return _ended(state) + code


def _ended(state: ModelState) -> str:
    ended = state.outcome
    if ended is None:
        return "it runs nothing" if state.stable is None else f"it runs v{state.stable.release}"
    reason = f": {ended.code} {ended.detail}".rstrip() if ended.code else ""
    result = ended.result.replace("_", " ")
    return f"v{ended.version.release} was {result}{reason}"


def _runs(model: str, state: ModelState) -> str:
    trial = f" Now {_phase(state)}." if state.phase == "trial" else ""
    if state.stable is None:
        return f"{model}: it has confirmed no version.{trial}"
    how = " and has shown that it is complete and reproduces its golden set" if state.stable_proven else ""
    return f"{model}: its last confirmed version is v{state.stable.release}{how}.{trial}"


def _asked(model: str, assigned: Assigned, rollouts: Mapping[str, Rollout]) -> str:
    at = datetime.fromtimestamp(assigned.offered_at, UTC).isoformat(timespec="seconds")
    words = f"{model}: at {at} it was asked to run v{assigned.release} (generation {assigned.generation}"
    attempt = f", attempt {assigned.attempt}" if assigned.attempt > 1 else ""
    rollout = rollouts.get(assigned.rollout)
    if rollout is None:
        return f"{words}{attempt})."
    approved = f", approved by {rollout.approved_by}" if rollout.approved_by else ""
    back = f" rolling v{rollout.release} back" if assigned.release != rollout.release else ""
    by = f"rollout {rollout.id}{back}, strategy {rollout.strategy.name}, started by {rollout.created_by}{approved}"
    reason = f"; {rollout.reason}" if rollout.reason else ""
    return f"{words}{attempt}) by {by}{reason}."
