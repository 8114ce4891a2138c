"""`edgeward device pin | unpin`: holds a model on devices at one release, or ends that.

Decides the words of a preview and a result. Refuses to know what a pin does: the controller holds it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from edgeward.answers.devices import Device
from edgeward.answers.pins import PinAnswer
from edgeward.answers.table import Table
from edgeward.cli.moments import with_local_times
from edgeward.cli.render import json_option
from edgeward.cli.selection import plain_selection_options, selected, show_answers
from edgeward.cli.times import AHEAD, FUTURE
from edgeward.client import Client

model_option = click.option("--model", required=True, help="The model that is held.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would happen; refused where it would be.")


@click.command()
@plain_selection_options
@model_option
@click.option(
    "--release", "--version", "release", default=None, help="Number, semantic version or alias. Default: what it runs."
)
@click.option("--reason", default="", help="Why: it stands in plans, with the device and in the audit.")
@click.option("--until", type=FUTURE, metavar="WHEN", help=f"When it ends: {AHEAD}. Default: at `unpin`.")
@dry_run_option
@json_option
def pin(
    names: tuple[str, ...],
    file: Path | None,
    *,
    model: str,
    release: str | None,
    reason: str,
    until: datetime | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Hold a model on devices at one release: rollouts, roll backs and retries pass them by.

    A device on another release is sent to the pinned one. It is refused where that release cannot run there or may not
    be rolled out. The device's own [[pin]] wins.
    """
    client, end = Client(), None if until is None else until.astimezone()
    if end is not None and end <= datetime.now(UTC):
        raise BadInput(Code.REQUEST_INVALID, f"--until {end:%Y-%m-%d %H:%M %Z} is in the past: name a later time")

    def call(devices: list[str], *, only_say: bool) -> Table[PinAnswer]:
        return client.pin(devices, model, release=release, reason=reason, until=end, dry_run=only_say)

    _do("pin", (names, file, given), call, held_words, flags=(dry_run, yes, as_json))


@click.command()
@plain_selection_options
@model_option
@dry_run_option
@json_option
def unpin(
    names: tuple[str, ...],
    file: Path | None,
    *,
    model: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """End the pins of a model on devices. Each keeps what it runs, and open rollouts take it in again."""
    client = Client()

    def call(devices: list[str], *, only_say: bool) -> Table[PinAnswer]:
        return client.unpin(devices, model, dry_run=only_say)

    _do("unpin", (names, file, given), call, freed_words, flags=(dry_run, yes, as_json))


def _do(
    verb: str,
    about: tuple[tuple[str, ...], Path | None, dict[str, Any]],
    call: Callable[..., Table[PinAnswer]],
    words: Callable[[PinAnswer], str],
    *,
    flags: tuple[bool, bool, bool],
) -> None:
    """Shows the effects, or applies them after a person has agreed."""
    names, file, given = about
    dry_run, yes, as_json = flags
    chosen = selected(verb, names, file, given, yes=True)
    if not (dry_run or yes) and (len(chosen) > 1 or not names):
        click.echo("\n".join(summary(call(chosen, only_say=True))), err=True)
        chosen = selected(verb, chosen, None, {}, yes=False)
    would = "would be " if dry_run else ""
    show_answers(call(chosen, only_say=dry_run), lambda each: would + words(each), as_json=as_json)


def held_words(answer: PinAnswer) -> str:
    """Says at which release a device is held, and whether it must change to it."""
    if not answer.is_moved:
        return f"held at v{answer.release}"
    runs = f"from v{answer.runs}" if answer.runs not in (0, answer.release) else "now"
    return f"held at v{answer.release}, and sent there {runs}"


def freed_words(answer: PinAnswer) -> str:
    """Says which release a device has after the end of a pin."""
    if answer.rollout:
        return f"let go of v{answer.release}; {answer.rollout} takes it to v{answer.rollout_release}"
    runs = f"; it keeps v{answer.runs} until a rollout" if answer.runs else ""
    return f"let go of v{answer.release}{runs}"


def summary(answers: Table[PinAnswer]) -> Iterator[str]:
    """Yields a line for each kind of result of a request that has not been made yet, with the number of devices."""
    kinds = Counter(
        each.detail if each.code else f"v{each.release}: {'would be sent there' if each.is_moved else 'run it already'}"
        for each in answers
    )
    for words, count in kinds.most_common():
        yield f"{count} device{'s' if count != 1 else ''}: {words}"


def pin_lines(found: Device) -> Iterator[str]:
    """Yields a line for each model that is held on a device."""
    for model, release in sorted(found.pinned.items()):
        yield f"{model} is pinned at v{release} by its own configuration"
    for model, held in sorted(found.pins.items()):
        until = f" until {held.ends.isoformat()}" if held.ends is not None else ""
        why = f": {held.reason}" if held.reason else ""
        yield with_local_times(f"{model} is pinned at v{held.release} by {held.by}{until}{why}")
