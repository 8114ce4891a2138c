"""`edgeward fleet` and `edgeward status`: the devices in counts, and whether the controller itself works.

Decides the words and the exit code of `status`. Refuses to know how health is judged.
"""

from collections.abc import Iterable, Iterator

import click

from edgeward.answers.alerts import Alert
from edgeward.answers.fleet import Fleet
from edgeward.answers.operators import Health
from edgeward.cli.render import (
    console,
    csv_asked,
    csv_option,
    how_right,
    json_option,
    many,
    print_json,
    print_table,
    size,
)
from edgeward.client import Client

FAILING_EXIT = 1
"""Exit code of `status` if the controller fails: for scripts and monitors."""
NONE_ANSWERS = "no version answers on a device yet: bring one there with `edgeward rollout start MODEL`"
_WEIGHTS = {"critical": 0, "warning": 1, "info": 2}
LATE_PASS_S = 60.0
"""Seconds from which on the age of the last pass is given in seconds, and not as "a moment ago"."""


@click.command()
@csv_option
@json_option
def fleet(*, as_json: bool) -> None:
    """Show the fleet in counts: presence, health, versions, alerts and open rollouts."""
    found = Client().fleet()
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (each.model, f"v{each.release}" if each.release else "unknown", each.devices, each.inferences, each.errors,
         each.refused, how_right(each))
        for each in found.serving
    ]  # fmt: skip
    if not csv_asked():
        for line in fleet_lines(found):
            console.print(line)
    print_table("versions that answer", _COLUMNS, rows, empty=NONE_ANSWERS)


_COLUMNS = ("model", "version", "devices", "inferences", "errors", "refused", "accuracy or error")


def fleet_lines(found: Fleet) -> Iterator[str]:
    """Yields the sentences above the table of versions."""
    yield f"{many(found.devices, 'device')}: {_counts(found.presence)}"
    yield f"health: {_counts(found.health)}"
    if found.faults:
        yield f"alarms: {_counts(found.faults)}"
    for each in found.findings:
        yield f"the controller: {each.code}: {each.detail}"
    for code in found.faults:
        yield f"  which: edgeward device list --code {code}"
    for lost in (each for each in found.serving if each.lost):
        of = f"{lost.model} v{lost.release} on {lost.lost} of {many(lost.devices, 'device')}"
        yield f"{of} is not in the registry, as after a restore: push it again, or roll another version out"
    for tried in (served for served in found.serving if served.unsure):
        who = f"{many(tried.unsure, 'device')} that {'is' if tried.unsure == 1 else 'are'} not online"
        yield f"{tried.model} v{tried.release} was on trial on {who}: not counted below"
    if found.fetching:
        yield f"on their way: versions to {many(found.fetching, 'device')}, {size(found.bytes_s)}/s together"
    open_now = [each for each in found.rollouts if each.open]
    for rollout in open_now:
        where = f"wave {rollout.wave + 1} of {rollout.waves}"
        words = f"{rollout.model} v{rollout.release}, {rollout.status}, {where}"
        yield f"rollout {rollout.id}: {words}: {_counts(rollout.counts)}"
    if not open_now:
        yield "no rollout is under way"


@click.command()
@json_option
def status(*, as_json: bool) -> None:
    """Show whether the controller works: its passes, its broker, its disk, what expires, and how many alerts fire.

    Exit code 1 if it does not; alerts about devices and models do not change it.
    """
    client = Client()
    health = client.health()
    if as_json:
        print_json(health.plain)
    else:
        for line in status_lines(health, client.fleet(), client.alerts("firing")):
            console.print(line)
    if health.status != "ok":
        raise click.exceptions.Exit(FAILING_EXIT)


def status_lines(health: Health, fleet_now: Fleet, firing: Iterable[Alert] = ()) -> Iterator[str]:
    """Yields what the controller reports about itself, in words, and the number of alerts that fire."""
    yield f"controller: {health.status}"
    for each in fleet_now.findings:
        yield f"  {each.code}: {each.detail}"
    if by_weight := sorted(firing, key=lambda each: _WEIGHTS.get(each.severity, len(_WEIGHTS))):
        worst = by_weight[0]
        yield f"alerts: {len(by_weight)} firing, the worst: {worst.severity} {worst.name}, {worst.about}"
        yield "  all: edgeward alert list"
    ago = "a moment" if health.pass_age_s < LATE_PASS_S else f"{health.pass_age_s:.0f} s"
    yield f"last pass: {ago} ago"
    yield f"broker: {health.broker}, {'connected' if health.broker_connected else 'NOT connected'}"
    yield f"disk: {size(health.free_bytes)} free in the data directory"
    yield f"of the certificates and roles that people renew, the first expires in {health.expiry_days:.0f} days"
    yield f"devices: {health.devices}, {_counts(fleet_now.presence)}"
    lost = {
        "dropped": health.messages_dropped,
        "not authentic": health.messages_not_authentic,
        "put right on the broker": health.retained_put_right,
    }
    if any(lost.values()):
        yield f"messages: {_counts(lost)}"


def _counts(counted: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counted.items() if count) or "none"
