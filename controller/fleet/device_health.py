"""The health of one device in one word, with its reason: failing, attention, silent, offline, updating or well.

Decides the word, which is the worst that applies, and what ends it: the failure of a version ends once the version
in its place has answered well. Refuses to know rollouts, rules of alerts and how a device is shown.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, get_args

from contract.desired import TrialPolicy
from contract.errors import Code
from contract.messages import ModelInterval, ModelState, Telemetry
from controller.fleet.traffic import Traffic
from controller.fleet.twin import PresenceWord, Twin

HealthWord = Literal["failing", "attention", "silent", "offline", "updating", "well"]
HEALTH_WORDS: tuple[HealthWord, ...] = get_args(HealthWord)
"""Worst first: the first word that applies is used."""
HOT_C = 80.0
"""Small boards slow their processors from 80 to 85 degrees Celsius on, which raises the latency of models."""
ENDED_BADLY = frozenset({"rolled_back", "rejected"})
NO_FAULT = frozenset({str(Code.SUPERSEDED), str(Code.PINNED), ""})
"""An update that ended with one of these does not judge its version: a newer one was requested, or the model is
pinned."""
WAITS_AS_ASKED = frozenset({str(Code.OUTSIDE_MAINTENANCE), str(Code.PINNED), str(Code.SUPERSEDED), ""})
"""Reasons for which an update waits without any action of a person."""

Judged = tuple[HealthWord, str]
"""A word, and its reason as text for people."""
_ABSENT: dict[PresenceWord, Judged] = {
    "silent": ("silent", "it is connected and sends no heartbeats"),
    "unknown": ("silent", "it has not been heard since the controller started"),
    "offline": ("offline", "its connection has ended"),
}


def judge_told(twin: Twin, faults: Mapping[str, str], traffic: Traffic | None) -> Judged:
    """Returns the word that follows from what the device has reported, without its presence: failing, attention,
    updating or well. `faults` are those of `fleet.faults`, `traffic` its telemetry.
    """
    states = [state for _, state in sorted(twin.reported.items())]
    newest = traffic.newest if traffic is not None else None
    failed, replaced = _ended_badly(twin, states, traffic)
    for why in (*failed, *_erring(twin, newest)):
        return "failing", why
    for why in (*replaced, *_blocked(states), *_broken(twin, faults), *_hot(newest)):
        return "attention", why
    for why in _updating(twin, states):
        return "updating", why
    return "well", "what it has confirmed answers"


def judge(told: Judged, presence: PresenceWord, alert: str) -> Judged:
    """Returns the health of a device from its reports, its presence, and an alert about it."""
    if alert and told[0] != "failing":
        return "attention", alert
    if told[0] in ("failing", "attention"):
        return told
    return _ABSENT.get(presence, told)


def reason_of(state: ModelState) -> str:
    """Returns the code that says why an update waits or how it failed; empty if neither is true.

    A superseded update has ended: its code is ignored once the device is steady.
    """
    ended = state.outcome.code if state.outcome is not None else ""
    return state.code or ("" if ended == Code.SUPERSEDED else ended)


def _ended_badly(twin: Twin, states: Iterable[ModelState], traffic: Traffic | None) -> tuple[list[str], list[str]]:
    """Returns (failures after which no version has answered well, failures of versions that are still desired while
    another answers well).
    """
    failed, replaced = [], []
    for state in states:
        ended, assigned = state.outcome, twin.desired.get(state.model)
        if ended is None or ended.result not in ENDED_BADLY or ended.code in NO_FAULT:
            continue
        result = ended.result.replace("_", " ")
        words = f"{state.model} v{ended.version.release} was {result}: {ended.code} {ended.detail}".rstrip()
        stable = f"v{state.stable.release}" if state.stable is not None else ""
        if not _answers_well(state, assigned.policy if assigned is not None else TrialPolicy(), traffic):
            failed.append(f"{words}; {stable} has not answered well since" if stable else words)
        elif assigned is not None and assigned.release == ended.version.release:
            replaced.append(f"{words}; {stable} answers in its place")
    return failed, replaced


def _answers_well(state: ModelState, policy: TrialPolicy, traffic: Traffic | None) -> bool:
    """Whether the confirmed version serves, and gave the newest answers of its model with errors within the policy."""
    if state.stable is None or state.serving != state.stable.digest or traffic is None:
        return False
    given = [each for each in traffic.answered.get(state.model, ()) if each.version.digest == state.serving]
    return bool(given) and all(_is_within(policy, each) for each in given)


def _erring(twin: Twin, newest: Telemetry | None) -> Iterable[str]:
    """Returns versions whose errors in the newest interval exceed the policy with which they came."""
    for each in newest.intervals if newest is not None else ():
        assigned = twin.desired.get(each.model)
        if assigned is None or each.inferences < max(1, assigned.policy.min_samples):
            continue
        if not _is_within(assigned.policy, each):
            words = f"{each.errors} of {each.inferences} inferences failed"
            yield f"{each.model} v{each.version.release}: {words}, {assigned.policy.max_error_ratio:.1%} are allowed"


def _is_within(policy: TrialPolicy, measured: ModelInterval) -> bool:
    return measured.errors <= policy.max_error_ratio * measured.inferences


def _blocked(states: Iterable[ModelState]) -> Iterable[str]:
    for state in states:
        if state.code not in WAITS_AS_ASKED:
            yield f"{state.model}: {state.code} {state.detail}".rstrip()


def _broken(twin: Twin, faults: Mapping[str, str]) -> Iterable[str]:
    for code, words in faults.items():
        yield f"{code}: {words}"
    for sensor in twin.sensors:
        if sensor.state == "waiting":
            yield f"sensor {sensor.name}: {sensor.error}"
    for sink in twin.sinks:
        if sink.state == "failing":
            yield f"sink {sink.name}: {sink.error}"


def _hot(newest: Telemetry | None) -> Iterable[str]:
    if newest is not None and newest.temperature_c is not None and newest.temperature_c >= HOT_C:
        yield f"it is hot: {newest.temperature_c:.0f} degrees Celsius"


def _updating(twin: Twin, states: Iterable[ModelState]) -> Iterable[str]:
    for state in states:
        if state.phase != "steady":
            named = state.target or state.trial
            yield f"{state.model}: {state.phase}{f' v{named.release}' if named is not None else ''}"
    for model, assigned in sorted(twin.desired.items()):
        known = twin.reported.get(model)
        if known is None or known.generation < assigned.generation:
            yield f"{model}: it has not acted on v{assigned.release} yet"
