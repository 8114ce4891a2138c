"""`edgeward audit list | export | verify`: the requests, the output, and a CSV for spreadsheets."""

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contract.audit import FIRST, chained, checkpoint
from edgeward.answers.operators import AuditEntry, AuditExport
from edgeward.answers.table import Table
from edgeward.cli import audit
from edgeward.cli.main import cli
from edgeward.client import AUDIT_PAGE, Client
from edgeward.transport import Transport

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
MIDNIGHT = datetime(2026, 1, 1).astimezone()  # in the zone of this machine


def entries(count: int, **fields: str) -> list[dict[str, Any]]:
    """A whole audit, oldest entry first."""
    found, before = [], FIRST
    for number in range(1, count + 1):
        entry = {"at": "2026-01-02T03:04:05+00:00", "actor": "ada", "action": "push", "subject": "m v1", "detail": ""}
        entry |= fields
        before = chained(before, entry)
        found.append({"number": number, **entry, "hash": before})
    return found


class Answers:
    """The client's answers, and its requests."""

    asked: dict[str, Any] = {}
    exported: dict[str, Any] = {}

    def audit_entries(self, **asked: Any) -> Table[AuditEntry]:
        Answers.asked = asked
        return Table(map(AuditEntry.read, reversed(entries(3, subject="=cmd()"))))

    def audit(self) -> AuditExport:
        return AuditExport.read(Answers.exported)


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "Client", Answers)
    monkeypatch.setattr(audit.console, "_width", 200)


def test_a_list_is_requested_with_the_given_filters() -> None:
    said = CliRunner().invoke(cli, ["audit", "list", "--actor", "controller", "--since", "2026-01-01", "--limit", "3"])
    assert said.exit_code == 0, said.output
    assert Answers.asked == {
        "limit": 3, "actor": "controller", "since": MIDNIGHT, "until": "", "action": "", "subject": "", "before": 0,
    }  # fmt: skip
    assert "2026-01-02 03:04:05" in said.output
    assert "older entries are left out: --limit, or --before 1" in said.output, "its time may be that of others, too"
    assert CliRunner().invoke(cli, ["audit", "list", "--before", "9"]).exit_code == 0
    assert Answers.asked["before"] == 9


def test_a_cell_that_a_spreadsheet_would_execute_is_quoted(tmp_path: Path) -> None:
    said = CliRunner().invoke(cli, ["audit", "export", str(tmp_path / "a.csv"), "--since", "1d"])
    assert said.exit_code == 0, said.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text())))
    assert [row["number"] for row in rows] == ["1", "2", "3"], "oldest first"
    assert {row["subject"] for row in rows} == {"'=cmd()"}
    assert Answers.asked["limit"] is None
    assert set(rows[0]) == {"number", "at", "actor", "action", "subject", "detail", "hash"}


def test_a_part_of_the_audit_is_not_printed_as_json_that_could_pass_as_the_whole(tmp_path: Path) -> None:
    said = CliRunner().invoke(cli, ["audit", "export", str(tmp_path / "a.json"), "--actor", "ada"])
    assert "its chain covers all of it" in str(said.exception)


def test_verify_compares_the_seal_and_the_findings_of_the_controller(tmp_path: Path) -> None:
    whole = entries(3)
    good = {"entries": whole, "witness": "", "seal": checkpoint(3, whole[-1]["hash"]), "faults": []}
    for name, found, words in (
        ("good", good, ""),
        ("cut", good | {"entries": whole[:2]}, "the end was cut off"),
        ("found", good | {"faults": ["the seal was removed"]}, "the seal was removed"),
    ):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(found))
        said = CliRunner().invoke(cli, ["audit", "verify", "--file", str(path)])
        assert (words in str(said.exception)) if words else (said.exit_code == 0), said.output


def test_all_entries_are_read_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    all_of_them = entries(AUDIT_PAGE + 5)[::-1]
    asked = []

    def get(self: Transport, path: str, **_: Any) -> Any:
        query = dict(pair.split("=") for pair in path.partition("?")[2].split("&"))
        asked.append(query)
        before = int(query["before"]) or AUDIT_PAGE + 6
        return [each for each in all_of_them if each["number"] < before][: int(query["limit"])]

    monkeypatch.setattr(Transport, "get", get)
    client = Client("http://127.0.0.1:1", "t")
    found = client.audit_entries(limit=None, since=NOW, subject="m")
    assert [each.number for each in found] == list(range(AUDIT_PAGE + 5, 0, -1))
    assert [query["before"] for query in asked] == ["0", "6"]
    assert asked[0]["since"] == "2026-02-03T04%3A05%3A06%2B00%3A00"
    assert len(client.audit_entries(limit=7)) == 7
