"""The live view and the report: what they show, that they fit, and that a report loads nothing and runs nothing."""

import io
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from contract.errors import BadInput
from edgeward.answers.alerts import Alert
from edgeward.answers.fleet import Fleet
from edgeward.answers.operators import AuditEntry
from edgeward.answers.rollouts import RolloutSummary, VerdictPoint
from edgeward.answers.telemetry import TelemetryRow
from edgeward.report import pdf
from edgeward.report.charts import interval_chart
from edgeward.report.gather import Report
from edgeward.report.page import html_of
from edgeward.top.frame import MAX_ALERTS, frame
from edgeward.top.seen import Rate, Seen, rates_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVIL = "<script>alert(1)</script>"
SERVING = {
    "model": "weather", "release": 3, "devices": 10, "lost": 0, "inferences": 100, "errors": 1, "refused": 0,
    "accuracy": 0.91,
    "mean_absolute_error": None, "r2": None,
}  # fmt: skip
FIGURES = {
    "value": 0.012, "low": 0.005, "high": 0.019, "limit": 0.02, "unit": "ratio", "devices": 5, "devices_beside": 45,
    "samples": 10, "samples_beside": 90, "finds": 0.03, "trial": 0.03, "control": 0.018,
}  # fmt: skip
VERDICT = {"metric": "error_ratio", "stratum": "", "verdict": "fail", "detail": EVIL, "figures": FIGURES}
ROLLOUT = {
    "id": "r-1", "model": "weather", "release": 3, "strategy": "canary", "status": "rolled_back", "open": False,
    "wave": 0, "waves": 3, "reason": "too many errors", "counts": {"failed": 2, "succeeded": 3},
    "verdicts": [VERDICT], "failed": [], "created_at": NOW.isoformat(), "created_by": "ada",
    "transfer": {"total_bytes": 0, "done_bytes": 0, "bytes_s": 0.0, "eta_s": None},
}  # fmt: skip
FLEET = Fleet.read(
    {
        "findings": [{"code": "disk_low", "detail": "1 MB are free"}], "devices": 12,
        "presence": {"online": 11, "silent": 1}, "health": {"well": 12}, "sick": [], "sources": {},
        "failing_sources": [], "bytes_received": 0, "bytes_s": 0.0, "fetching": 0, "transfers": [],
        "faults": {"disk_full": 2}, "serving": [SERVING],
        "rollouts": [ROLLOUT, {**ROLLOUT, "status": "running", "open": True, "verdicts": []}],
    }
)  # fmt: skip


def alert(number: int = 1, state: str = "firing") -> Alert:
    said = {"summary": "s", "description": f"d{number} is gone {EVIL}", "effect": "400 s, limit 300"}
    return Alert.read(
        {
            "fingerprint": f"{number:016x}", "name": "DeviceUnheard", "state": state, "severity": "warning",
            "labels": {"device": f"d{number}"}, "annotations": said, "since": NOW.isoformat(),
            "starts_at": NOW.isoformat(), "ends_at": None, "value": 400.0, "low": None, "high": None, "limit": 300.0,
            "unit": "s", "n": 1, "of": "devices", "for_s": 0.0, "silenced_by": [], "inhibited_by": [],
        }
    )  # fmt: skip


def drawn(seen: Seen, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(frame(seen))
    return console.export_text()


def seen(**fields: Any) -> Seen:
    rates = {("weather", 3): Rate(45.6, 0.0123)}
    return Seen(**{"at": NOW, "url": "http://c", "fleet": FLEET, "rates": rates, "alerts": (alert(),), **fields})


def test_a_frame_shows_presence_versions_rates_rollouts_and_alerts_in_80_columns() -> None:
    text = drawn(seen())
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "12 devices: 11 online, 1 silent", "wrong: 2 disk_full", "disk_low: 1 MB are free", "weather  v3 ", "45.6",
        "1.23%", "0.910", "weather v3 running wave 1 of 3", "weather v3 rolled_back", "alerts: 1 firing", "d1 is gone",
    ):  # fmt: skip
        assert words in text, words
    assert text.index("running") < text.index("rolled_back"), "what is open comes first"


def test_the_most_urgent_items_come_first_and_the_rest_is_counted() -> None:
    quiet = [alert(number, "silenced") for number in range(2, 5)]
    text = drawn(seen(alerts=(*quiet, *(alert(number) for number in range(10, 10 + MAX_ALERTS)))))
    assert "alerts: 8 firing, 3 silenced" in text
    assert "d2 is gone" not in text
    assert "... and 3 more: edgeward alert list" in text


def test_an_unreachable_controller_is_reported_above_the_last_known_state() -> None:
    text = drawn(seen(error="controller_unreachable: refused"))
    assert "controller_unreachable: refused: trying again" in text
    assert "12 devices" in text


def row(start: float, release: int, inferences: int, errors: int = 0) -> TelemetryRow:
    return TelemetryRow(
        start=start, span_s=60.0, release=release, of="", devices=1, inferences=inferences, errors=errors, labelled=0,
        accuracy=None, mean_absolute_error=None, latency_us_p50=None, latency_us_p95=None, compared=0, agreed=0,
    )  # fmt: skip


def test_a_rate_is_over_the_requested_minutes() -> None:
    begin = NOW.timestamp() - 120
    found = rates_of([row(begin, 1, 600), row(begin + 60, 1, 600, 12), row(begin + 60, 2, 60)], NOW)
    assert (found[1], found[2]) == (Rate(10.0, 0.01), Rate(0.5, 0.0))
    assert rates_of([], NOW) == {}


def made_report() -> Report:
    rollout = RolloutSummary.read({**ROLLOUT, "created_by": EVIL})
    entry = {"number": 1, "at": NOW.isoformat(), "actor": EVIL, "action": "push", "subject": "weather", "detail": "x"}
    return Report(
        since=NOW - timedelta(days=7), until=NOW, url="http://c", fleet=FLEET,
        telemetry={"weather": (row(NOW.timestamp(), 3, 1234, 5),)}, rollouts=(rollout,),
        verdicts={"r-1": (VerdictPoint.read({**VERDICT, "at": NOW.isoformat()}),)}, alerts=(alert(),),
        changes=(AuditEntry.read({**entry, "hash": "h"}),),
    )  # fmt: skip


def test_a_report_contains_fleet_rollouts_with_intervals_alerts_and_changes() -> None:
    page = html_of(made_report())
    for words in (
        "11 online, 1 silent", "1,234", "5 failed (0.41%)", "weather v3 by canary", "0.012 [0.005, 0.019], limit 0.02",
        "5 against 45 devices", "DeviceUnheard", "400 s, limit 300", "push",
    ):  # fmt: skip
        assert words in page, words


def test_a_report_loads_nothing_runs_nothing_and_escapes_every_text() -> None:
    page = html_of(made_report())
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4
    assert re.findall(r"(?:src|href|url\()", page) == []


def test_an_interval_is_drawn_in_order_even_if_it_is_infinite() -> None:
    found = [float(x) for x in re.findall(r'(?:x1|cx)="([\d.]+)"', interval_chart(1.0, 0.5, 2.0, 1.5, is_bad=False))]
    zero, limit, low, value = found
    assert zero < low < value < limit
    assert "nan" not in interval_chart(0.0, float("-inf"), float("inf"), 0.1, is_bad=True)


def test_without_a_browser_a_pdf_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(BadInput) as caught:
        pdf.write_pdf("<p>", tmp_path / "r.pdf")
    assert "apt-get install chromium" in caught.value.detail


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here: apt-get install chromium (CI does)")
def test_chromium_writes_a_pdf(tmp_path: Path) -> None:
    pdf.write_pdf(html_of(made_report()), tmp_path / "r ü.pdf")
    assert (tmp_path / "r ü.pdf").read_bytes().startswith(b"%PDF-")
