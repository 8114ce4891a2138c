"""A rollout in sentences: its state, its reasons to wait, and each rule's verdict with its numbers.

Decides words. Everything in them comes from the same facts and verdicts that `decide` uses.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from controller.fleet.pin import pinned_among
from controller.rollout.decide import NO_ENDINGS, Facts, awaited, holds, unproven, waits_for_absentees_only
from controller.rollout.endings import MAX_NAMED, Ending, Endings, named
from controller.rollout.model import FINAL, RETURNING, Rollout
from controller.rollout.outcome import FAILURES, at_now, outcome_of
from controller.rollout.pinned import is_left_alone
from controller.rollout.schedule import schedule_words
from controller.rollout.stuck import stuck_words
from controller.rollout.verdict import RuleVerdict
from controller.rollout.words import devices_have, devices_of, span

_ENDS = {
    "completed": "It has completed",
    "aborted": "It was aborted; what had confirmed the release keeps it",
    "rolled_back": "It was rolled back; every device that can be reached has been sent to its last confirmed release",
    "aborting": "It is being aborted: devices that have not confirmed the release are sent back",
    "rolling_back": "It is being rolled back: devices are sent to their last confirmed release",
}
Quiet = Mapping[str, float]
"""The seconds of the newest telemetry of each device without requests for the model in that time."""
NOBODY_QUIET: Quiet = MappingProxyType({})


def explain(
    rollout: Rollout,
    facts: Facts,
    verdicts: Sequence[RuleVerdict],
    now: float,
    endings: Endings = NO_ENDINGS,
    *,
    quiet: Quiet = NOBODY_QUIET,
) -> list[str]:
    """Returns sentences, the most important first; `endings` are the stored ones of its members, `quiet` the devices
    without requests.
    """
    what = f"{rollout.id} brings {rollout.model} v{rollout.release} by {rollout.strategy.name}."
    if rollout.status == "proposed":
        return [
            f"{what} It waits for somebody other than {' and '.join(rollout.people) or 'nobody'} "
            f"to approve plan {rollout.plan_digest[:12]}."
        ]
    because = f", because {rollout.reason}" if rollout.reason else ""
    if rollout.status in _ENDS:
        ended = f"{_ENDS[rollout.status]}{because}."
        why = [*_ended(rollout, endings), *_failed(rollout, endings), *_left(rollout, facts), *_pinned(rollout, facts)]
        return [what, ended, *why, *_returns(rollout, facts, now)]
    sentences = [what]
    if rollout.status == "paused":
        sentences.append(f"It is paused{because}: resume, abort or roll it back.")
    elif rollout.reason:
        sentences.append(f"{rollout.reason}.")
    sentences += [words for words in (schedule_words(rollout.schedule, now),) if words]
    sentences += [*_devices(rollout, facts, now), *_pinned(rollout, facts), *_failed(rollout, endings)]
    return [*sentences, *_waits(rollout, facts, verdicts, now, quiet)]


def whom_it_waits_for(rollout: Rollout, facts: Facts, now: float, quiet: Quiet = NOBODY_QUIET) -> str:
    """Says in a sentence which devices have not decided, with the phase of each; empty if it waits for none."""
    pending = _undecided(rollout, facts, now, quiet) if rollout.status == "running" else {}
    if not pending:
        return ""
    unasked = [device for device in pending if device in quiet]
    needed = int(rollout.strategy.trial.min_samples)
    words = f"It waits for devices that have not decided: {named(list(pending.values()))}."
    if unasked and needed:
        lasted_s = max(quiet[each] for each in unasked)
        when = f"in the last {span(lasted_s)}" if lasted_s else "so far"
        asked = f"Nobody asked {named(unasked)} for {rollout.model} {when}"
        words = f"{words} {asked}: each needs {needed} inferences to decide, from a sensor or an application."
    return words


def _ended(rollout: Rollout, endings: Endings) -> list[str]:
    """Says how many members ended in which way."""
    words = Counter(endings[member.device].outcome for member in rollout.members if member.device in endings)
    counts = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in words.most_common())
    return [f"Of {len(rollout.members)} devices: {counts}."] if words else []


def _failed(rollout: Rollout, endings: Endings) -> list[str]:
    """Names the first failed devices, a sentence each, and how many more there are."""
    failed = [
        (member.device, ending)
        for member in rollout.members
        if (ending := endings.get(member.device)) is not None and ending.outcome in FAILURES
    ]
    more = [f"{len(failed) - MAX_NAMED} more have failed."] if len(failed) > MAX_NAMED else []
    return [*(f"{device} {_how(ending)}." for device, ending in failed[:MAX_NAMED]), *more]


def _how(ending: Ending) -> str:
    words = " ".join(each for each in (ending.code, ending.detail) if each)
    return f"{ending.outcome}: {words}" if words else ending.outcome


def _left(rollout: Rollout, facts: Facts) -> list[str]:
    """Says which devices keep the release after a roll back, because their former version is lost."""
    if rollout.status not in (*RETURNING, "rolled_back"):
        return []
    left = [
        each.device
        for each in rollout.members
        if each.lost_digest and each.wave <= rollout.wave and holds(rollout, facts[each.device])
    ]
    word = "keeps" if len(left) == 1 else "keep"
    why = "the registry does not hold what ran there before"
    return [f"{devices_of(len(left))} {word} v{rollout.release}, because {why}: {named(left)}."] if left else []


def _pinned(rollout: Rollout, facts: Facts) -> list[str]:
    """Says which devices a pin keeps where they are, both excluded ones and those that were pinned later."""
    known = () if rollout.status in FINAL else (each for each in rollout.members if each.device in facts)
    later = [each.device for each in known if is_left_alone(rollout, each, facts[each.device])]
    held = sorted({*pinned_among(rollout.excluded), *later})
    if not held:
        return []
    stay = "is pinned and stays where it is" if len(held) == 1 else "are pinned and stay where they are"
    return [f"{devices_of(len(held))} {stay}: {named(held)}."]


def _returns(rollout: Rollout, facts: Facts, now: float) -> list[str]:
    """Says for which devices the roll back waits, at most `MAX_NAMED` of them by name."""
    if rollout.status not in RETURNING or not (devices := awaited(rollout, facts, now)):
        return []
    waited = named([f"{device} ({facts[device].presence})" for device in devices])
    absent = " A newer rollout may start now." if waits_for_absentees_only(rollout, facts, now) else ""
    return [f"It waits for {waited}.{absent}"]


def _devices(rollout: Rollout, facts: Facts, now: float) -> list[str]:
    turn = [member for member in rollout.members if member.wave <= rollout.wave]
    words = Counter(outcome_of(rollout, member, facts[member.device], now) for member in turn)
    counts = ", ".join(f"{count} {word}" for word, count in words.most_common())
    wave, waves = rollout.wave + 1, rollout.final_wave + 1
    had = f"{len(turn)} of {len(rollout.members)} devices have had their turn"
    return [f"Wave {wave} of {waves}, {had}: {counts}."]


def _waits(rollout: Rollout, facts: Facts, verdicts: Sequence[RuleVerdict], now: float, quiet: Quiet) -> list[str]:
    if rollout.status != "running":
        return [_says(verdict) for verdict in verdicts if verdict.word == "fail"]
    if rollout.wave_done_at is None:
        return [whom_it_waits_for(rollout, facts, now, quiet) or "The next pass goes on."]
    wave = rollout.strategy.waves[rollout.wave]
    left_s = wave.soak_s - (now - rollout.wave_done_at)
    waits = [f"It soaks for {span(left_s)} more."] if left_s > 0 else []
    waits += [_says(verdict) for verdict in verdicts if verdict.word != "pass"]
    waits += [words for words in (stuck_words(rollout, facts, verdicts, now),) if words]
    if wave.hold and rollout.promoted < rollout.wave:
        waits.append(f"It waits for `edgeward rollout promote {rollout.id}`.")
    if rollout.strategy.preflight and rollout.wave == 0 and (missing := unproven(rollout, facts)):
        names = ", ".join(missing[:5])
        waits.append(f"{devices_have(len(missing))} not shown that the way back is whole: {names}.")
    return waits or ["The next pass goes on."]


def _undecided(rollout: Rollout, facts: Facts, now: float, quiet: Quiet) -> dict[str, str]:
    """Lists devices for which the wave is not over, each with its phase; those without requests first."""
    pending = {
        member.device: f"{member.device} ({at_now(rollout, facts[member.device])})"
        for member in rollout.members
        if outcome_of(rollout, member, facts[member.device], now) == "pending"
    }
    return dict(sorted(pending.items(), key=lambda each: each[0] not in quiet))


def _says(verdict: RuleVerdict) -> str:
    where = f" on {verdict.stratum}" if verdict.stratum else ""
    return f"Rule {verdict.metric}{where} {verdict.says}: {verdict.detail}."
