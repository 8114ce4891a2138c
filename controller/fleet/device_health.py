"""The health of a device as one word with its reason: the worst that holds.

Decides the words and their order. Refuses to know how they are drawn. A page never decides them by itself, so that a
cell, a row and a sentence agree.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from contract.errors import Code
from contract.messages import ModelState
from contract.wire import Message
from controller.fleet.faults import faults_of
from controller.fleet.twin import PresenceWord, Twin

HealthWord = Literal["failing", "attention", "silent", "offline", "updating", "well"]
"""failing: its newest update was rolled back or rejected, or its stable version fails as well. attention: something is
wrong with it, or an update is held. silent and offline: see presence. updating: a version is on its way or on trial."""
HEALTH: tuple[HealthWord, ...] = get_args(HealthWord)
"""The worst first."""
SOURCES_WELL = frozenset({"starting", "running", "ended"})
"""States of sensors and sinks in which nothing is wrong with them."""


class DeviceHealth(Message, frozen=True):
    """One word, and why."""

    word: HealthWord
    why: str = ""
    """Empty for a device that is well."""


WELL = DeviceHealth("well")


def health_of(twin: Twin, presence: PresenceWord, withdrawn: Mapping[tuple[str, int], str], now: float) -> DeviceHealth:
    """The health of a device whose presence is known. `withdrawn`: (model, release) -> why."""
    return with_presence(said_health(twin, withdrawn, now), twin, presence, now)


def said_health(twin: Twin, withdrawn: Mapping[tuple[str, int], str], now: float) -> DeviceHealth:
    """What holds by the device's own messages, without regard to whether it still speaks."""
    states = [state for _, state in sorted(twin.reported.items())]
    for state in states:
        if words := _failing(state):
            return DeviceHealth("failing", words)
    if words := _attention(twin, withdrawn, now):
        return DeviceHealth("attention", words)
    for state in states:
        if state.phase != "steady":
            target = state.trial or state.target
            return DeviceHealth("updating", f"{state.model} v{target.release}: {_doing(state)}" if target else "")
    return WELL


def with_presence(said: DeviceHealth, twin: Twin, presence: PresenceWord, now: float) -> DeviceHealth:
    """The worse of what a device said, and of whether it is there."""
    if presence == "online" or said.word in ("failing", "attention"):
        return said
    if presence == "silent" and twin.seen_at is not None:
        return DeviceHealth("silent", f"no heartbeat for {_lasting(now - twin.seen_at)}")
    seen = f", {_lasting(now - twin.seen_at)} after its newest message" if twin.seen_at is not None else ""
    words = f"its connection has ended{seen}" if presence == "offline" else "it has never reported"
    return DeviceHealth("offline", words)


def _failing(state: ModelState) -> str:
    ended = state.outcome
    if state.code == Code.DEVICE_SICK:
        return f"{state.model}: {state.code} {state.detail}".rstrip()
    if ended is None or ended.result not in ("rolled_back", "rejected") or state.phase != "steady":
        return ""
    return f"{state.model} v{ended.version.release} was {ended.result.replace('_', ' ')}: {ended.code}".rstrip(": ")


def _attention(twin: Twin, withdrawn: Mapping[tuple[str, int], str], now: float) -> str:
    for code, words in faults_of(twin, withdrawn, now).items():
        return f"{code}: {words}"
    lives = [(f"sensor {each.name}", each.state, each.error) for each in twin.sensors]
    lives += [(f"sink {each.name}", each.state, each.error) for each in twin.sinks]
    for name, state, error in lives:
        if state not in SOURCES_WELL:
            return f"{name} is {state}: {error}".rstrip(": ")
    for model, held in sorted(twin.reported.items()):
        if held.code:
            return f"{model}: {held.code} {held.detail}".rstrip()
    return ""


def _doing(state: ModelState) -> str:
    return {"fetching": "on its way", "probing": "in its probe", "ready": "waits", "trial": "on trial"}[state.phase]


def _lasting(seconds: float) -> str:
    for size_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
