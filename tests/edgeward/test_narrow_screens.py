"""The output of commands: nothing is lost on a narrow screen, and copied commands work."""

import csv
import io
import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from rich.console import Console

from edgeward.answers.claims import Claim
from edgeward.answers.devices import Device, DevicePage
from edgeward.answers.models import Version
from edgeward.answers.operators import Certificate
from edgeward.answers.rollouts import Member, RolloutSummary
from edgeward.answers.table import Table
from edgeward.cli import certificate, device, device_list, model, render
from edgeward.cli.main import cli
from edgeward.cli.moments import with_local_times
from edgeward.cli.render import table
from edgeward.cli.rollout_panels import cause
from edgeward.client import Client
from tests.edgeward.test_answers import device_json

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def printed(width: int, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    file = io.StringIO()
    Console(file=file, width=width).print(table("a title", columns, rows))
    return file.getvalue()


ROW = ("cam-00000001", "rolled_back", "r-20261127-081500-abcd", "10000000abcdef", "failed_ratio: 1 of 3 devices failed")


@pytest.mark.parametrize("width", [30, 60, 80, 100, 200])
def test_no_cell_is_cut_or_left_out_on_any_width(width: int) -> None:
    said = printed(width, ("name", "status", "rollout", "digest", "why"), [ROW, ("b", None, None, None, None)])
    assert all(cell in "".join(said.split("\n")) or cell in " ".join(said.split()) for cell in ROW)
    assert max(map(len, said.splitlines())) <= width


def test_an_entry_of_the_audit_takes_two_lines_at_80_columns() -> None:
    entry = (34, "2026-11-26 15:05:00", "jonas", "gate waive", "pump-vibration v4", "size: fits all devices")
    said = printed(80, ("number", "at", "actor", "action", "subject", "detail"), [entry, entry])
    first = "34  at: 2026-11-26 15:05:00  actor: jonas  action: gate waive"
    second = "    subject: pump-vibration v4  detail: size: fits all devices"
    assert [line.rstrip() for line in said.splitlines()[1:]] == [first, second] * 2


def test_an_empty_list_says_what_there_is_none_of_and_has_no_header(answers: dict[str, Any]) -> None:
    answers["device_pages"] = [DevicePage(total=0, devices=())]
    assert run("device", "list").split("\n")[0].startswith("no devices yet: make the files of one with `edgeward")
    assert " ".join(run("device", "list", "--presence", "silent").split()) == "no device meets these filters"
    assert run("device", "list", "--csv").startswith("device,"), "a program expects the names of columns"


def test_a_row_is_on_one_line_if_it_fits() -> None:
    said = printed(200, ("name", "status", "rollout", "digest", "why"), [ROW])
    assert [line.split("  ")[0] for line in said.splitlines() if ROW[0] in line] == [ROW[0]]
    assert ROW[-1] in next(line for line in said.splitlines() if ROW[0] in line)


class Answers:
    """A controller's answers."""

    found: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self.found[name]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in (certificate, device, device_list, model):
        monkeypatch.setattr(module, "Client", Answers)
    monkeypatch.setattr(render.console, "_width", 80)
    monkeypatch.setattr(Answers, "found", found)
    return found


def run(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def state_json(**changed: Any) -> dict[str, Any]:
    return {"model": "weather", "phase": "steady", "generation": 7, "code": "health_accuracy", **changed}


def test_the_list_of_devices_has_the_reason_at_80_columns(answers: dict[str, Any]) -> None:
    one = {"model": "weather", "desired_release": 2, "state": state_json(), "measured": []}
    sick = device_json(
        device="kitchen-pi-1", models=[one], health="failing", why="weather v2: health_accuracy", seen_s_ago=7
    )
    answers["device_pages"] = [DevicePage(total=1, devices=(Device.read(sick),))]
    (row,) = [line for line in run("device", "list").splitlines() if "kitchen-pi-1" in line]
    assert row.split() == ["kitchen-pi-1", "failing", "weather", ">", "v2", "7", "s", "ago", *sick["why"].split()]


def test_the_reason_is_once_on_the_row_of_its_model(answers: dict[str, Any]) -> None:
    models = [{"model": name, "desired_release": 1, "state": None, "measured": []} for name in ("rain", "sun", "wind")]
    sick = device_json(device="pi", models=models, health="failing", why="sun v3 was rolled back: health_accuracy")
    answers["device_pages"] = [DevicePage(total=1, devices=(Device.read(sick),))]

    def whys(*arguments: str) -> dict[str, str]:
        rows = csv.DictReader(io.StringIO(run("device", "list", "--csv", *arguments)))
        return {row["model"]: row["why"] for row in rows}

    assert whys() == {"rain": "", "sun": sick["why"], "wind": ""}
    assert whys("--model", "sun") == {"sun": sick["why"]}
    assert whys("--model", "rain") == {"rain": sick["why"]}, "the reason for its health, which the row shows"


def test_csv_has_every_column_and_no_cell_that_a_spreadsheet_would_compute(answers: dict[str, Any]) -> None:
    odd = Device.read(device_json(device="a", labels={"site": "oslo, north"}, health="silent", why="=1+1"))
    answers["device_pages"] = [DevicePage(total=1, devices=(odd,))]
    (row,) = csv.DictReader(io.StringIO(run("device", "list", "--csv")))
    assert (row["device"], row["labels"], row["why"], row["model"]) == ("a", "site=oslo, north", "'=1+1", "")


def device_of(**changed: Any) -> Device:
    return Device.read(device_json(**changed))


def test_a_role_that_the_controller_signs_again_is_listed_only_if_that_is_overdue() -> None:
    hour, now = 3600, 1_000_000
    late = {"root": now + 900 * hour, "timestamp": now + 20 * hour, "snapshot": now + 700 * hour}
    assert device_of(expiries=late).nearest_expiry(now) == ("timestamp", now + 20 * hour)
    in_time = {**late, "timestamp": now + 40 * hour}
    assert device_of(expiries=in_time).nearest_expiry(now) == ("root", now + 900 * hour)
    assert device_of(expiries={**in_time, "snapshot": now + 200 * hour}).nearest_expiry(now) == (
        "snapshot", now + 200 * hour,
    )  # fmt: skip


def test_a_device_without_a_confirmed_version_is_counted_as_on_its_own_page() -> None:
    measured = {"release": 1, "inferences": 1, "errors": 1, "accuracy": None, "labelled": 0, "latency_us_p50": None}
    measured |= {"latency_us_p95": None, "refused": {"value_missing": 3}}
    one = {"model": "weather", "desired_release": 1, "state": None, "measured": [measured]}
    (row,) = device_of(models=[one]).table_rows()
    assert (row["inferences"], row["errors"], row["refused"]) == (1, 1, 3)


def test_unreported_values_are_left_out(answers: dict[str, Any]) -> None:
    from edgeward.answers.devices import DeviceDetail

    answers["device"] = DeviceDetail.read(device_json(history=[]))
    assert "None" not in run("device", "show", "d")


def certificate_json(subject: str, days: float, **changed: Any) -> Certificate:
    base = {"serial": "ab", "subject": subject, "authority": "ca", "revoked": False}
    return Certificate.read({**base, "expires_at": (NOW + days * DAY).isoformat(), **changed})


def test_an_empty_list_of_expiries_says_so_and_names_the_option_for_all(answers: dict[str, Any]) -> None:
    answers["expiring_certificates"] = Table()
    answers["certificates"] = Table([certificate_json("a", 80), certificate_json("b", 80)])
    said = run("certificate", "list")
    assert "none of 2 certificates expires within 30 days" in said
    assert run(*shlex.split(said.split("all: edgeward ")[1])).count("  ca  ") == 2, "the command that it prints"
    answers["expiring_certificates"] = Table([certificate_json("cam-7", 3)])
    assert "cam-7" in run("certificate", "list")


def test_the_list_of_versions_names_the_rolled_back_one_and_the_reason(answers: dict[str, Any]) -> None:
    known = {"model": "m", "release": 2, "passed": True, "digest": "ab", "size_bytes": 1, "task": "", "estimator": "e"}
    known |= {"created_at": NOW.isoformat(), "created_by": "ada", "gates": [], "withdrawn": None, "devices": []}
    known |= {"semver": "1.1.0", "aliases": [], "tags": {}, "metrics": {}, "licence": "", "removed": None}
    answers["versions"] = Table([Version.read({**known, "rolled_back": {"rollout": "r-1", "reason": "1 of 3 failed"}})])
    said = " ".join(run("model", "show", "m").split())
    assert "rolled back by r-1: 1 of 3 failed" in said


CLAIM = {"url": "http://c", "token": "edc_x", "device": "cam 1", "broker_url": "mqtts://b", "ca": "", "root": "{}"}


def test_the_command_for_a_claim_can_be_copied_for_any_length_of_its_path(
    answers: dict[str, Any], tmp_path: Path
) -> None:
    answers["claim"] = Claim.read(CLAIM)
    file = tmp_path / ("a" * 60) / "my claim[1].json"
    file.parent.mkdir()
    said = run("device", "enrol", "cam-1", "--out", str(file))
    assert str(file) in said
    words = shlex.split(said.strip().split("on the device: ")[1])
    assert words == ["edgeward-agent", "enrol", "my claim[1].json", "--out", "cam-1"]


def test_a_table_in_a_pipe_has_no_trailing_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    render.console.print(table("devices", ("name", "why"), [("a", "x" * 300), ("b", "short"), ("c", None)]))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert len(lines[-2]) < 20


def test_a_push_without_a_terminal_prints_its_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with model._converting("v2.py", cast("Client", None), "rain"):  # asked after the body has been sent
        said = capsys.readouterr()
    assert (said.out, said.err) == (
        "", "v2.py goes to the controller, which converts and judges it\n"
    )  # fmt: skip


def test_times_in_sentences_have_the_time_zone_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        said = with_local_times("2026-11-27T15:04:05+00:00: rain: v2 was confirmed, said until 2026-11-27T15:05:00Z.")
        assert said == "2026-11-27 16:04:05 CET: rain: v2 was confirmed, said until 2026-11-27 16:05:00 CET."
    finally:
        monkeypatch.undo()
        time.tzset()


def rollout_of(reason: str, *failed: str) -> RolloutSummary:
    members = [
        Member(device=each, wave=0, stratum="", outcome="failed", phase="", serving_release=None,
               code="health_accuracy", detail="")
        for each in failed
    ]  # fmt: skip
    known = dict.fromkeys(RolloutSummary.__struct_fields__)
    return RolloutSummary(**{**known, "reason": reason, "failed": tuple(members)})  # type: ignore[arg-type]


def test_a_device_named_in_a_reason_is_not_named_again() -> None:
    reason = "failed_ratio: 1 of 2; failed: haus-1 (health_accuracy)"
    assert cause(rollout_of(reason, "haus-1")) == reason
    assert cause(rollout_of(reason, "haus-2", "haus-1")) == f"{reason}, haus-2 (health_accuracy)"
    assert cause(rollout_of("", "haus-2")) == "failed: haus-2 (health_accuracy)"
    assert cause(rollout_of("asked by anna", "haus-2")) == "asked by anna; failed: haus-2 (health_accuracy)"
