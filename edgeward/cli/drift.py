"""`edgeward model drift | fairness`: drifted distributions, the estimated quality, and the rates of groups.

Decides how it is shown in 80 columns. Refuses to know how it is computed.
"""

import click
from rich.text import Text

from edgeward.answers.drift import Drift, GroupFairness, Rate
from edgeward.cli.named import HOW, split_name
from edgeward.cli.render import console, json_option, many, print_json, table
from edgeward.client import Client

BAR = 10
"""Characters of a bar."""
MAX_ROWS = 20
"""Distributions that are listed; the rest is in --json."""
MAX_NAME = 24
_DAYS = click.option("--days", default=7.0, show_default=True, help="The number of newest days, 1 to 28.")
_VERSION = click.option("--version", "release", help=f"The version; default: the one that most devices run. {HOW}")


@click.command()
@click.argument("name")
@_VERSION
@_DAYS
@click.option("--by", type=click.Choice(["model", "device", "stratum"]), default="model", show_default=True)
@json_option
def drift(name: str, release: str | None, *, days: float, by: str, as_json: bool) -> None:
    """Show what has moved in the data of NAME[@VERSION], and its estimated quality.

    A diagnosis: it says where to look, and never that something is wrong. `rows` is the fraction that lies elsewhere
    than in the weeks before, `past` the largest that its own past explains; a bar that ends in > has moved further than
    that.
    """
    name, release = split_name(name, release)
    found = Client().drift(name, release or "", days=days)
    if as_json:
        print_json(found.plain)
        return
    console.print(
        Text(f"{name} v{found.release}, the newest {found.days:g} days on {many(found.devices, 'device')}", "bold")
    )
    console.print(Text(found.says))
    if by == "model":
        _moved(found)
    else:
        _places(found, by)
    _quality(found)
    _breaches(found)
    _trial(found)


@click.command()
@click.argument("name")
@_VERSION
@_DAYS
@json_option
def fairness(name: str, release: str | None, *, days: float, as_json: bool) -> None:
    """Show how NAME[@VERSION] treats groups: rates with intervals, and Fairlearn's measures.

    Groups are columns of the fairness gate, counted on devices; those with fewer than 30 rows are not shown.
    """
    name, release = split_name(name, release)
    found = Client().fairness(name, release or "", days=days)
    if as_json:
        print_json(found.plain)
        return
    console.print(
        Text(f"{name} v{found.release}, the newest {found.days:g} days on {many(found.devices, 'device')}", "bold")
    )
    if not found.columns:
        console.print(
            Text("No groups were counted. Name columns as fairness.groups in the model's gates, and push a version.")
        )
    for column in found.columns:
        _groups(column)


def _moved(found: Drift) -> None:
    rows = [
        (
            _cut(each.what),
            bar(each.moved.distance, each.moved.limit),
            f"{each.moved.distance:.1%}",
            "-" if each.moved.limit is None else f"{each.moved.limit:.1%}",
            each.towards,
        )
        for each in found.moved[:MAX_ROWS]
    ]
    if rows:
        console.print(table("", ("what", "moved", "rows", "past", "more in"), rows))
    if len(found.moved) > MAX_ROWS:
        console.print(Text(f"... and {len(found.moved) - MAX_ROWS} more: --json", "dim"))


def _places(found: Drift, by: str) -> None:
    places = found.by_device if by == "device" else found.by_kind
    rows = [(each.device or "unknown", bar(each.distance, None), f"{each.distance:.1%}", each.what) for each in places]
    console.print(table("", (by, "moved", "rows", "most in"), rows) if rows else Text("No place has enough rows."))


def _quality(found: Drift) -> None:
    quality = found.quality_estimate
    if quality.value is None or quality.low is None or quality.high is None:
        console.print(Text(f"Estimated accuracy: unknown: {quality.why}."))
        return
    figure = f"{quality.value:.3f} [{quality.low:.3f}, {quality.high:.3f}]"
    usual = "" if quality.usual is None else f", usually {quality.usual:.3f}"
    flag = Text("valid", "green") if quality.valid else Text("not valid", "yellow")
    console.print(Text.assemble(f"Estimated accuracy without labels: {figure}{usual}; ", flag, f": {quality.why}."))


def _breaches(found: Drift) -> None:
    rows = [
        (
            _cut(each.what),
            each.kind.replace("_", " "),
            each.breaches,
            f"{each.rate:.2%}",
            ", ".join(f"{device} {rate:.1%}" for device, rate in list(each.devices.items())[:3]),
        )
        for each in found.breaches[:MAX_ROWS]
    ]
    if rows:
        console.print(table("breaches of the data contract", ("column", "kind", "cells", "rate", "most on"), rows))


def _trial(found: Drift) -> None:
    if found.trial_beside_control:
        first = found.trial_beside_control[0]
        words = f"Rollout {found.trial}: {first.trial} devices on trial and {first.control} others differ most in"
        chance = f"{first.what} ({first.distance:.1%} of rows); exchanged devices do with p = {first.probability:.3g}."
        console.print(Text(f"{words} {chance}"))


def _groups(column: GroupFairness) -> None:
    rows = [
        (_cut(group.value), group.rows, rate(group.selection), rate(group.true_positive), rate(group.false_positive))
        for group in column.groups
    ]
    columns = (column.column, "rows", "selection rate", "true positive", "false positive")
    console.print(table("", columns, rows))
    if column.suppressed:
        console.print(Text(f"{column.suppressed} groups have fewer than 30 rows and are not shown.", "dim"))
    difference = column.difference
    for name, value in column.measures.items():
        inside = rate(difference) if name == "demographic_parity_difference" else f"{value:.3f}"
        console.print(Text(f"  {name}: {inside}"))


def bar(distance: float, limit: float | None) -> str:
    """Returns a bar that is full at the limit of the past, or at all rows; a larger one ends with >."""
    full = limit or 1.0
    width = min(BAR, round(BAR * distance / full))
    return "█" * (BAR - 1) + ">" if limit and distance > limit else "█" * width + "·" * (BAR - width)


def rate(found: Rate) -> str:
    """A rate with its interval."""
    if found.value is None or found.low is None or found.high is None:
        return "-"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"
