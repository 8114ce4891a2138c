"""One frame of the live view, from the collected data. Fits 80 columns. Refuses to know the controller and the
terminal.
"""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeward.answers.alerts import Alert
from edgeward.answers.fleet import Served
from edgeward.answers.rollouts import RolloutSummary
from edgeward.cli.render import duration, many
from edgeward.top.seen import Rate, Seen

MAX_VERSIONS, MAX_ROLLOUTS, MAX_ALERTS = 12, 5, 8
"""Lines of each part: a frame fits a screen of 40 lines."""
COLOURS = {
    "online": "green", "offline": "red", "silent": "yellow", "running": "cyan", "paused": "yellow",
    "completed": "green", "rolled_back": "red", "rolling_back": "red", "firing": "red", "pending": "yellow",
    "silenced": "cyan", "inhibited": "cyan", "critical": "red", "warning": "yellow",
}  # fmt: skip
_LOUD_FIRST = ("firing", "pending", "silenced", "inhibited")


def frame(seen: Seen) -> RenderableType:
    """The whole frame."""
    parts: list[RenderableType] = [_head(seen)]
    if seen.error:
        parts.append(Text(f"{seen.error}: trying again; what follows is of {seen.at:%H:%M:%S}", style="red"))
    parts += [Text(f"{each.code}: {each.detail}", style="red", overflow="ellipsis") for each in seen.fleet.findings]
    parts += [Text(), _versions(seen), Text(), *_rollouts(seen), Text(), *_alerts(seen)]
    return Group(*parts)


def _head(seen: Seen) -> RenderableType:
    word = "failing" if seen.fleet.findings else "well"
    first = Text.assemble(
        ("edgeward top", "bold"), f"  {seen.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC  {seen.url}  controller ",
        (word, "red" if seen.fleet.findings else "green"),
    )  # fmt: skip
    counts = [
        Text(f"{count} {word}", style=COLOURS.get(word, "")) for word, count in sorted(seen.fleet.presence.items())
    ]
    second = Text(f"{many(seen.fleet.devices, 'device')}: ")
    second.append(Text(", ").join(counts) if counts else Text("none yet"))
    if seen.fleet.faults:
        second.append("   wrong: ")
        second.append(", ".join(f"{count} {code}" for code, count in seen.fleet.faults.items()), style="yellow")
    return Group(first, second)


def _versions(seen: Seen) -> RenderableType:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("model", "left"), ("version", "left"), *((each, "right") for each in _FIGURES)):
        made.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    for each in seen.fleet.serving[:MAX_VERSIONS]:
        made.add_row(*_cells(each, seen.rates.get((each.model, each.release))))
    if not seen.fleet.serving:
        return Text("no device serves a model yet")
    return made


_FIGURES = ("devices", "inferences/s", "failed", "accuracy", "error")


def _cells(each: Served, rate: Rate | None) -> list[str | Text]:
    failed = rate.failed if rate else None
    return [
        each.model,
        f"v{each.release}" if each.release else "unknown",
        str(each.devices),
        "-" if rate is None else f"{rate.per_s:.1f}",
        Text("-") if failed is None else Text(f"{failed:.2%}", style="red" if failed > 0.01 else ""),
        "-" if each.accuracy is None else f"{each.accuracy:.3f}",
        "-" if each.mean_absolute_error is None else f"{each.mean_absolute_error:.3g}",
    ]


def _rollouts(seen: Seen) -> list[RenderableType]:
    shown = sorted(seen.fleet.rollouts, key=lambda each: not each.open)[:MAX_ROLLOUTS]
    if not shown:
        return [Text("no rollouts yet")]
    return [Text("rollouts", style="bold"), *map(_rollout, shown)]


def _rollout(each: RolloutSummary) -> Text:
    counts = ", ".join(f"{count} {word}" for word, count in each.counts.items() if count)
    worst = next((verdict for verdict in each.verdicts if verdict.verdict == "fail"), None)
    line = Text.assemble(
        f"  {each.model} v{each.release} ", (each.status, COLOURS.get(each.status, "")),
        f" wave {each.wave + 1} of {each.waves}" if each.open else "", f"  {counts}", no_wrap=True, overflow="ellipsis",
    )  # fmt: skip
    if worst is not None:
        line.append(f"  {worst.metric}: {worst.detail}", style="red")
    elif each.reason:
        line.append(f"  {each.reason}")
    return line


def _alerts(seen: Seen) -> list[RenderableType]:
    if not seen.alerts:
        return [Text("no alerts", style="green")]
    counts = {word: sum(each.state == word for each in seen.alerts) for word in _LOUD_FIRST}
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    loud = sorted(seen.alerts, key=lambda each: _LOUD_FIRST.index(each.state))
    more = [Text(f"  ... and {len(loud) - MAX_ALERTS} more: edgeward alert list")] if len(loud) > MAX_ALERTS else []
    return [Text(f"alerts: {said}", style="bold"), *(_alert(each, seen.at) for each in loud[:MAX_ALERTS]), *more]


def _alert(each: Alert, now: datetime) -> Text:
    words = f" {duration((now - each.since).total_seconds()):>7}  {each.name}: {each.annotations['description']}"
    state, severity = (f"{each.state:<9}", COLOURS.get(each.state, "")), COLOURS.get(each.severity, "")
    return Text.assemble("  ", state, (f" {each.severity:<8}", severity), words, no_wrap=True, overflow="ellipsis")
