"""`edgeward rollout show | timeline | members | compare | retry | note | ticket | comment | review | discussion`."""

from datetime import UTC, datetime

import click

from edgeward.answers.rollout_looks import Discussion
from edgeward.cli.render import (
    console,
    csv_asked,
    csv_option,
    json_option,
    many,
    print_json,
    print_table,
    table,
    tell,
    when,
)
from edgeward.cli.rollout_panels import rollout_panel
from edgeward.cli.rollout_timeline import picture, story_lines
from edgeward.client import Client

OUTCOMES = (
    "waiting",
    "pending",
    "succeeded",
    "failed",
    "rejected",
    "silent",
    "regressed",
    "absent",
    "stopped",
    "sent_back",
    "retired",
    "pinned",
)


@click.command()
@click.argument("rollout_id")
@json_option
def show(rollout_id: str, *, as_json: bool) -> None:
    """Show a rollout: its waves, rules, failures, and its history."""
    handle = Client().open_rollout(rollout_id)
    view, events, written = handle.show(), handle.story(), handle.discussion()
    if as_json:
        print_json(view.plain)
        return
    console.print(rollout_panel(view))
    for line in picture(view, events, datetime.now(UTC), console.width):
        console.print(line)
    for words in written_words(written):
        console.print(words)


@click.command()
@click.argument("rollout_id")
@json_option
@csv_option
def timeline(rollout_id: str, *, as_json: bool) -> None:
    """Show what has happened to a rollout, as a picture over time and in words, oldest first."""
    handle = Client().open_rollout(rollout_id)
    events = handle.story()
    if as_json:
        print_json(events.plain)
    elif csv_asked():
        rows = [(each.at.isoformat(), each.kind, each.action, each.by, each.device, each.text) for each in events]
        print_table("events", ("at", "kind", "action", "by", "device", "text"), rows, empty="no events")
    else:
        for line in (*picture(handle.show(), events, datetime.now(UTC), console.width), *story_lines(events)):
            console.print(line)


@click.command()
@click.argument("rollout_id")
@click.option(
    "--outcome", "outcomes", multiple=True, type=click.Choice(OUTCOMES), help="An outcome to list; may be repeated."
)
@json_option
@csv_option
def members(rollout_id: str, outcomes: tuple[str, ...], *, as_json: bool) -> None:
    """List the devices of a rollout with the outcome of each."""
    found = Client().open_rollout(rollout_id).members(*outcomes)
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (each.device, each.wave + 1, each.stratum, each.outcome, f"{each.code} {each.detail}".strip() or each.phase)
        for each in found
    ]
    which = f" with the outcome {' or '.join(outcomes)}" if outcomes else ""
    empty = f"{rollout_id} has no device{which}"
    print_table("members", ("device", "wave", "kind", "outcome", "says"), rows, empty=empty)


@click.command()
@click.argument("left")
@click.argument("right")
@json_option
@csv_option
def compare(left: str, right: str, *, as_json: bool) -> None:
    """Compare two rollouts: versions, endings, verdicts of rules, and failed devices of each."""
    found = Client().open_rollout(left).compare(right)
    if as_json:
        print_json(found.plain)
        return
    rows = [(each.what, each.left, each.right) for each in found.rows]
    rows += [(f"device {each.device}", each.left, each.right) for each in found.devices]
    if csv_asked() or console.width > 140:
        print_table("two rollouts", ("what", found.left, found.right), rows, empty="nothing differs")
        return
    console.print(f"{found.left} and {found.right}; = where both say the same")
    for what, one, other in rows:
        words = f"  = {one or '-'}" if one == other else f"  1 {one or '-'}\n  2 {other or '-'}"
        console.print(f"{what}\n{words}")
    if found.devices_more:
        tell(f"{found.devices_more} more devices failed in one of them: --json has the first 100 by name")


@click.command()
@click.argument("rollout_id")
@json_option
def retry(rollout_id: str, *, as_json: bool) -> None:
    """Try again, only on the devices on which an ended rollout failed."""
    handle = Client().open_rollout(rollout_id).retry()
    view = handle.show()
    if as_json:
        print_json(view.plain)
        return
    console.print(rollout_panel(view))
    tell(f"next: edgeward rollout watch {handle.id}")


@click.command()
@click.argument("rollout_id")
@click.argument("text")
@json_option
def note(rollout_id: str, text: str, *, as_json: bool) -> None:
    """Replace the note of a rollout by TEXT; an empty text removes it."""
    found = Client().open_rollout(rollout_id).write_note(text)
    print_json(found.plain) if as_json else tell("kept" if found.note is not None else "removed")


@click.command()
@click.argument("rollout_id")
@click.argument("address")
@json_option
def ticket(rollout_id: str, address: str, *, as_json: bool) -> None:
    """Link a rollout with a ticket at ADDRESS; an empty address removes the link."""
    found = Client().open_rollout(rollout_id).set_ticket(address)
    print_json(found.plain) if as_json else tell(f"linked with {found.ticket}" if found.ticket else "no ticket")


@click.command()
@click.argument("rollout_id")
@click.argument("text")
@json_option
def comment(rollout_id: str, text: str, *, as_json: bool) -> None:
    """Write a comment beside a rollout; @NAME notifies a person by an event."""
    found = Client().open_rollout(rollout_id).comment(text)
    print_json(found.plain) if as_json else tell(many(len(found.comments), "comment"))


@click.command()
@click.argument("rollout_id")
@click.argument("who")
@click.argument("text", default="")
@json_option
def review(rollout_id: str, who: str, text: str, *, as_json: bool) -> None:
    """Ask WHO to look at a rollout; their next comment or approval ends that."""
    found = Client().open_rollout(rollout_id).ask_review(who, text)
    print_json(found.plain) if as_json else tell("\n".join(written_words(found)))


@click.command()
@click.argument("rollout_id")
@json_option
def discussion(rollout_id: str, *, as_json: bool) -> None:
    """Show what people wrote beside a rollout."""
    found = Client().open_rollout(rollout_id).discussion()
    if as_json:
        print_json(found.plain)
        return
    lines = written_words(found)
    for words in lines or [f"Nobody has written anything yet: edgeward rollout comment {rollout_id} TEXT"]:
        console.print(words)
    rows = [(when(each.at), each.by, each.text) for each in found.comments]
    if rows:
        console.print(table("comments", ("at", "by", "text"), rows))


def written_words(found: Discussion) -> list[str]:
    """Yields the note, the ticket, and the people who have not looked yet."""
    missing = [each.who for each in found.reviews if not each.done_at]
    lines = [f"note by {found.note.by}: {found.note.text}"] if found.note is not None else []
    lines += [f"ticket: {found.ticket}"] if found.ticket else []
    lines += [f"waits for the look of {', '.join(missing)}"] if missing else []
    return lines


COMMANDS = (show, timeline, members, compare, retry, note, ticket, comment, review, discussion)
