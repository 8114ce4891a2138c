"""What a desired document means to each phase of an update."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from agent.core import machine
from agent.core.commands import Activate, Fetch, Load, Prune, Report, Save
from agent.core.events import (
    DesiredChanged,
    DesiredRefused,
    DesiredWithdrawn,
)
from agent.core.model import (
    Fetching,
    Probing,
    Ready,
    Record,
    Steady,
    Trial,
)
from contract.errors import Code
from tests.agent.core_records import A1, B2, GOOD, NOW, ON_TRIAL, POLICY, SHADOW, STABLE, TRIAL, after, outcome, version


def test_a_new_version_is_fetched_and_an_older_generation_is_ignored() -> None:
    assert after(Steady(STABLE), DesiredChanged(B2)) == (Fetching(STABLE, B2), (Fetch(B2), Report()))
    assert after(Steady(STABLE), DesiredChanged(version(2, 1))) == (Steady(STABLE), ())
    assert after(Fetching(STABLE, B2), DesiredChanged(version(3, 2))) == (Fetching(STABLE, B2), ())
    newer = version(3, 3)
    assert after(Fetching(STABLE, B2), DesiredChanged(newer)) == (Fetching(STABLE, newer), (Fetch(newer), Report()))


def test_the_newest_generation_is_that_of_the_version_in_progress() -> None:
    for state in (Fetching(STABLE, B2), Probing(STABLE, B2, 0.0), Ready(STABLE, B2, 0.0)):
        assert machine.newest_generation(state) == 2
    assert machine.newest_generation(Fetching(replace(STABLE, generation=5), A1)) == 5
    assert machine.newest_generation(TRIAL) == 2


def test_another_version_during_a_trial_rolls_back_first_and_then_fetches() -> None:
    third = version(3, 3)
    superseded = outcome(B2, "rolled_back", Code.SUPERSEDED, "by generation 3")
    back = Record(generation=2, stable=A1, baseline=GOOD, outcome=superseded)
    assert after(TRIAL, DesiredChanged(third)) == (
        Fetching(back, third),
        (Save(back), Load(A1), Prune(), Fetch(third), Report()),
    )


def test_a_new_policy_changes_the_trial_without_a_new_trial() -> None:
    longer = version(2, 3, replace(POLICY, soak_s=Decimal(99)))
    record = replace(ON_TRIAL, trial=longer, generation=3)
    assert after(TRIAL, DesiredChanged(longer)) == (replace(TRIAL, record=record), (Save(record), Report()))


@pytest.mark.parametrize("change", [{"mode": "shadow"}, {"traffic_share": Decimal("0.5")}, {"isolated": True}])
def test_a_policy_that_changes_the_mode_starts_a_new_trial(change: dict[str, Any]) -> None:
    other = version(2, 3, replace(POLICY, **change))
    assert after(TRIAL, DesiredChanged(other)) == (Ready(ON_TRIAL, other, NOW), (Activate(other, NOW),))


def test_a_promotion_that_is_revoked_continues_the_trial() -> None:
    again = version(2, 4)
    promoted = Ready(ON_TRIAL, version(2, 3, SHADOW), NOW - 5)
    record = replace(ON_TRIAL, trial=again, generation=4)
    assert after(promoted, DesiredChanged(again)) == (
        Trial(record, NOW + 10, NOW + 50),
        (Save(record), Load(again), Report()),
    )


def test_stable_desired_again_ends_the_update_in_progress() -> None:
    again = version(1, 3)
    settled = replace(STABLE, generation=3, stable=again)
    assert after(Fetching(STABLE, B2), DesiredChanged(again)) == (Steady(settled), (Save(settled), Prune(), Report()))
    rolled = replace(settled, outcome=outcome(B2, "rolled_back", Code.SUPERSEDED, "stable is desired again"))
    assert after(TRIAL, DesiredChanged(again)) == (
        Steady(rolled),
        (Save(rolled), Load(again), Prune(), Report()),
    )


def test_a_refusal_by_the_devices_own_configuration_is_final_at_once() -> None:
    refusal = DesiredRefused(B2, "pinned", "this device holds m at v1")
    decided = replace(STABLE, generation=2, outcome=outcome(B2, "rejected", "pinned", "this device holds m at v1"))
    report = Report("pinned", "this device holds m at v1")
    assert after(Steady(STABLE), refusal) == (Steady(decided), (Save(decided), Prune(), report))
    assert after(Fetching(STABLE, version(3, 1)), refusal) == (Steady(decided), (Save(decided), Prune(), report))
    assert after(Steady(decided), refusal) == (Steady(decided), ())


def test_a_refusal_does_not_end_a_trial_or_a_repair() -> None:
    refusal = DesiredRefused(version(3, 3), "pinned", "why")
    state, commands = after(TRIAL, refusal)
    assert state == replace(TRIAL, record=state.record)
    assert (state.record.trial, state.record.generation) == (B2, 3)
    assert commands == (Save(state.record), Report("pinned", "why"))
    for repair in (Fetching(STABLE, A1), Probing(STABLE, A1, 140.0)):
        state, commands = after(repair, refusal)
        assert state == replace(repair, record=state.record)
        assert commands == (Save(state.record), Report("pinned", "why"))


def test_a_refusal_while_a_promotion_waits_returns_to_the_trial() -> None:
    state, commands = after(Ready(ON_TRIAL, version(2, 3), NOW - 5), DesiredRefused(version(3, 4), "pinned", "why"))
    assert isinstance(state, Trial)
    assert (state.soak_until, state.give_up_at) == (NOW + 10, NOW + 50)
    assert commands == (Save(state.record), Load(B2), Report())


def test_a_model_that_is_no_longer_named_is_removed_and_its_last_outcome_is_kept() -> None:
    told = replace(STABLE, outcome=outcome(A1, "confirmed"))
    empty = Record(generation=5, outcome=told.outcome)
    assert after(Steady(told), DesiredWithdrawn(5)) == (Steady(empty), (Save(empty), Load(None), Prune(), Report()))
    assert after(Steady(told), DesiredWithdrawn(1)) == (Steady(told), ())
    assert after(Fetching(told, B2), DesiredWithdrawn(2)) == (Fetching(told, B2), ())
    assert after(Steady(empty), DesiredWithdrawn(6)) == (Steady(empty), ())
    assert after(Fetching(empty, version(2, 6)), DesiredWithdrawn(7))[0] == Steady(replace(empty, generation=7))
