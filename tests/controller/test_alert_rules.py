"""What each measure finds, the sentences of its alert, and which files of rules are refused."""

import re
import tomllib
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.messages import SensorState, SinkState
from controller.alerts.check import idle_words, read_alert_file, why_idle
from controller.alerts.defaults import DEFAULTS
from controller.alerts.facts import Facts
from controller.alerts.measures import MEASURES, wilson_interval
from controller.alerts.rule import AlertmanagerReceiver, MailReceiver, MeasureName, Rule, WebhookReceiver
from controller.alerts.shown import alert_view, effect_words
from controller.fleet.expiry import DAY_S
from controller.health import Finding
from controller.watcher.departure import Departure
from edgeward.cli.main import cli
from tests.controller.alert_worlds import ROOT, SHIPPED, START, facts, failed_on, found, of_model, said, the_only, twin

SENSOR = SensorState(name="serial-1", kind="serial", model="m", state="waiting", error="no such port", row_age_s=9e3)
SINK = SinkState(name="webhook-1", kind="webhook", state="failing", error="HTTP 500")
LEAKS = Departure(
    device="a", at=START, times=3.0, figure="rss_mb", sort="level", spreads=12.0, past_h=336,
    says="memory is 131 MB; 88 to 92 MB is usual at this hour: 12 of its spreads away",
)  # fmt: skip
LATER = START + 400
CASES: dict[str, tuple[dict[str, Any], Facts, dict[str, str], str]] = {
    "offline_ratio": (
        {"above": 0.4}, facts(twin("a"), twin("b"), now=LATER), {}, "2 of 2 devices are offline or silent",
    ),
    "unheard_s": ({"above": 300}, facts(twin("a"), now=LATER), {"device": "a"}, "was last heard 400 s ago"),
    "device_fault": (
        {"codes": ("disk_full",)}, facts(twin("a", faults={"disk_full": "0 B", "x": "y"})),
        {"device": "a", "code": "disk_full"}, "disk_full: 0 B",
    ),
    "clock_off_s": (
        {"above": 120}, facts(twin("a", at=int(START) + 500)), {"device": "a"}, "500 s ahead of the controller's",
    ),
    "expiry_days": (
        {"below": 7}, facts(twin("a", expiries={"certificate": int(START + 2 * DAY_S)})), {"device": "a"},
        "ends in 2.0 days",
    ),
    "sensor_failing": (
        {}, facts(twin("a", sensors=(SENSOR,))), {"sensor": "serial-1"}, "waiting: no such port",
    ),
    "sensor_row_age_s": (
        {"above": 3600}, facts(twin("a", sensors=(SENSOR,))), {"sensor": "serial-1"}, "its last row 9000 s ago",
    ),
    "sink_failing": ({}, facts(twin("a", sinks=(SINK,))), {"sink": "webhook-1"}, "failing: HTTP 500"),
    "rollout_stopped": (
        {}, facts(rollouts=(of_model("paused", reason="too slow"),)), {"model": "m"}, "is paused: too slow",
    ),
    "version_rolled_back": ({}, facts(rollouts=(of_model("rolled_back"),)), {"model": "m"}, "is rolled back"),
    "rolled_back_ratio": (
        {"above": 0.3, "min_devices": 5}, facts(*(failed_on(f"d{n}", 4, "rolled_back") for n in range(9))),
        {"model": "m", "release": "4"}, "rolled back or rejected by 9 of 9 devices",
    ),
    "controller_finding": (
        {"codes": ("disk_low",)}, facts(findings=(Finding(code="disk_low", detail="1 MB are free"),)),
        {"code": "disk_low"}, "1 MB are free",
    ),
    "contract_breach_ratio": ({}, facts(signals=(said(),)), {"model": "m"}, "0.2 [0.15, 0.25] of the rows break"),
    "estimated_quality": (
        {"below": 0.8}, facts(signals=(said(kind="estimated_quality", value=0.7, low=0.68, high=0.72),)),
        {"model": "m"}, "0.7 [0.68, 0.72] is the quality",
    ),
    "vitals_departure": (
        {}, facts(twin("a"), departures=(LEAKS, replace(LEAKS, device="gone"))), {"device": "a"},
        "a: memory is 131 MB; 88 to 92 MB is usual",
    ),
}  # fmt: skip


def test_every_measure_has_a_case() -> None:
    assert set(CASES) == set(MEASURES) == set(get_args(MeasureName))


MADE_ELSEWHERE = {"edgeward model drift m"}
"""Commands of the room that makes signals, which may not be here yet."""


def is_a_command(line: str) -> bool:
    """Returns whether the words of a line name a command of the CLI."""
    program, group, name, *_ = line.split()
    found = cli.commands[group]
    return program == "edgeward" and (line in MADE_ELSEWHERE or name in getattr(found, "commands", {}))


@pytest.mark.parametrize("measure", CASES)
def test_a_measure_finds_its_fault_and_names_all_that_people_need(measure: Any) -> None:
    keys, judged, labels, words = CASES[measure]
    view = alert_view(the_only(found(Rule(name="R", measure=measure, **keys), judged)))
    assert view.labels == {**view.labels, **labels, "alertname": "R", "severity": "warning"}
    assert words in view.annotations["description"]
    assert f"n = {view.n} {view.of}" in view.annotations["test"]
    assert view.annotations["effect"]
    assert view.annotations["clears"].startswith("It ends when ")
    assert is_a_command(view.annotations["look"])
    assert view.n >= 1


@pytest.mark.parametrize("measure", CASES)
def test_a_measure_finds_nothing_in_a_healthy_fleet(measure: Any) -> None:
    keys, *_ = CASES[measure]
    well = facts(
        *(failed_on(f"d{n}", 4, "confirmed") for n in range(9)),
        twin("a", expiries={"certificate": int(START + 90 * DAY_S)}, sensors=(SensorState(
            name="s", kind="serial", model="m", state="running", row_age_s=1.0),)),
        rollouts=(of_model("completed"),), signals=(said(low=0.05), said(kind="estimated_quality", high=0.95)),
    )  # fmt: skip
    assert found(Rule(name="R", measure=measure, **keys), well) == {}


SAID = {
    "offline_ratio": ("ratio", "devices", "device list"), "unheard_s": ("s", "devices", "device show a"),
    "device_fault": ("faults", "devices", "device show a"), "clock_off_s": ("s", "devices", "device show a"),
    "expiry_days": ("days", "devices", "device show a"), "sensor_failing": ("sensors", "devices", "device show a"),
    "sensor_row_age_s": ("s", "devices", "device show a"), "sink_failing": ("sinks", "devices", "device show a"),
    "rollout_stopped": ("rollouts", "devices", "rollout explain r"),
    "version_rolled_back": ("rollouts", "devices", "rollout explain r"),
    "rolled_back_ratio": ("ratio", "devices", "model show m"),
    "controller_finding": ("findings", "controllers", "audit list"),
    "contract_breach_ratio": ("ratio", "rows of 12 devices", "model drift m"),
    "estimated_quality": ("ratio", "rows of 12 devices", "model drift m"),
    "vitals_departure": ("thresholds", "hours of its past", "device vitals a"),
}  # fmt: skip


@pytest.mark.parametrize("measure", CASES)
def test_a_measure_names_its_unit_what_it_counts_and_the_command_to_use(measure: Any) -> None:
    keys, judged, *_ = CASES[measure]
    reading = the_only(found(Rule(name="R", measure=measure, **keys), judged)).reading
    unit, of, look = SAID[measure]
    assert (reading.unit, reading.of) == (unit, of)
    assert reading.look.startswith(f"edgeward {look}")


def test_the_page_names_every_measure_with_the_keys_that_it_reads() -> None:
    page = (ROOT / "docs" / "guides" / "alerts.md").read_text()
    rows = {cells[0]: set(cells[1:]) for line in page.splitlines() if (cells := re.findall(r"`(\w+)`", line))}
    for name, measure in MEASURES.items():
        assert rows[name] == measure.keys, name


@pytest.mark.parametrize("measure", [name for name in CASES if "selector" in MEASURES[name].keys])  # type: ignore[index]
def test_a_selector_excludes_other_devices(measure: Any) -> None:
    keys, judged, *_ = CASES[measure]
    assert found(Rule(name="R", measure=measure, selector={"site": "elsewhere"}, **keys), judged) == {}


def test_expiring_certificates_and_roles_of_the_controller_are_found_with_their_commands() -> None:
    own = {"role root": START + DAY_S, "authority ca": START - DAY_S, "certificate server": START + 90 * DAY_S}
    alerts = found(Rule(name="R", measure="expiry_days", below=7.0), facts(own_expiries=own))
    told = {(each.labels["what"], each.reading.look, each.reading.detail) for each in alerts.values()}
    assert told == {
        ("role root", "edgeward trust status", "the controller's role root ends in 1.0 days"),
        ("authority ca", "edgeward certificate list", "the controller's authority ca ended 1.0 days ago"),
    }
    narrow = Rule(name="R", measure="expiry_days", below=7.0, selector={"site": "a"})
    assert found(narrow, facts(own_expiries=own)) == {}, "a rule about some devices is not about the controller"


def test_a_value_is_printed_with_its_interval_and_limit_if_it_has_them() -> None:
    named: tuple[Any, ...] = ("unheard_s", "device_fault", "contract_breach_ratio")
    alerts = {each: the_only(found(Rule(name="R", measure=each, **CASES[each][0]), CASES[each][1])) for each in named}
    words = {each: effect_words(alert.reading) for each, alert in alerts.items()}
    assert words == {
        "unheard_s": "400 s, limit 300", "device_fault": "1 faults",
        "contract_breach_ratio": "0.2 [0.15, 0.25] ratio, limit 0.1",
    }  # fmt: skip


def test_an_estimate_alerts_with_its_whole_interval_and_only_while_it_is_valid() -> None:
    rule = Rule(name="R", measure="contract_breach_ratio")
    assert found(rule, facts(signals=(said(low=0.09),))) == {}, "across the limit"
    assert found(rule, facts(signals=(said(valid=False),))) == {}
    assert found(Rule(name="R", measure="contract_breach_ratio", above=0.16), facts(signals=(said(),))) == {}
    assert found(Rule(name="R", measure="contract_breach_ratio", model="other"), facts(signals=(said(),))) == {}


def test_three_failures_of_three_devices_do_not_prove_a_rate_above_half() -> None:
    rule = Rule(name="R", measure="rolled_back_ratio", above=0.5)
    three, five = ([failed_on(f"d{n}", 4, "rejected") for n in range(count)] for count in (3, 5))
    assert found(rule, facts(*three)) == {}
    reading = the_only(found(rule, facts(*five))).reading
    assert (reading.low, reading.high, reading.n) == (pytest.approx(0.5655, abs=1e-4), 1.0, 5)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(5, 50) == (pytest.approx(0.0435, abs=1e-4), pytest.approx(0.2136, abs=1e-4))


def test_trials_that_ended_because_another_version_was_asked_for_are_no_failures() -> None:
    rule = Rule(name="R", measure="rolled_back_ratio", above=0.05)
    for code in ("superseded", "pinned"):
        assert found(rule, facts(*(failed_on(f"d{n}", 2, "rolled_back", code) for n in range(9)))) == {}


def test_a_ratio_is_computed_for_each_value_of_a_label() -> None:
    twins = [twin(f"n{n}", labels={"site": "north"}) for n in range(2)]
    twins += [twin(f"s{n}", LATER, labels={"site": "south"}) for n in range(8)]
    assert found(Rule(name="R", measure="offline_ratio", above=0.5), facts(*twins, now=LATER)) == {}
    alert = the_only(found(Rule(name="R", measure="offline_ratio", above=0.5, by="site"), facts(*twins, now=LATER)))
    assert (alert.labels["site"], alert.reading.n) == ("north", 2)


def test_devices_are_not_missing_before_a_new_controller_could_have_heard_them() -> None:
    rule = Rule(name="R", measure="unheard_s", above=300)
    loaded = facts(twin("a"), now=START + 5_000, started_at=START + 4_900)
    assert found(rule, loaded) == {}
    assert len(found(rule, facts(twin("a"), now=START + 5_000, started_at=START + 4_000))) == 1


def test_a_later_rollout_or_a_withdrawal_ends_the_alert_of_a_rolled_back_one() -> None:
    rule, back = Rule(name="R", measure="version_rolled_back"), of_model("rolled_back", began_at=5.0)
    assert len(found(rule, facts(rollouts=(back,)))) == 1
    assert found(rule, facts(rollouts=(back, of_model("running", id="r2", began_at=6.0)))) == {}
    assert found(rule, facts(rollouts=(back,), withdrawn={("m", back.release): "bad"})) == {}


def test_labels_that_a_device_sets_do_not_replace_those_of_the_rule() -> None:
    hostile = twin("a", labels={"severity": "info", "alertname": "Nothing", "device": "b", "site": "north"})
    alert = the_only(
        found(Rule(name="R", measure="unheard_s", above=300, severity="critical"), facts(hostile, now=LATER))
    )
    assert alert.labels == {"severity": "critical", "alertname": "R", "device": "a", "site": "north"}


def test_the_shipped_file_equals_the_rules_of_the_code() -> None:
    assert read_alert_file(SHIPPED.read_text(), "alerts.toml") == DEFAULTS


def test_the_receivers_in_the_comments_of_the_shipped_file_are_valid() -> None:
    text = re.sub(r"^#(?! )", "", SHIPPED.read_text(), flags=re.MULTILINE)
    to = ("operators@plant.example",)
    assert read_alert_file(text, "alerts.toml").receiver == (
        WebhookReceiver(
            name="on_call", url="https://hooks.example/edgeward", secret_file="hook.secret",
            match={"severity": "critical"}, group_by=("alertname",), group_wait_s=10.0, group_interval_s=300.0,
            repeat_s=14_400.0, send_resolved=True,
        ),
        MailReceiver(
            name="operators", host="smtp.example", sender="edgeward@plant.example", to=to, user="edgeward",
            password_file="smtp.password", port=587, security="starttls",
        ),
        AlertmanagerReceiver(name="prometheus", url="http://127.0.0.1:9093"),
    )  # fmt: skip


def test_receivers_use_the_waits_of_the_shipped_file_unless_they_name_others() -> None:
    hook, am = WebhookReceiver(name="h", url="http://x"), AlertmanagerReceiver(name="a", url="http://x")
    waits = [(each.group_wait_s, each.group_interval_s, each.repeat_s, each.group_by) for each in (hook, am)]
    assert waits == [(10.0, 300.0, 14_400.0, ("alertname",)), (0.0, 15.0, 60.0, ())]


HEAD = '[[rule]]\nname = "A"\nmeasure = '
RECEIVER = '[[receiver]]\nname = "m"\nkind = '
MAIL = '"mail"\nhost = "smtp.example"\nsecurity = "none"\nsender = "a@b"\nto = ["c@d"]\n'
MALFORMED = {
    f'{HEAD}"offline_ratio"\nabove = 1.5\n': "a.toml:4: A: above = 1.5: a ratio lies between",
    f'{HEAD}"offline_ratio"\n': "a.toml:3: A: offline_ratio needs a limit: add above",
    f'{HEAD}"expiry_days"\nbelow = nan\n': "a.toml:4: A: below = nan: expected a finite",
    f'{HEAD}"sensor_failing"\n\ncodes = ["x"]\n': "a.toml:5: A: sensor_failing does not look at codes",
    f'{HEAD}"rain"\n': "a.toml:3: Invalid enum value 'rain'",
    f'{HEAD}"unheard_s"\nabov = 3\n': "a.toml:4: Object contains unknown field `abov`",
    f'{HEAD}"sink_failing"\n{HEAD}"sink_failing"\n': "a.toml:2: two rules are called A",
    '[[rule]]\nname = "A b"\nmeasure = "sink_failing"\n': "a.toml:2: Expected `str` matching regex",
    "[[rule": "a.toml: Expected",
    f"{RECEIVER}{MAIL}": "a.toml:5: m: mail to smtp.example would travel unencrypted",
    f'{RECEIVER}"pigeon"\n': "a.toml:3: Invalid value 'pigeon'",
    f'{RECEIVER}"webhook"\nurl = "ftp://x"\n': "a.toml:4: Expected `str` matching regex",
}


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_file_is_refused_with_its_line(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_alert_file(text, "a.toml")
    assert caught.value.code == Code.ALERT_RULE_INVALID
    assert caught.value.detail.startswith(MALFORMED[text])


def test_a_rule_that_cannot_trip_on_this_fleet_is_explained_in_devices_and_hours() -> None:
    fleet = facts(*(twin(f"d{n}", labels={"site": "ab"[n % 2]}) for n in range(3)))
    words = (
        (Rule(name="R", measure="offline_ratio", above=0.2, min_devices=5), "the fleet has 3: 2 too few"),
        (Rule(name="R", measure="offline_ratio", above=0.2, min_devices=3, by="site"), "by site has 2: 1 too few"),
        (Rule(name="R", measure="offline_ratio", above=0.2, by="hall"), "none of 3 devices has the label hall"),
        (Rule(name="R", measure="sensor_failing", selector={"site": "z"}), "none of 3 devices has site=z"),
        (Rule(name="R", measure="unheard_s", above=36), "less than the 90 s (0.025 h)"),
        (Rule(name="R", measure="rolled_back_ratio", above=0.6), "lower end of the 95 % interval would be 0.439"),
        (Rule(name="R", measure="rollout_stopped", model="x"), "there is no model 'x'"),
    )
    assert [text for rule, text in words if text not in why_idle(rule, fleet)] == []
    assert "that takes 6 devices" in why_idle(Rule(name="R", measure="rolled_back_ratio", above=0.6), fleet)
    assert why_idle(Rule(name="R", measure="offline_ratio", above=0.2, min_devices=5), facts()) == "", "none has come"


def test_the_line_of_a_rule_that_cannot_trip_is_named_and_the_shipped_rules_fit_a_fleet_of_ten() -> None:
    text = '\n[[rule]]\nname = "A"\nmeasure = "sensor_failing"\nselector = { site = "z" }\n'
    idle = idle_words(text, read_alert_file(text, "a.toml"), "a.toml", facts(twin("d")))
    assert idle["A"].startswith("a.toml:2: A: none of 1 devices has site=z")
    ten = facts(*(twin(f"d{n}") for n in range(10)))
    assert idle_words(SHIPPED.read_text(), DEFAULTS, "a.toml", ten) == {}


def test_every_key_of_the_shipped_file_is_one_that_its_measure_reads() -> None:
    for table in tomllib.loads(SHIPPED.read_text())["rule"]:
        of_all = {"name", "measure", "for_s", "keep_s", "severity", "labels", "summary"}
        assert set(table) - of_all <= MEASURES[table["measure"]].keys


def test_unencrypted_mail_is_allowed_to_a_server_on_this_machine() -> None:
    text = '[[receiver]]\nname="m"\nkind="mail"\nhost="localhost"\nsecurity="none"\nsender="a@b"\nto=["c@d"]\n'
    assert isinstance(read_alert_file(text, "a.toml").receiver[0], MailReceiver)
