"""Rollouts at one moment each, with all decisions and sentences about them.

`python -m tests.controller.story_cases` writes it to tests/data/rollout; read the difference before you commit it.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from controller.rollout.decide import Decision, Facts, decide
from controller.rollout.endings import Ending, shown
from controller.rollout.explain import explain
from controller.rollout.exposure import exposure_of
from controller.rollout.model import Rollout, Rule, Wave
from controller.rollout.outcome import outcome_of
from controller.rollout.progress import away_of, left_of, waves_of
from controller.rollout.promote import promoted, why_not_promoted
from controller.rollout.rows import Rows
from controller.rollout.schedule import Schedule, schedule_words
from controller.rollout.words import devices_have, span
from tests.controller.rollout_worlds import (
    DEVICES,
    NEW,
    OLD,
    STRATEGY,
    broken,
    done,
    fact,
    facts,
    measured,
    rollout,
    sums,
    targets,
)

GOLDEN = Path(__file__).parents[1] / "data" / "rollout" / "stories.json"

MONDAY = 4 * 86_400.0
"""1970-01-05, 00:00 in UTC."""
FIRST, *OTHERS = [member.device for member in rollout().members]
"""The device of the first wave, and those of the second in their order."""
ENDED = Rule(metric="failed_ratio", threshold=0.0)
ERRORS = Rule(metric="error_ratio", threshold=0.1, min_samples=50, scope="stratum", on_fail="roll_back_stratum")


class Case(NamedTuple):
    """The facts at one moment."""

    rollout: Rollout
    facts: Facts
    now: float = 50.0
    rows: Rows = Rows()
    endings: dict[str, Ending] = {}


def told(device: str, **fields: Any) -> Any:
    return fact(device, assigned=2, **fields)


def waves(*found: Wave, **fields: Any) -> Any:
    return replace(STRATEGY, waves=found, **fields)


def cases() -> Iterator[tuple[str, Case]]:
    """Returns every case with its name, in words that explain a failure."""
    yield from _way_there()
    yield from _ends()
    yield from _way_back()
    yield from _schedules()


def _way_there() -> Iterator[tuple[str, Case]]:
    yield "begins", Case(rollout(), facts())
    yield "told and not begun", Case(rollout(), facts(**{FIRST: told(FIRST, generation=6)}))
    yield "under way", Case(rollout(), facts(**{FIRST: told(FIRST)}))
    yield "past its start", Case(rollout(), facts(**{FIRST: told(FIRST, generation=6)}), 100.5)
    gone = told(FIRST, generation=6, presence="offline")
    yield "offline past its start", Case(rollout(), facts(**{FIRST: gone}), 100.5)
    yield "past its deadline", Case(rollout(), facts(**{FIRST: told(FIRST)}), 200.5)
    yield "silent past its deadline", Case(rollout(), facts(**{FIRST: told(FIRST, presence="silent")}), 200.5)
    soaking = rollout(wave_done_at=45.0)
    yield "soaks", Case(soaking, facts(**{FIRST: done(FIRST)}))
    yield "has soaked", Case(soaking, facts(**{FIRST: done(FIRST)}), 55.0)
    unproven = {device: fact(device, proven=False) for device in OTHERS}
    yield "way back not shown", Case(soaking, facts(**{FIRST: done(FIRST)}, **unproven), 60.0)
    held = rollout(waves(Wave(percent=20, soak_s=10.0, hold=True), Wave(percent=100)), wave_done_at=45.0)
    yield "held", Case(held, facts(**{FIRST: done(FIRST)}), 60.0)
    yield "second wave", Case(rollout(wave=1, wave_began_at=60.0), facts(**{FIRST: done(FIRST)}), 61.0)
    slow = rollout(replace(STRATEGY, per_minute=1.0, max_concurrent=2, jitter_s=30.0), wave=1, wave_began_at=60.0)
    yield "second wave at a pace", Case(slow, facts(**{FIRST: done(FIRST), OTHERS[0]: told(OTHERS[0])}), 185.0)
    last = facts(**{device: done(device) for device in DEVICES if device != OTHERS[3]})
    yield "last device", Case(rollout(wave=1, wave_began_at=60.0), {**last, OTHERS[3]: told(OTHERS[3])}, 61.0)
    shadow = waves(Wave(percent=20, mode="shadow"), Wave(percent=20), Wave(percent=100))
    compared = fact(FIRST, assigned=2, mode="shadow", result="shadowed")
    yield "shadow has passed", Case(rollout(shadow, wave_done_at=1.0), facts(**{FIRST: compared}))
    yield "shadow serves next", Case(rollout(shadow, wave=1), facts(**{FIRST: compared}))
    patient = replace(STRATEGY, attempts=3, retry_s=10.0, trial=replace(STRATEGY.trial, soak_s=25))
    stalled = told(FIRST, result="rolled_back", code="transfer_stalled")
    yield "may fail again", Case(rollout(patient), facts(**{FIRST: stalled}), 9.0)
    yield "tries again", Case(rollout(patient), facts(**{FIRST: stalled}), 16.0)
    proposed = rollout(status="proposed", created_by="ada", proposers=("policy of bob", "local:ada"))
    yield "proposed", Case(proposed, facts())
    hours = rollout(replace(STRATEGY, trial=replace(STRATEGY.trial, maintenance=("mon 02:00-04:00",))))
    early = facts(**{FIRST: told(FIRST, offered_at=MONDAY + 3590.0)})
    yield "maintenance hours", Case(hours, early, MONDAY + 3600.0)


def _ends() -> Iterator[tuple[str, Case]]:
    strict = replace(STRATEGY, rules=(ENDED,))
    yield "a failure rolls it back", Case(rollout(strict), facts(**{FIRST: broken(FIRST)}))
    paused = replace(STRATEGY, rules=(replace(ENDED, on_fail="pause"),))
    yield "a failure pauses it", Case(rollout(paused), facts(**{FIRST: broken(FIRST)}))
    yield "is paused", Case(rollout(paused, status="paused", reason="why"), facts(**{FIRST: broken(FIRST)}))
    seen = facts(**{FIRST: broken(FIRST)})
    yield "resumed over it", Case(rollout(paused, acknowledged=(FIRST,)), seen, endings={FIRST: failed()})
    yield (
        "a failure ends the wave",
        Case(
            rollout(replace(STRATEGY, rules=(replace(ENDED, on_fail="roll_back_wave"),))),
            facts(**{FIRST: broken(FIRST)}),
        ),
    )
    rejected = fact(FIRST, assigned=2, result="rejected", code="probe_mismatch")
    yield "a rejection", Case(rollout(waves(Wave(percent=100), rules=())), facts(**{FIRST: rejected}))
    sick = told(FIRST, result="rolled_back", code="device_sick")
    yield "a sick device", Case(rollout(), facts(**{FIRST: sick}))
    regressed = fact(FIRST, assigned=2, stable=1, result="confirmed")
    yield "runs something else again", Case(rollout(), facts(**{FIRST: regressed}))
    nothing = fact(FIRST, assigned=2, stable=None, result="confirmed")
    yield "runs nothing any more", Case(rollout(), facts(**{FIRST: nothing}))
    yield "has left the fleet", Case(rollout(), facts(**{FIRST: msgspec.structs.replace(fact(FIRST), retired=True)}))
    everyone = facts(**{device: done(device) for device in DEVICES})
    yield "all have it", Case(rollout(wave=1, wave_done_at=1.0), everyone)
    kept = {device: Ending(outcome="succeeded") for device in DEVICES[:3]} | {"d3": failed(), "d4": failed("")}
    yield "has completed", Case(rollout(wave=1, status="completed"), everyone, endings=kept)
    yield "was aborted", Case(rollout(status="aborted", reason="abort by ada"), facts(), endings={FIRST: failed()})
    many = {device: failed() for device in DEVICES}
    yield "all have failed", Case(rollout(wave=1, status="rolled_back", reason="it was bad"), facts(), endings=many)


def failed(code: str = "health_accuracy") -> Ending:
    return Ending(outcome="failed", code=code, detail="accuracy 0.5")


def _way_back() -> Iterator[tuple[str, Case]]:
    holding = facts(**{FIRST: done(FIRST), OTHERS[0]: done(OTHERS[0], presence="silent"), OTHERS[1]: told(OTHERS[1])})
    for status in ("rolling_back", "aborting"):
        made = rollout(wave=1, status=status, reason="error_ratio: bad")
        yield f"{status} begins", Case(made, holding)
        kept = {FIRST: Ending(outcome="succeeded"), OTHERS[2]: failed()}
        back = {name: fact(name, stable=2, presence=holding[name].presence) for name in (FIRST, OTHERS[0])}
        told_back = facts(**back)
        yield f"{status} waits", Case(replace(made, returning_since=45.0), told_back, 60.0, endings=kept)
        yield f"{status} has waited", Case(replace(made, returning_since=45.0), told_back, 1e6, endings=kept)
        absent = facts(**{OTHERS[0]: back[OTHERS[0]]})
        yield f"{status} waits for one that is away", Case(replace(made, returning_since=45.0), absent, 60.0)
    kinds = [*targets(DEVICES[:2], "arm"), *targets(DEVICES[2:], "x86")]
    by_kind = replace(STRATEGY, waves=(Wave(percent=100),), rules=(ERRORS,))
    some = {device: done(device) for device in DEVICES}
    said = measured(("d0", 60.0, sums(500, errors=400), None), ("d2", 60.0, sums(500), None))
    made = rollout(by_kind, among=kinds)
    yield "a kind of devices goes back", Case(made, facts(**some), 100.0, said, {"d0": failed(), "d2": failed()})
    stopped = rollout(by_kind, among=kinds, stopped_strata=("arm",), reason="error_ratio on arm: bad")
    yield "a kind of devices has gone back", Case(stopped, facts(**some), 100.0, said)
    both = measured(("d0", 60.0, sums(500), None), ("d2", 60.0, sums(500, errors=400), None))
    yield "the other kind as well", Case(stopped, facts(**some), 100.0, both)


def _schedules() -> Iterator[tuple[str, Case]]:
    for name, schedule in {
        "from a moment on": Schedule(not_before=MONDAY + 7200.0),
        "until a moment": Schedule(not_after=MONDAY + 7200.0),
        "in hours": Schedule(hours=("mon-fri 08:00-16:00", "sat 10:00-12:00")),
        "all three": Schedule(MONDAY, MONDAY + 86_400.0, ("mon 08:00-16:00",)),
        "over": Schedule(not_after=MONDAY),
        "over before its hours": Schedule(not_after=MONDAY + 7200.0, hours=("mon 08:00-16:00",)),
    }.items():
        yield f"schedule {name}", Case(rollout(schedule=schedule), facts(), MONDAY + 3600.0)
        late = facts(**{FIRST: told(FIRST, offered_at=MONDAY + 3600.0)})
        yield f"schedule {name}, begun", Case(rollout(schedule=schedule), late, MONDAY + 3601.0)


def told_of(case: Case) -> dict[str, Any]:
    """Returns all decisions and sentences of the engine about one case."""
    made, known, now, rows, endings = case
    decision = decide(made, known, rows, now, endings)
    outcomes = {member.device: outcome_of(made, member, known[member.device], now) for member in made.members}
    progress = waves_of(made, outcomes, now)
    left = left_of(made, progress, datetime.fromtimestamp(now, UTC), away=away_of(made, 1, [None]), undecided=2)
    everyone = {**endings, **decision.endings}
    found = {
        "outcomes": outcomes,
        "decision": _decision(made, decision),
        "says": explain(decision.rollout, known, decision.verdicts, now, everyone),
        "shows": {device: shown(decision.rollout, word, everyone.get(device)) for device, word in outcomes.items()},
        "promote": why_not_promoted(made, known, now),
        "promoted": _changes(made, promoted(made, now)),
        "waves": msgspec.to_builtins(progress),
        "left": [left.seconds, left.words],
        "exposure": msgspec.to_builtins(exposure_of(made, rows.table(), progress)),
        "schedule": schedule_words(made.schedule, now),
    }
    known_words = json.dumps(found).replace(OLD, "old").replace(NEW, "new")
    return dict(json.loads(known_words, parse_float=lambda text: round(float(text), 6)))


def _decision(before: Rollout, decision: Decision) -> dict[str, Any]:
    return {
        "changes": _changes(before, decision.rollout),
        "offers": msgspec.to_builtins(decision.offers),
        "bad": sorted(decision.quarantined),
        "endings": msgspec.to_builtins(dict(decision.endings)),
        "verdicts": [f"{each.metric} {each.stratum} {each.rule} {each.word}" for each in decision.verdicts],
    }


def _changes(before: Rollout, after: Rollout) -> dict[str, Any]:
    fields = [name for name in before.__struct_fields__ if getattr(before, name) != getattr(after, name)]
    return {name: msgspec.to_builtins(getattr(after, name)) for name in fields}


def said() -> dict[str, Any]:
    """Returns the sentences of every case, and times and counts in words."""
    found: dict[str, Any] = {name: told_of(case) for name, case in cases()}
    times = (0.0, 0.4, 1.0, 59.0, 89.0, 90.0, 599.0, 600.0, 5399.0, 5400.0, 35_999.0, 36_000.0, 129_600.0, 8.7e6)
    found["times"] = {str(seconds): span(seconds) for seconds in times}
    found["counts"] = [devices_have(count) for count in (0, 1, 2)]
    return found


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(said(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
