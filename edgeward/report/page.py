"""A report as one HTML file: nothing is loaded from elsewhere, every text is escaped, and it prints well.

Decides what it looks like. Refuses to know where the facts come from.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from edgeward.answers.alerts import Alert
from edgeward.answers.rollouts import Figures, RolloutSummary, VerdictPoint
from edgeward.cli.render import duration
from edgeward.report.charts import bars, interval_chart
from edgeward.report.gather import MAX_CHANGES, Report

MAX_ALERTS = 300
"""Alerts that are listed one by one; all of them are counted by name."""

_STYLE = """
:root { color-scheme: light; --ink: #1c2430; --dim: #5c6773; --line: #d8dee4; --bad: #b42318; --good: #18794e; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem } p { margin: .3rem 0 } .dim { color: var(--dim) }
table { border-collapse: collapse; width: 100%; font-size: 13px } th { text-align: left; color: var(--dim) }
th, td { padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
table + table { margin-top: 1rem } td:first-child { white-space: nowrap }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } .bad { color: var(--bad) }
.good { color: var(--good) } svg { display: block; max-width: 100% } code { font-size: 12px }
.facts { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; margin: 1rem 0 }
.facts b { display: block; font-size: 1.5rem }
@media print { body { margin: 0; max-width: none } tr, section { break-inside: avoid } h2 { break-after: avoid } }
"""
_WORDS = {"completed": "good", "pass": "good", "fail": "bad", "rolled_back": "bad", "rolling_back": "bad",
          "aborted": "bad", "firing": "bad", "critical": "bad"}  # fmt: skip


def html_of(report: Report) -> str:
    """The whole page."""
    span = f"{_at(report.since)} to {_at(report.until)} UTC"
    parts = [_summary(report), _versions(report), _rollouts(report), _alerts(report), _changes(report)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Edgeward report, {escape(span)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>Fleet report</h1><p class="dim">{escape(span)}, of {escape(report.url)}</p>'
        f"{''.join(parts)}</body></html>\n"
    )


def _summary(report: Report) -> str:
    presence = ", ".join(f"{count} {word}" for word, count in sorted(report.fleet.presence.items())) or "none yet"
    inferences = sum(row.inferences for rows in report.telemetry.values() for row in rows)
    failed = sum(row.errors for rows in report.telemetry.values() for row in rows)
    fired = sum(each.starts_at is not None for each in report.alerts)
    facts = [
        (str(report.fleet.devices), f"devices: {presence}"),
        (f"{inferences:,}", f"inferences, {failed:,} failed" + (f" ({failed / inferences:.2%})" if inferences else "")),
        (str(len(report.rollouts)), f"rollouts: {_counted(each.status for each in report.rollouts)}"),
        (str(fired), "alerts fired"),
        (str(len(report.changes)), "entries in the audit"),
    ]
    boxes = "".join(f"<div><b>{escape(number)}</b>{escape(words)}</div>" for number, words in facts)
    wrong = "".join(f'<p class="bad">{escape(each.code)}: {escape(each.detail)}</p>' for each in report.fleet.findings)
    return f'<section class="facts">{boxes}</section>{wrong}'


def _versions(report: Report) -> str:
    total = max((each.devices for each in report.fleet.serving), default=0)
    rows = [
        (
            each.model, f"v{each.release}" if each.release else "unknown", _Number(each.devices),
            _Raw(bars(each.devices, total)),
        )
        for each in report.fleet.serving
    ]  # fmt: skip
    used = "".join(_telemetry(model, report) for model in report.telemetry)
    return f"<h2>Versions that devices serve now</h2>{_table(('model', 'version', 'devices', ''), rows)}{used}"


def _telemetry(model: str, report: Report) -> str:
    rows = [
        (
            f"{row.at:%Y-%m-%d %H:%M}", f"v{row.release}", _Number(row.devices), _Number(row.inferences),
            _Number(row.errors), _figure(row.accuracy), _figure(row.mean_absolute_error),
            _figure(row.latency_us_p95 and row.latency_us_p95 / 1000),
        )
        for row in report.telemetry[model]
    ]  # fmt: skip
    columns = ("from (UTC)", "version", "devices", "inferences", "failed", "accuracy", "mean error", "p95 ms")
    return f"<h3>What {escape(model)} did</h3>{_table(columns, rows)}"


def _rollouts(report: Report) -> str:
    if not report.rollouts:
        return "<h2>Rollouts</h2><p>No rollout began in this time.</p>"
    return "<h2>Rollouts</h2>" + "".join(_rollout(each, report.verdicts.get(each.id, ())) for each in report.rollouts)


def _rollout(each: RolloutSummary, verdicts: Sequence[VerdictPoint]) -> str:
    counts = ", ".join(f"{count} {word}" for word, count in each.counts.items() if count)
    head = (
        f"<h3>{escape(each.model)} v{each.release} by {escape(each.strategy)}: {_word(each.status)}</h3>"
        f'<p class="dim">{escape(each.id)}, begun {_at(each.created_at)} by {escape(each.created_by)}; '
        f"{escape(counts)}</p>"
    )
    reason = f"<p>{escape(each.reason)}</p>" if each.reason else ""
    rows = [
        (
            point.metric,
            point.stratum or "all",
            _Raw(_word(point.word)),
            _Raw(_effect(point.figures, point.verdict)),
            point.detail,
        )
        for point in verdicts
    ]
    shown = _table(("rule", "devices", "verdict", "effect with its interval", "in words"), rows) if rows else ""
    return f"<section>{head}{reason}{shown}</section>"


def _effect(figures: Figures | None, verdict: str) -> str:
    if figures is None:
        return "-"
    words = f"{figures.value:.3g} [{figures.low:.3g}, {figures.high:.3g}], limit {figures.limit:.3g} {figures.unit}"
    chart = interval_chart(figures.value, figures.low, figures.high, figures.limit, is_bad=verdict == "fail")
    beside = f"{figures.devices} against {figures.devices_beside} devices"
    return f'{escape(words)}<br>{chart}<span class="dim">{beside}</span>'


def _alerts(report: Report) -> str:
    fired = [each for each in report.alerts if each.starts_at is not None]
    if not fired:
        return "<h2>Alerts</h2><p>No alert fired in this time.</p>"
    most = Counter(each.name for each in fired).most_common()
    counts = [(name, _Number(count), _Raw(bars(count, most[0][1]))) for name, count in most]
    rows = [_alert_row(each, report.until) for each in fired[:MAX_ALERTS]]
    more = f'<p class="dim">and {len(fired) - MAX_ALERTS} more</p>' if len(fired) > MAX_ALERTS else ""
    columns = ("alert", "severity", "about", "fired (UTC)", "for", "what was so")
    return f"<h2>Alerts</h2>{_table(('alert', 'fired', ''), counts)}{_table(columns, rows)}{more}"


def _alert_row(each: Alert, until: datetime) -> tuple[object, ...]:
    assert each.starts_at is not None
    lasted = duration(((each.ends_at or until) - each.starts_at).total_seconds())
    lasted = lasted if each.ends_at else f"{lasted}, {each.state}"
    said = f"{each.annotations['description']} ({each.annotations['effect']})"
    return each.name, _Raw(_word(each.severity)), each.about, _at(each.starts_at), lasted, said


def _changes(report: Report) -> str:
    rows = [(_at(each.at), each.actor, each.action, each.subject, each.detail) for each in report.changes]
    more = f'<p class="dim">Older ones are in the audit: these are the newest {MAX_CHANGES}.</p>'
    shown = _table(("at (UTC)", "by", "what", "on", "detail"), rows)
    return f"<h2>Changes</h2>{shown}{more if len(rows) >= MAX_CHANGES else ''}"


class _Raw(str):
    """HTML that is already escaped."""

    __slots__ = ()


class _Number(int):
    """A number, aligned right."""


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    rows = list(rows)
    numbers = {place for row in rows[:1] for place, value in enumerate(row) if isinstance(value, _Number)}
    head = "".join(
        f'<th class="{"n" if place in numbers else ""}">{escape(name)}</th>' for place, name in enumerate(columns)
    )
    body = "".join(f"<tr>{''.join(map(_td, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _td(value: object) -> str:
    if isinstance(value, _Raw):
        return f"<td>{value}</td>"
    return f'<td class="n">{value:,}</td>' if isinstance(value, _Number) else f"<td>{escape(str(value))}</td>"


def _word(word: str) -> str:
    return f'<span class="{_WORDS.get(word, "")}">{escape(word.replace("_", " "))}</span>'


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in Counter(words).most_common()) or "none"


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
