"""What the retraining policy decides, and why: gain against cost, seasons, many proposals, approval, and the expected
gain.
"""

import json
import tomllib
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from controller.gates.champion import change
from controller.gates.estimate import Estimate
from controller.retraining.decide import cool_down_until, decide, died
from controller.retraining.explain import explain, explain_decision
from controller.retraining.facts import Facts
from controller.retraining.model import Decision, Proposal, Retraining, Weighed
from controller.retraining.policy import DAY_S, Costs, Limits, RetrainingPolicy
from controller.retraining.quality import Cell, Mean, decay_of, mean_loss, newest_cells, oldest_cells
from controller.retraining.weigh import recoverable

POLICY = RetrainingPolicy()
NOW = 1_000 * DAY_S
CONFIG = Path(__file__).parents[2] / "configs" / "retraining" / "default.toml"


def cells(accuracy: float, blocks: int = 4, labels: int = 500, spread: float = 0.0) -> tuple[Cell, ...]:
    """Blocks of one device; `spread` lets every other block be so much better and worse."""
    found = []
    for block in range(blocks):
        wrong = labels * (1 - accuracy + (spread if block % 2 else -spread))
        found.append(Cell(block, "fleet", labels, wrong, wrong))
    return tuple(found)


def facts(accuracy: float = 0.8, *, before: float = 0.95, spread: float = 0.0, **changed: object) -> Facts:
    reference = mean_loss(cells(before))
    asked = {
        "model": "air", "champion": 3, "champion_at": NOW - 40 * DAY_S, "classifies": True,
        "recent": cells(accuracy, spread=spread), "reference": reference, "new_labels": 2000, "answers_per_s": 1.0,
        "devices": 50, "size_bytes": 200_000, "training_s": 30.0,
    }  # fmt: skip
    return Facts(**{**asked, **changed})  # type: ignore[arg-type]


def attempt(status: str = "stopped", ended_at: float = NOW - 30 * DAY_S, gain: float | None = None) -> Retraining:
    decay = Estimate(0.1, 0.05, 0.15)
    weighed = Weighed(decay, 0.5, decay, 2000, 100.0, 1.0, 1.0, 1.0)
    decision = Decision(ended_at, "air", 3, "train", "gain_shown", (Proposal("decay", "it fell"),), "it fell", weighed)
    measured = None if gain is None else Estimate(gain, gain - 0.01, gain + 0.01)
    return Retraining(
        f"t-{ended_at}", "air", 3, status, decision, ended_at, began_at=ended_at - 60, ended_at=ended_at, gain=measured
    )  # type: ignore[arg-type]


def decided(policy: RetrainingPolicy, found: Facts, now: float = NOW) -> Decision:
    decision = decide(policy, found, now)
    assert decision is not None
    return decision


def test_the_shipped_file_is_the_defaults_of_the_code_key_by_key() -> None:
    assert tomllib.loads(CONFIG.read_text()) == json.loads(msgspec.json.encode(RetrainingPolicy()))


def test_a_drop_beyond_chance_and_season_starts_a_training() -> None:
    decision = decided(POLICY, facts(0.8))
    assert (decision.word, decision.reason) == ("train", "gain_shown")
    assert {each.trigger for each in decision.proposals} == {"time", "decay"}
    assert decision.weighed is not None
    assert decision.weighed.decay.value == pytest.approx(0.15)
    assert decision.weighed.gain.value == pytest.approx(0.075)


def test_age_alone_proposes_a_training_and_the_policy_declines_it_with_a_reason() -> None:
    decision = decided(POLICY, facts(0.94))
    assert [each.trigger for each in decision.proposals] == ["time"]
    assert (decision.word, decision.reason) == ("no", "gain_not_shown")
    assert "not shown to be more than 3 points that seasons may cost" in decision.detail


def test_the_error_of_a_regression_is_given_as_a_fraction_and_never_in_points_or_as_minus_zero() -> None:
    decision = decided(POLICY, facts(0.8, classifies=False))
    told = [decision.detail, *(each.detail for each in decision.proposals), *explain_decision(decision)]
    assert "the error on labels grew by 300.0 % of the error" in told
    assert not any("points" in words for words in told)
    assert change(Estimate(-1e-9, -0.02, 0.03), classifies=False) == "+0.0 [-2.0, +3.0] % of the error"


def test_a_drop_on_which_blocks_disagree_is_not_proven() -> None:
    assert decided(POLICY, facts(0.85)).reason == "gain_shown"
    assert decided(POLICY, facts(0.85, spread=0.15)).reason == "gain_not_shown"


def test_nothing_is_decided_without_a_proposal() -> None:
    assert decide(POLICY, facts(0.95, champion_at=NOW - DAY_S), NOW) is None


def test_a_training_that_costs_more_than_it_gains_is_declined_with_both_amounts() -> None:
    dear = replace(POLICY, costs=Costs(per_rollout=1e9))
    decision = decided(dear, facts(0.8))
    assert (decision.word, decision.reason) == ("no", "not_worth_it")
    assert "answers against 1000000040" in decision.detail
    many_bytes = replace(POLICY, costs=Costs(per_mb=1e9))
    assert decided(many_bytes, facts(0.8)).reason == "not_worth_it"


def test_too_few_labels_give_no_decision() -> None:
    few = facts(0.5, recent=cells(0.5, labels=10))
    assert decided(POLICY, few).reason == "too_few_labels"
    assert decided(POLICY, facts(0.5, reference=None)).reason == "too_few_labels"


def test_a_person_may_have_to_approve_and_may_ask_for_a_training_without_a_gain() -> None:
    assert decided(replace(POLICY, approval=True), facts(0.8)).word == "ask"
    wish = (Proposal("person", "a new sensor"),)
    decision = decided(POLICY, facts(0.95, champion_at=NOW, asked=wish))
    assert (decision.word, decision.reason, decision.detail) == ("train", "person_asks", "a new sensor")


def test_an_alert_proposes_a_training_only_if_the_policy_allows_it_and_needs_a_gain() -> None:
    alert = (Proposal("alert", "humidity moved"),)
    assert decided(POLICY, facts(0.95, champion_at=NOW, asked=alert)).reason == "gain_not_shown"
    deaf = replace(POLICY, triggers=replace(POLICY.triggers, alerts=False))
    assert decide(deaf, facts(0.95, champion_at=NOW, asked=alert), NOW) is None


@pytest.mark.parametrize("status", ["proposed", "approved", "running"])
def test_two_simultaneous_attempts_are_refused(status: str) -> None:
    open_one = replace(attempt(), status=status, ended_at=0.0)  # type: ignore[arg-type]
    assert decided(POLICY, facts(0.5, past=(open_one,))).reason == "under_way"


def test_a_candidate_in_progress_is_waited_for() -> None:
    assert decided(POLICY, facts(0.5, coming=4)).reason == "under_way"


def test_many_proposals_are_limited_by_cool_down_and_budget() -> None:
    wish = tuple(Proposal("person", f"wish {number}") for number in range(50))
    fresh = facts(0.5, past=(attempt(ended_at=NOW - DAY_S),), asked=wish)
    assert decided(POLICY, fresh).reason == "cool_down"
    spent = tuple(attempt("passed", NOW - days * DAY_S, 0.1) for days in (80, 70, 60, 50, 40, 30))
    assert decided(POLICY, facts(0.5, past=spent, asked=wish)).reason == "budget_spent"
    assert decided(POLICY, facts(0.5, past=spent[1:], asked=wish)).word == "train"
    heavy = replace(attempt("passed", NOW - 30 * DAY_S, 0.1), candidate_bytes=10**9)
    assert decided(POLICY, facts(0.5, past=(heavy,), asked=wish)).reason == "budget_spent"


def test_the_cool_down_doubles_while_attempts_do_not_improve_the_model() -> None:
    def days(*statuses: str) -> float:
        past = tuple(attempt(status, NOW) for status in statuses)
        return (cool_down_until(POLICY, past) - NOW) / DAY_S

    assert (days("passed"), days("stopped"), days("stopped", "failed")) == (3, 3, 6)
    assert days("stopped", "stopped", "failed") == 12
    assert days("stopped", "passed", "stopped") == 3
    assert days(*["stopped"] * 20) == 3 * 2**5
    assert cool_down_until(POLICY, ()) == 0


def test_the_expected_gain_falls_for_a_model_that_retraining_worsens() -> None:
    assert recoverable(0.5, ()) == 0.5
    assert recoverable(0.5, (attempt(), attempt())) == pytest.approx(0.5 / 3)
    assert recoverable(0.5, (attempt("passed", gain=0.08),)) == pytest.approx((0.5 + 0.8) / 2)
    assert recoverable(0.5, (attempt("passed", gain=9.0),)) == pytest.approx((0.5 + 1.5) / 2)
    assert recoverable(0.5, (attempt("failed"), attempt("declined"))) == 0.5


def test_a_silent_or_hanging_worker_ends_the_attempt_with_its_step() -> None:
    running = replace(attempt(), status="running", worker="lab", step="train", began_at=NOW, heard_at=NOW)
    policy = replace(POLICY, limits=Limits(run_s=1000.0, silent_s=100.0))
    assert died(policy, running, NOW + 99) == ""
    assert died(policy, running, NOW + 101) == "the worker lab fell silent in step train"
    heard = replace(running, heard_at=NOW + 1000)
    assert died(policy, heard, NOW + 1001) == "the pipeline hangs in step train: it ran longer than 1000 s"
    assert died(policy, replace(running, status="passed"), NOW + 1e6) == ""


def test_reasons_for_and_against_a_training_are_sentences() -> None:
    no = explain_decision(replace(decided(POLICY, facts(0.94)), times=7))
    assert no[0].startswith("Proposed by time: 40 days since the champion")
    assert no[1].startswith("No training was started: labelled quality changed by -1.0 [")
    assert no[1].endswith("It was decided so 7 times in a row.")
    failed = replace(attempt("failed"), step="train", detail="it raised ValueError: no rows")
    said = explain(failed)
    assert "The pipeline failed in step train and the champion v3 goes on serving." in said
    assert said[-1] == "it raised ValueError: no rows."


def test_the_variance_of_a_mean_is_the_larger_of_blocks_devices_and_rows() -> None:
    calm = mean_loss(cells(0.8, blocks=6))
    stormy = mean_loss(cells(0.8, blocks=6, spread=0.1))
    assert calm is not None
    assert stormy is not None
    assert calm.loss == stormy.loss == pytest.approx(0.2)
    assert calm.variance == pytest.approx(0.2 * 0.8 / 3000)
    assert stormy.variance > 10 * calm.variance
    apart = mean_loss([Cell(0, f"d{n}", 100, lost, lost) for n, lost in enumerate((5.0, 35.0, 5.0, 35.0))])
    assert apart is not None
    assert apart.variance > 5 * 0.2 * 0.8 / 400
    assert mean_loss([Cell(0, "d", 1, 0.0, 0.0)]) is None


def test_the_drop_of_a_regression_is_a_fraction_of_its_error() -> None:
    found = decay_of(Mean(2.0, 0.01, 10, 100), Mean(2.5, 0.01, 10, 100), 0.9, relative=True)
    assert found.value == pytest.approx(0.25)
    assert found.low < 0.25 < found.high


def test_newest_and_oldest_blocks_must_have_labels() -> None:
    some = [Cell(block, "d", 10, 1.0, 1.0) for block in (1, 5, 9)]
    assert [cell.block for cell in newest_cells(some, 2)] == [5, 9]
    assert [cell.block for cell in oldest_cells(some, 2)] == [1, 5]
