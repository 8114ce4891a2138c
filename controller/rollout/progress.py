"""The progress of a rollout: each wave by stratum and outcome, its use so far, and the time left.

Decides what is included in the time left: offers at their pace, the devices' own trial, soaks, maintenance hours, and
devices that are offline. Refuses to know where facts come from and how they are shown.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from contract.maintenance import wait_s
from contract.wire import Message
from controller.fleet.absences import Return
from controller.rollout.model import JUDGED, Rollout
from controller.rollout.outcome import MemberOutcome
from controller.rollout.pace import allowed
from controller.rollout.schedule import opens_in_s
from controller.rollout.words import devices_have, devices_of, span

WaveState = Literal["done", "now", "waiting"]


class WaveProgress(Message, frozen=True):
    """The state of one wave."""

    wave: int
    """Counted from 0; people count from 1."""
    mode: str
    percent: float | None
    """The percentage of each stratum, with the waves before; None if it is given otherwise."""
    state: WaveState
    devices: int
    counts: dict[str, int]
    """Members by outcome."""
    strata: dict[str, dict[str, int]]
    """The same by stratum."""
    soak_s: float
    hold: bool
    """Whether it ends only when an operator promotes it."""
    left_s: float
    """The smallest number of seconds that it still takes; 0 once it is done."""


class Left(msgspec.Struct, frozen=True):
    """How much longer a rollout takes."""

    seconds: float
    """The smallest possible number."""
    low_s: float
    high_s: float
    """The range in which it is expected, by the usual hours of offline devices; both equal `seconds` if none is
    offline.
    """
    words: str
    """A sentence: the parts of the time, and what may make it longer. Empty for a rollout that has ended."""


def waves_of(rollout: Rollout, outcomes: Mapping[str, MemberOutcome], now: float) -> tuple[WaveProgress, ...]:
    """Every wave; `outcomes` are those of all members that are known. `now` is seconds since 1970."""
    counted: dict[int, dict[str, Counter[str]]] = {}
    for member in rollout.members:
        word = outcomes.get(member.device)
        if word is not None:
            counted.setdefault(member.wave, {}).setdefault(member.stratum, Counter())[word] += 1
    return tuple(_wave(rollout, number, counted.get(number, {}), now) for number in range(rollout.final_wave + 1))


def _wave(rollout: Rollout, number: int, strata: Mapping[str, Counter[str]], now: float) -> WaveProgress:
    wave, everyone = rollout.strategy.waves[number], sum(strata.values(), Counter[str]())
    over = number < rollout.wave or rollout.status not in JUDGED | {"proposed"}
    return WaveProgress(
        wave=number,
        mode=wave.mode,
        percent=wave.percent,
        state="done" if number < rollout.wave else "now" if number == rollout.wave else "waiting",
        devices=sum(member.wave == number for member in rollout.members),
        counts=dict(sorted(everyone.items())),
        strata={name: dict(sorted(found.items())) for name, found in sorted(strata.items())},
        soak_s=wave.soak_s,
        hold=wave.hold,
        left_s=0.0 if over else wave_left_s(rollout, number, everyone, now),
    )


def wave_left_s(rollout: Rollout, number: int, counts: Mapping[str, int], now: float) -> float:
    """Returns the smallest number of seconds that a wave takes from `now` on. `counts`: its members by outcome."""
    strategy = rollout.strategy
    soak_s, trial_s = strategy.waves[number].soak_s, float(strategy.trial.soak_s)
    if number > rollout.wave or rollout.status == "proposed":
        return offering_s(rollout, number) + trial_s + soak_s
    if rollout.wave_done_at is not None:
        return max(0.0, soak_s - (now - rollout.wave_done_at))
    begun_s = now - rollout.wave_began_at
    return max(0.0, offering_s(rollout, number) - begun_s) + (trial_s if counts.get("pending") else 0.0) + soak_s


def offering_s(rollout: Rollout, number: int) -> float:
    """The seconds until a wave's last device gets its offer, by the rate of offers and their spread."""
    strategy = rollout.strategy
    count = sum(member.wave == number for member in rollout.members)
    needed_s = 0.0
    while strategy.per_minute and allowed(strategy.per_minute, strategy.growth_per_minute, needed_s) < count:
        needed_s += max(1.0, needed_s / 100)
    return max(needed_s, strategy.jitter_s)


class Away(msgspec.Struct, frozen=True):
    """Devices that have not decided and are not online, and when the last of them may return."""

    devices: int = 0
    low_s: float = 0.0
    high_s: float = 0.0
    """From now; at most as long as the rollout waits for a device."""
    unknown: int = 0
    """The number of them without known usual hours: for these any time up to that is possible."""


NOBODY_AWAY = Away()


def away_of(rollout: Rollout, devices: int, returns: Collection[Return | None]) -> Away:
    """Returns when the last of so many absent devices may return; `returns` are those that were examined."""
    most_s = rollout.strategy.start_s
    known = [each for each in returns if each is not None]
    unknown = len(returns) - len(known)
    low_s = max((min(each.low_s, most_s) for each in known), default=0.0)
    high_s = most_s if unknown else max((min(each.high_s, most_s) for each in known), default=0.0)
    return Away(devices, low_s, high_s, unknown) if devices else NOBODY_AWAY


def away_words(away: Away) -> str:
    """Says when offline devices may return; empty if no offline device has known usual hours."""
    if away.unknown >= away.devices:
        return ""
    few = f", though of {away.unknown} nothing is known" if away.unknown else ""
    back = "is" if away.devices == 1 else "are all"
    range_ = f"{span(away.low_s)} to {span(away.high_s)}"
    return f"by their habits, {devices_of(away.devices)} that cannot be reached {back} back in {range_}{few}"


def left_of(rollout: Rollout, waves: tuple[WaveProgress, ...], clock: datetime, *, away: Away, undecided: int) -> Left:
    """Returns the time left. `away`: devices that have not decided and are not online. `undecided`: rules that delay
    it. `clock`: date and time in UTC, by which maintenance hours are computed for all devices.
    """
    if rollout.status not in JUDGED and rollout.status != "proposed":
        return Left(0.0, 0.0, 0.0, "")
    opens_s = wait_s(rollout.strategy.trial.maintenance, clock)
    begins_s = opens_in_s(rollout.schedule, clock.timestamp()) or 0.0
    own_s = sum(each.left_s for each in waves) + begins_s
    parts = [f"{span(own_s - begins_s)} for offers, trials and soaks"]
    parts += [f"{span(begins_s)} until its schedule lets it go on"] if begins_s else []
    parts += [f"{span(opens_s)} until maintenance hours begin"] if opens_s else []
    least_s = own_s + opens_s
    low_s, high_s = least_s + away.low_s, least_s + away.high_s
    why = away_words(away)
    range_ = f" Expected: {span(low_s)} to {span(high_s)}, since {why}." if why else ""
    words = f"At least {span(least_s)}: {' and '.join(parts)}{_longer(rollout, away.devices, undecided)}.{range_}"
    return Left(least_s, low_s, high_s, words)


def _longer(rollout: Rollout, absent: int, undecided: int) -> str:
    """Says what may make it longer."""
    may: list[str] = []
    if rollout.status == "proposed":
        may.append("it starts only once somebody approves it")
    if rollout.status == "paused":
        may.append("it is paused, and nothing goes on until somebody resumes it")
    held = [number for number in range(rollout.wave, rollout.final_wave + 1) if rollout.strategy.waves[number].hold]
    if held and rollout.promoted < held[-1]:
        may.append(f"wave {held[0] + 1} waits for a person to promote it")
    if absent:
        told = f"{devices_have(absent)} not decided and cannot be reached"
        may.append(f"{told}, for which it waits {span(rollout.strategy.start_s)} at most")
    if undecided:
        may.append("1 rule cannot say yet" if undecided == 1 else f"{undecided} rules cannot say yet")
    return f"; {'; '.join(may)}" if may else ""
