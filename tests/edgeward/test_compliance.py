"""The report on duties: evidence where there is some, in words what is missing, and commands that exist."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from edgeward.cli.main import cli
from edgeward.report.compliance import NO_ADVICE, Facts, findings
from tests.controller.registry_worlds import version
from tests.edgeward.test_version_commands import edgeward, state

__all__ = ["edgeward", "state"]
NOW = datetime(2026, 11, 27, tzinfo=UTC)
ALL = Facts(
    model="weather", now=NOW, audit_entries=40, audit_since=datetime(2026, 3, 1, tzinfo=UTC), audit_faults=(),
    version="v3", signed=True, gates=("parity", "fairness"), has_note=True, has_data_digest=True, metrics=("accuracy",),
    rollouts=4, approved=2, rolled_back=1, rules_of_alerts=12, alerts=3, inferences=9000, captured=True,
    drift_measured=True, fairness_gate=True, retraining_policy=True,
)  # fmt: skip
NOTHING = replace(
    ALL, audit_entries=0, audit_since=None, version="", signed=False, gates=(), has_note=False, has_data_digest=False,
    rollouts=0, approved=0, rules_of_alerts=0, inferences=0, captured=False, drift_measured=False, fairness_gate=False,
    retraining_policy=False,
)  # fmt: skip


def test_a_complete_model_has_evidence_for_every_duty_and_an_empty_one_for_none() -> None:
    assert all(each.found for each in findings(ALL))
    assert not any(each.found for each in findings(NOTHING))
    assert all(each.evidence and each.signed_by and each.check for each in findings(NOTHING))


def test_the_required_articles_are_listed() -> None:
    sources = " ".join(each.source for each in findings(ALL))
    assert all(f"Art. {number}" in sources for number in (12, 19, 26, 72))
    assert "NIST AI RMF" in sources


def test_logs_younger_than_six_months_name_the_date_of_six_months() -> None:
    young = findings(replace(ALL, audit_since=datetime(2026, 11, 1, tzinfo=UTC)))
    assert "six months are reached on 2027-05-03" in next(each for each in young if each.source.endswith("19")).evidence


def test_a_damaged_audit_is_not_evidence() -> None:
    damaged = findings(replace(ALL, audit_faults=("entry 7 was changed",)))
    assert [each.found for each in damaged if "Art. 12" in each.source] == [False]


@pytest.mark.parametrize("facts", [ALL, NOTHING])
def test_every_command_that_is_named_exists(facts: Facts) -> None:
    for each in findings(facts):
        for text in (each.check, *re.findall(r"[:;] (edgeward [a-z]+ [a-z]+)", each.evidence)):
            for line in text.split("&&"):
                words = line.split()
                command: Any = cli
                while isinstance(command, click.Group) and len(words) > 1 and words[1] in command.commands:
                    command = command.commands[words.pop(1)]
                assert not isinstance(command, click.Group), line
                options = {name for parameter in command.params for name in parameter.opts}
                assert {word for word in words if word.startswith("--")} <= options, line


def test_the_command_reports_on_a_pushed_model_and_says_that_it_is_not_legal_advice(edgeward: Any, state: Any) -> None:
    state.registry.add(version())
    done = CliRunner().invoke(cli, ["report", "compliance", "m"])
    assert done.exception is None, done.exception
    said = " ".join(done.output.split())
    assert "EU AI Act Art. 12" in said
    assert NO_ADVICE in said
    assert "waits for a signature" in said


def test_the_fleet_report_is_still_written_without_a_subcommand(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["report", "--out", str(tmp_path / "x.txt")])
    assert "expected .html or .pdf" in str(done.exception)
