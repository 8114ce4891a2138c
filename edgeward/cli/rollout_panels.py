"""Rollouts on a screen: a plan before it starts, the present state, and the history.

Decides what fits 80 columns and what is named. Refuses to know where the data comes from.
"""

from collections import Counter

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgeward.answers.rollouts import Member, Preview, Rollout, RolloutSummary, Transfer, Verdict, WaveProgress
from edgeward.cli.render import COLOURS, duration, size, table

MAX_NAMED = 3
"""The most devices that a line names."""
MAX_LINES = 10
"""The most devices that a panel names: the first ones to examine; `rollout members` has all."""
WORDS = {"no_data": "no data", "inconclusive": "cannot say", "pass": "pass", "fail": "fail"}
_FAILURES = ("failed", "rejected", "silent", "regressed")


def rollout_panel(view: Rollout) -> RenderableType:
    """Returns a rollout as bars, one for each wave, with the verdicts of its rules."""
    head = Text.assemble(
        (f"{view.id}  {view.model} v{view.release} by {view.strategy}: ", "bold"),
        (view.status, COLOURS.get(view.status, "")),
        f"  {view.reason}",
    )
    waves = Table(box=None, pad_edge=False, show_header=False)
    for wave in view.progress:
        failed = sum(wave.counts.get(word, 0) for word in _FAILURES)
        done = wave.counts.get("succeeded", 0)
        colour = "red" if failed else "green"
        bar = ProgressBar(wave.devices or 1, done, width=24, complete_style=colour)
        waves.add_row(f"wave {wave.wave + 1}", bar, _wave_words(wave, done, failed))
    rules = [_rule(verdict) for verdict in view.verdicts]
    faults = [Text(f"  {fault_words(each)}", style="red") for each in view.failed[:MAX_LINES]]
    if len(view.failed) > MAX_LINES:
        faults.append(Text(f"  more have failed: edgeward rollout members {view.id} --outcome failed", style="red"))
    left = [Text(f"  {view.waits_for}", style="yellow")] if view.waits_for else []
    left += [Text(f"  {view.left}", style="dim")] if view.left else []
    trace = [Text(f"  trace {view.trace_id}", style="dim")] if view.trace_id else []
    out = [Text(f"  left out: {_left_out(view.excluded)}", style="yellow")] if view.excluded else []
    transfer = _transfer(view.transfer) if view.open else ()
    return Group(head, waves, *transfer, *rules, *faults, *out, *left, *trace)


def _wave_words(wave: WaveProgress, done: int, failed: int) -> str:
    """Returns the state of a wave, in words beside its bar."""
    pending, absent = wave.counts.get("pending", 0), wave.counts.get("absent", 0)
    parts = [f"{done} of {wave.devices} have it"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{pending} pending"] if pending and wave.state == "now" else []
    parts += [f"{absent} absent"] if absent else []
    parts += [f"{wave.counts['pinned']} pinned"] if wave.counts.get("pinned") else []
    parts += [f"{duration(wave.left_s)} left at least"] if wave.left_s >= 1 and wave.state == "now" else []
    return ", ".join(parts)


def _rule(verdict: Verdict) -> Text:
    where = f" on {verdict.stratum}" if verdict.stratum else ""
    return Text.assemble(
        "  ",
        (WORDS.get(verdict.word, verdict.word), COLOURS.get(verdict.verdict, "")),
        f"  {verdict.metric}{where}: {verdict.detail}",
    )


def fault_words(member: Member) -> str:
    """Returns a failed device, with its code and its words."""
    return f"{member.device}: {member.code or member.outcome} {member.detail}".rstrip()


def cause(rollout: RolloutSummary) -> str:
    """Returns why a rollout is in its state, with up to three failed devices and their codes."""
    named = [f"{each.device} ({each.code or each.outcome})" for each in rollout.failed[:MAX_NAMED]]
    failed = [each for each in named if each not in rollout.reason]
    if not failed:
        return rollout.reason
    then = ", " if "; failed: " in rollout.reason else "; failed: "
    return f"{rollout.reason}{then}{', '.join(failed)}".removeprefix("; ")


def _left_out(excluded: dict[str, str]) -> str:
    """Returns up to three excluded devices with the reason, and how many more there are."""
    named = "; ".join(f"{device}: {why}" for device, why in list(excluded.items())[:MAX_NAMED])
    more = len(excluded) - MAX_NAMED
    return f"{named}; and {more} more" if more > 0 else named


def _devices(count: int) -> str:
    return f"{count} device" if count == 1 else f"{count} devices"


def _transfer(transfer: Transfer) -> list[RenderableType]:
    """Returns a bar of bytes while some are still to be sent."""
    done, total = transfer.done_bytes, transfer.total_bytes
    if not total or done >= total:
        return []
    eta = "" if transfer.eta_s is None else f", {duration(transfer.eta_s)} to go"
    words = f"{size(done)} of {size(total)} received, {size(transfer.bytes_s)}/s{eta}"
    bar = Table(box=None, pad_edge=False, show_header=False)
    bar.add_row("bytes ", ProgressBar(total, done, width=30), words)
    return [bar]


def _pinned(plan: Preview) -> str:
    """Returns how many devices a pin keeps away, with the first of them by name and reason."""
    return f"{_devices(len(plan.pinned))} pinned: {_left_out({each: plan.excluded[each] for each in plan.pinned})}"


def plan_panel(plan: Preview) -> RenderableType:
    """Returns the plan of a rollout before it starts."""
    rows = [
        (
            wave.wave + 1,
            wave.mode,
            wave.devices,
            ", ".join(f"{count} {stratum}" for stratum, count in wave.strata.items()),
            f"{wave.soak_s:.0f} s",
            "a person: rollout promote" if wave.hold else "soak and rules",
        )
        for wave in plan.waves
    ]
    head = f"{plan.model} v{plan.release} by {plan.strategy} to {_devices(plan.devices)}"
    cost = f"sends {size(plan.bytes_to_send)}, takes at least {duration(plan.finish_s)}"
    lines = [Text(f"  {words}") for words in plan.power]
    lines += [Text(f"  {words}", style="yellow") for words in plan.warnings]
    others = {device: why for device, why in plan.excluded.items() if device not in plan.pinned}
    lines += [Text(f"  left out: {_left_out(others)}", style="yellow")] if others else []
    lines += [Text(f"  {_pinned(plan)}", style="yellow")] if plan.pinned else []
    lines += [Text(f"  {_devices(count)} in the smaller form {name}") for name, count in plan.variants.items()]
    for reason, count in Counter(plan.no_way_back.values()).items():
        lines.append(Text(f"  no way back for {_devices(count)}: {reason}", style="yellow"))
    if plan.unproven:
        words = f"no proof yet of a way back from {_devices(len(plan.unproven))}"
        lines.append(Text(f"  {words}", style="yellow"))
    last = Text(f"plan {plan.plan_digest}", style="dim")
    columns = ("wave", "mode", "devices", "kinds of devices", "soak", "ends by")
    return Group(Text(head, style="bold"), table(cost, columns, rows), *lines, last)
