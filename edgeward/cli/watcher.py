"""`edgeward watcher train | show`: the model that judges the vitals of devices.

Decides how it is shown in 80 columns. Refuses to know how it is fitted.
"""

from datetime import UTC, datetime

import click

from contract.watcher import WATCHER
from edgeward.answers.watcher import Watcher
from edgeward.cli.render import duration, json_option, print_json, tell
from edgeward.client import Client

OLD_D = 30
"""Days after which a version is called old: seasons and releases change what is usual."""
MAX_SHOWN = 20


@click.group()
def watcher() -> None:
    """Find devices whose vitals depart from what is usual for them."""


@watcher.command()
@click.option(
    "--days",
    type=click.FloatRange(1, 21),
    default=14.0,
    show_default=True,
    help="The number of newest days of the fleet's history.",
)
@json_option
def train(*, days: float, as_json: bool) -> None:
    """Train the watcher on the fleet's history, and push it as a version.

    It is trained on this machine. Its threshold lies above every hour of nine devices in ten. The controller uses it
    from now on; no device gets it.
    """
    made = Client().train_watcher(days)
    if as_json:
        print_json(made.plain)
        return
    metrics = made.metrics
    of = f"{metrics['devices']:.0f} devices, {metrics['device_months']:.1f} months of a device"
    tell(f"{WATCHER} v{made.release}: trained on {of}")
    tell(f"there it would have told of {metrics['alarms_per_device_month']:.2f} departures for a device and month")
    tell("the controller judges each hour by it: edgeward watcher show")


@watcher.command()
@json_option
def show(*, as_json: bool) -> None:
    """Show which devices depart from what is usual for them, and in which figure."""
    found = Client().watcher()
    if as_json:
        print_json(found.plain)
        return
    for line in lines_of(found, datetime.now(UTC)):
        tell(line)


def lines_of(found: Watcher, now: datetime) -> list[str]:
    """Yields the findings of the watcher, in sentences."""
    if not found.release:
        return ["no version judges: edgeward watcher train"]
    age_s = (now - datetime.fromisoformat(found.trained_at)).total_seconds()
    old = ", which is old: edgeward watcher train" if age_s > OLD_D * 86_400 else ""
    lines = [f"{found.model} v{found.release}, trained {duration(age_s)} ago{old}"]
    if found.fault:
        lines.append(f"the newest look came to nothing: {found.fault}")
    if found.looked_at is None:
        return [*lines, "it has not judged the fleet yet: it does so within a minute"]
    young = f"; {found.young} have less than three days of vitals" if found.young else ""
    lines.append(f"{found.judged} devices judged {duration(now.timestamp() - found.looked_at)} ago{young}")
    if not found.departures:
        lines.append("none departs from what is usual for it")
    for each in found.departures[:MAX_SHOWN]:
        lines += [f"{each.device}  {each.times:.1f} times the threshold", f"  {each.says}"]
    if len(found.departures) > MAX_SHOWN:
        lines.append(f"{len(found.departures) - MAX_SHOWN} more: --json")
    if found.departures:
        lines.append(f"look further: edgeward device vitals {found.departures[0].device} --hours 168")
    return lines
