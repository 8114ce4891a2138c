"""Edges of what passes keep: failures after the end, sums with limits, rows from the store, verdicts and a start."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contract.captured import Captured
from contract.messages import Ack, Heartbeat, MetricSums, ModelState, UpdateOutcome
from controller.fleet.twin import Twin
from controller.reconcile.decisions import Changes, reconcile
from controller.reconcile.deeds import Deed
from controller.reconcile.durable import FleetRecords
from controller.reconcile.failed_there import UNKNOWN_ROLLOUT, keep_from_failed, news_of_failures
from controller.reconcile.fold import MAX_PREDICTIONS, fold
from controller.reconcile.measured import HISTORY_S, belongs, fleet_rows, marks_of, open_marks, rows_of
from controller.reconcile.one_pass import Unsaved
from controller.reconcile.series import VerdictPoint, points_of
from controller.reconcile.world import Retired, World, drop_twin
from controller.rollout.endings import Ending
from controller.rollout.facts import MAX_CODES, DeviceFact, Sums
from controller.rollout.model import Member, Rollout, Rule
from controller.rollout.rows import Rows
from controller.rollout.verdict import RuleVerdict
from firmware_sim.durable import DurableTables
from tests.controller.reconcile_worlds import (
    STRATEGY,
    V1,
    V2,
    beat,
    campaign,
    interval,
    report,
    state,
    telemetry,
    world,
)

# Failures that come after the end.


def ended(result: Any = "rolled_back", code: str = "health_accuracy", **fields: Any) -> UpdateOutcome:
    return UpdateOutcome(**{"generation": 1, "version": V2, "result": result, "code": code, "detail": "0.5", **fields})


def says(outcome: UpdateOutcome | None, model: str = "m") -> Twin:
    return Twin("a", reported={model: ModelState(model=model, phase="steady", generation=1, outcome=outcome)})


def test_failures_are_new_if_the_earlier_twin_does_not_have_them() -> None:
    assert list(news_of_failures(Twin("a"), says(ended()))) == [("a", "m", ended())]
    assert list(news_of_failures(says(None), says(ended()))) == [("a", "m", ended())]
    assert list(news_of_failures(says(ended()), says(ended()))) == []
    assert list(news_of_failures(says(ended()), says(ended(generation=2)))) == [("a", "m", ended(generation=2))]
    assert list(news_of_failures(Twin("a"), says(None))) == []


@pytest.mark.parametrize(
    ("result", "code", "is_news"),
    [
        ("rolled_back", "health_accuracy", True),
        ("rejected", "probe_mismatch", True),
        ("rejected", "transfer_stalled", False),
        ("rolled_back", "superseded", False),
        ("rolled_back", "device_sick", False),
        ("confirmed", "", False),
        ("shadowed", "", False),
    ],
)
def test_only_a_failure_that_will_repeat_counts(result: str, code: str, is_news: bool) -> None:
    assert bool(list(news_of_failures(Twin("a"), says(ended(result, code))))) is is_news


SENT_BACK = Ending(outcome="sent_back", detail="rollback by ada")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, "r"),
        ({"model": "n"}, UNKNOWN_ROLLOUT),
        ({"digest": "3" * 64, "forms": ()}, UNKNOWN_ROLLOUT),
        ({"members": (Member(device="b", wave=0),)}, UNKNOWN_ROLLOUT),
        ({"members": (Member(device="a", wave=0),)}, "r"),
        ({"members": (Member(device="a", wave=1),)}, UNKNOWN_ROLLOUT),
        ({"members": (Member(device="a", wave=1),), "wave": 1}, "r"),
    ],
)
def test_a_failure_belongs_to_the_rollout_that_offered_the_version(changes: dict[str, Any], found: str) -> None:
    made = world(campaign("a", status="rolled_back", **changes))
    made.durable.endings["r"] = {"a": SENT_BACK, "b": SENT_BACK}
    kept_from, endings = keep_from_failed(made, [("a", "m", ended())])
    assert made.durable.quarantine == {"a": {V2.digest: found}}
    assert (kept_from, endings) == ({"a"}, {("r", "a")} if found == "r" else set())
    assert made.durable.endings["r"]["b"] == SENT_BACK


def test_a_failure_belongs_to_the_newest_of_several_rollouts() -> None:
    made = world(campaign("a", id="r1"), campaign("a", id="r2"), campaign("a", id="r3", model="n"))
    keep_from_failed(made, [("a", "m", ended())])
    assert made.durable.quarantine == {"a": {V2.digest: "r2"}}


@pytest.mark.parametrize(("result", "word"), [("rolled_back", "failed"), ("rejected", "rejected")])
def test_a_device_rolled_back_by_itself_gets_its_code_and_text(result: str, word: str) -> None:
    made = world(campaign("a", status="rolled_back"))
    made.durable.endings["r"] = {"a": SENT_BACK}
    keep_from_failed(made, [("a", "m", ended(result))])
    assert made.durable.endings["r"]["a"] == Ending(outcome=word, code="health_accuracy", detail="0.5")  # type: ignore[arg-type]


@pytest.mark.parametrize("kept", [{}, {"a": Ending(outcome="succeeded")}, {"a": Ending(outcome="failed", code="x")}])
def test_every_other_outcome_is_unchanged(kept: dict[str, Ending]) -> None:
    made = world(campaign("a", status="rolled_back"))
    made.durable.endings["r"] = dict(kept)
    assert keep_from_failed(made, [("a", "m", ended())]) == ({"a"}, set())
    assert made.durable.endings["r"] == kept


def test_a_release_is_quarantined_once_under_the_name_of_the_first_rollout() -> None:
    made = world(campaign("a"), quarantine={"a": {V2.digest: "r0"}})
    assert keep_from_failed(made, [("a", "m", ended())]) == (set(), set())
    assert made.durable.quarantine == {"a": {V2.digest: "r0"}}


def test_a_release_missing_in_the_registry_is_not_quarantined() -> None:
    lacks = World(silent_s=90.0, registered={"m": {2: frozenset({"0" * 64})}})
    assert keep_from_failed(lacks, [("a", "m", ended())]) == (set(), set())
    assert lacks.durable.quarantine == {}


def test_a_late_failure_is_audited_beside_those_of_the_same_pass() -> None:
    over = campaign("a", id="over", status="rolled_back")
    made = world(over, campaign("b", id="open"))
    reconcile(made, [beat("a"), beat("b")], 0.0)
    late, now = report("a", state=state(outcome=ended(generation=0))), report("b", state=state(outcome=ended()))
    done = reconcile(made, [late, now], 1.0)
    assert Deed("device quarantine", "a", "m v2 failed there: health_accuracy 0.5") in done.deeds
    assert Deed("device quarantine", "b", "m v2 failed there in open: health_accuracy 0.5") in done.deeds
    assert done.quarantined == {"a", "b"}


# Sums with limits.


def test_codes_of_refused_rows_are_limited_in_number_and_known_ones_are_updated() -> None:
    made = world()
    fold(made, *telemetry(interval(faults={f"c{number}": "old" for number in range(MAX_CODES - 1)})), 0.0)
    fold(made, *telemetry(interval(faults={"c0": "new", "last": "fits"}), seq=2), 0.0)
    fold(made, *telemetry(interval(faults={"c1": "newer", "more": "too many"}), seq=3), 0.0)
    found = made.measured.faults["a", "m", 2]
    assert len(found) == MAX_CODES
    assert (found["c0"], found["c1"], found["last"], found.get("more")) == ("new", "newer", "fits", None)
    fold(made, *telemetry(interval(V1, faults={"x": "of another release"}), seq=4), 0.0)
    assert made.measured.faults["a", "m", 1] == {"x": "of another release"}
    assert set(made.measured.faults) == {("a", "m", 2), ("a", "m", 1)}


def test_answers_and_divergences_are_summed_by_model_and_release_and_rare_answers_are_others() -> None:
    made = world()
    names = {f"l{number}": 1 for number in range(MAX_PREDICTIONS - 1)}
    fold(made, *telemetry(interval(predictions=names, divergence=(1, 2))), 0.0)
    more = interval(predictions={"l0": 2, "last": 3, "rare": 4, "rarer": 5}, divergence=(0, 1, 1))
    fold(made, *telemetry(more, interval(V1, predictions={"l0": 7}, divergence=(9,)), device="b"), 0.0)
    found = made.measured.predictions["m", 2]
    assert (found["l0"], found["last"], found["other"], found.get("rare")) == (3, 3, 9, None)
    assert made.measured.predictions["m", 1] == {"l0": 7}
    assert made.measured.divergences == {("m", 2): (1, 3, 1), ("m", 1): (9,)}


def test_codes_of_refused_rows_and_application_metrics_are_summed_by_name() -> None:
    many = Sums(refused={f"c{number}": 1 for number in range(MAX_CODES - 1)})
    found = many.plus(Sums(refused={"c0": 2, "last": 3, "more": 4, "too": 5})).refused
    assert (found["c0"], found["last"], found["other"], len(found)) == (3, 3, 9, MAX_CODES + 1)
    assert Sums(refused={"a": 1}).plus(Sums()).refused == {"a": 1}
    ours = Sums(metrics={"kept": MetricSums(count=1, sum=2.0)})
    both = ours.plus(Sums(metrics={"kept": MetricSums(count=2, sum=3.0), "new": MetricSums(count=1)})).metrics
    assert (both["kept"].count, both["kept"].sum, both["new"].count) == (3, 5.0, 1)


def test_r2_is_known_for_two_different_labels_and_not_for_one() -> None:
    two = Sums(measured=2, squared_error_sum=0.5, label_sum=3.0, squared_label_sum=5.0)
    assert two.r2 == pytest.approx(1.0 - 0.5 / (5.0 - 9.0 / 2))
    assert replace(two, measured=1).r2 is None


# Rows from the store.

BEGAN = HISTORY_S + 90.0
PAST = [
    ("a", 1, 0.0, Sums(inferences=1)),
    ("a", 1, 120.0, Sums(inferences=2)),
    ("a", 2, 120.0, Sums(inferences=4)),
    ("a", 2, HISTORY_S + 60.0, Sums(inferences=8)),
    ("b", 2, HISTORY_S + 60.0, Sums(inferences=16)),
]


def stored(*rollouts: Rollout) -> tuple[World, list[tuple[str, float]]]:
    asked = []

    def past(model: str, since: float) -> Any:
        asked.append((model, since))
        return iter(PAST)

    return world(*rollouts, past=past), asked


def inferences(rows: Rows) -> list[tuple[str, float, bool, float]]:
    table = rows.table()
    columns = zip(table.device, table.start, table.treated, table.column("inferences"), strict=True)
    return [(table.names[device], float(start), bool(ours), float(count)) for device, start, ours, count in columns]


def test_a_rollout_reads_two_days_of_its_members_and_its_release_since_its_start() -> None:
    made, asked = stored(begun := campaign("a", began_at=BEGAN))
    rows = rows_of(made, begun)
    assert inferences(rows) == [("a", 120.0, False, 2.0), ("a", HISTORY_S + 60.0, True, 8.0)]
    assert asked == [("m", 90.0)]
    assert rows_of(made, begun) is rows, "it is read once"
    assert len(asked) == 1


def test_before_a_rollout_starts_every_running_version_counts_as_the_past() -> None:
    made, asked = stored()
    assert inferences(fleet_rows(made, campaign("a"), BEGAN)) == [
        ("a", 0.0, False, 1.0), ("a", 120.0, False, 6.0), ("a", HISTORY_S + 60.0, False, 8.0),
    ]  # fmt: skip
    assert asked == [("m", 90.0)]


def test_the_minute_in_which_a_rollout_starts_belongs_to_it() -> None:
    begun = campaign("a", began_at=BEGAN, evidence_since=BEGAN + 60.0)
    assert belongs(begun, HISTORY_S + 60.0, treated=True)
    assert not belongs(begun, HISTORY_S + 59.0, treated=True)
    assert (belongs(begun, 90.0, treated=False), belongs(begun, 89.0, treated=False)) == (True, False)
    assert marks_of(begun) == (HISTORY_S + 120.0, HISTORY_S + 180.0)
    assert marks_of(campaign(began_at=120.0, evidence_since=60.0)) == (120.0, 60.0)
    made = world(begun, campaign(id="over", status="completed", began_at=1e6), campaign(id="on", status="paused"))
    assert open_marks(made) == (HISTORY_S + 120.0, HISTORY_S + 180.0, 0.0, 0.0)


def test_a_deleted_device_leaves_only_its_place_in_rollouts() -> None:
    made = world(campaign("a", "b"))
    reconcile(made, [beat("a"), beat("b")], 0.0)
    fold(made, *telemetry(interval(), device="a"), 1.0)
    fold(made, *telemetry(interval(), device="b"), 1.0)
    made.caches.reordered |= {"a", "b"}
    drop_twin(made, "a")
    measured, caches = made.measured, made.caches
    for kept in (made.durable.twins, measured.traffic, measured.heard, measured.versions, caches.published_at):
        assert set(kept) == {"b"}
    assert set(measured.totals) == {("b", "m", 2)}
    assert {device for device, *_ in inferences(measured.rows["r"])} == {"b"}
    assert (caches.waiting, caches.reordered, "a" in caches.changed) == ({"b"}, {"b"}, True)


# What passes leave to each other.


def point(word: str = "fail", at: float = 1.0, is_news: bool = False) -> VerdictPoint:
    return VerdictPoint("r", at, RuleVerdict("error_ratio", word, "why"), is_news)  # type: ignore[arg-type]


def test_changes_that_are_not_yet_durable_are_merged() -> None:
    kept = Unsaved()
    for name in ("a", "b"):
        kept.take(
            Changes(
                redesired=frozenset({name}),
                unheard=frozenset({f"{name}-unheard"}),
                rollouts=(campaign(id=name),),
                restarted=frozenset({f"{name}-restarted"}),
                quarantined=frozenset({f"{name}-kept from"}),
                endings=frozenset({("r", name)}),
                deeds=(Deed("did", name),),
                acks=((name, Ack(boot=1, seq=1)),),
                reports=(report(name),),
                heartbeats=(beat(name),),
                verdicts=(point(at=1.0), point(at=2.0, is_news=name == "b")),
            ),
            [(name, Captured(protocol=1, device=name, boot=2, seq=3, rows=()))],
        )
    assert (kept.redesired, kept.rollouts) == ({"a", "b"}, {"a", "b"})
    assert (kept.unheard, kept.restarted) == ({"a-unheard", "b-unheard"}, {"a-restarted", "b-restarted"})
    assert (kept.quarantined, kept.endings) == ({"a-kept from", "b-kept from"}, {("r", "a"), ("r", "b")})
    assert [deed.subject for deed in kept.deeds] == ["a", "b"]
    assert [device for device, _ in kept.reports] == list(kept.heartbeats) == ["a", "b"]
    assert kept.acks == [
        ("a", Ack(boot=1, seq=1)), ("a", Ack(boot=2, seq=3)), ("b", Ack(boot=1, seq=1)), ("b", Ack(boot=2, seq=3)),
    ]  # fmt: skip
    assert [device for device, _ in kept.captured] == ["a", "b"]
    assert (len(kept.verdicts), kept.news) == (4, [point(at=2.0, is_news=True)])


def test_a_verdict_is_stored_when_its_status_is_new_and_then_less_and_less_often() -> None:
    made, begun = world(), campaign(began_at=1000.0)
    verdict = RuleVerdict("error_ratio", "pass", "why", stratum="arm", rule=1)

    def kept(now: float, word: Any = "pass") -> list[bool]:
        return [each.is_news for each in points_of(made, begun, [replace(verdict, word=word)], now)]

    assert kept(1000.0) == [True]
    assert (kept(1059.9), kept(1060.0)) == ([], [False])
    assert kept(1061.0, "fail") == [True]
    assert kept(11_000.0, "fail") == [False]
    assert (kept(11_203.0, "fail"), kept(11_205.0, "fail")) == ([], [False])
    other = [replace(verdict, stratum="x86"), replace(verdict, rule=2, word="fail")]
    assert [each.verdict for each in points_of(made, begun, other, 11_205.0)] == other
    assert made.measured.told["r", 1, "arm"] == (11_205.0, "fail")


# A start.


def restarted(tables: DurableTables, *words: tuple[str, Heartbeat]) -> tuple[World, FleetRecords]:
    records = FleetRecords(tables)
    said = {device: msgspec.json.encode(each) for device, each in words}
    return records.load_world(said, 90.0), records


def test_a_restarted_controller_knows_the_versions_of_devices_and_not_the_time_of_their_last_message() -> None:
    found, records = restarted(DurableTables(), beat("a", 7, models=(state(stable=V2),)))
    twin = found.durable.twins["a"]
    assert (twin.connected, twin.seen_at, twin.clock, twin.clock_off_s) == (None, None, None, 0.0)
    assert twin.reported["m"].stable == V2
    assert (found.silent_s, found.caches.joining, records.unreadable) == (90.0, {"a"}, {})


def test_unreadable_rows_are_named_by_table_and_key_and_the_others_are_read() -> None:
    tables = DurableTables()
    kept = {name: {"a": b"{"} for name in ("retired", "quarantine", "rollouts", "endings", "devices", "members")}
    tables.write({**kept, "deliveries": {"x/y": b"{"}})
    tables.write({"quarantine": {"b": b'{"digest":"r"}'}, "devices": {"no/name": b"{}"}})
    found, records = restarted(tables, ("no/name", beat()[1]))
    assert set(records.unreadable) == {
        "retired a", "quarantine a", "rollouts a", "endings a", "devices a", "members a", "deliveries x/y",
        "devices 'no/name'", "last words 'no/name'",
    }  # fmt: skip
    assert records.unreadable["devices 'no/name'"] == "no device may have this name"
    assert found.durable.quarantine == {"b": {"digest": "r"}}


def test_facts_of_a_device_say_that_it_has_not_left() -> None:
    assert DeviceFact("a", "online", None, None).retired is False


def test_a_rule_that_fails_in_a_pass_is_a_point_of_its_series() -> None:
    rule = Rule(metric="error_ratio", threshold=0.1)
    made = world(campaign("a", strategy=replace(STRATEGY, rules=(rule,))))
    reconcile(made, [beat()], 0.0)
    found = reconcile(made, [telemetry(interval(inferences=500, errors=400))], 60.0)
    assert [(each.rollout, each.verdict.word, each.is_news) for each in found.verdicts] == [("r", "fail", True)]
    assert found.deeds[-1].action == "rollout rollback"
    assert [(each.device, each.seq, each.interval.inferences) for each in found.measured] == [("a", 1, 500)]


def test_a_restarted_controller_still_ignores_retired_devices() -> None:
    tables = DurableTables()
    tables.write({"retired": {"a": msgspec.json.encode(Retired(at="2026-11-27T10:00:00+00:00", by="ada"))}})
    found, _ = restarted(tables, beat("a"), beat("b"))
    assert sorted(found.durable.twins) == ["b"]
    assert found.durable.retired["a"].by == "ada"
