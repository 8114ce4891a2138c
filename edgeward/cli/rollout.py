"""`edgeward rollout plan | start | watch | list | explain | approve | pause | resume | promote | abort | rollback |
policy | events`, and what `rollout_looks` adds.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.live import Live

from contract.errors import BadInput, Code, WorldError
from edgeward.answers.rollouts import Rollout, VerbPreview
from edgeward.cli.endings import Exit
from edgeward.cli.key_values import pairs
from edgeward.cli.moments import with_local_times
from edgeward.cli.named import HOW, ONLY, split_name, with_saved
from edgeward.cli.render import console, csv_option, json_option, print_json, print_table, tell, when
from edgeward.cli.rollout_looks import COMMANDS
from edgeward.cli.rollout_panels import cause, plan_panel, rollout_panel
from edgeward.cli.rollout_template import template as template_group
from edgeward.cli.strategy_file import NAMED, read_strategy
from edgeward.cli.times import AHEAD, FUTURE
from edgeward.cli.toml_place import hours_of_week, told_by_line
from edgeward.client import Client
from edgeward.rollout_handle import RolloutHandle

NO_ROLLOUTS = "no rollouts yet: begin one with `edgeward rollout start MODEL`"
NO_POLICIES = "no model is rolled out automatically: `edgeward rollout policy MODEL` does that from now on"
NO_VERDICTS = "no rule of its strategy reads labels, so there is nothing to judge again"
QUIET_S = 20.0
"""Seconds without a change after which what a rollout waits for is printed, if there is no screen: long enough for a
usual wave to move on, and shorter than a person waits before looking elsewhere."""
WAITS_AGAIN_S = 60.0
"""Seconds after which that is printed again if it has not changed."""


@click.group()
def rollout() -> None:
    """Bring a version to devices, wave by wave."""


def _about(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that define a rollout: the same for a preview and for a start."""
    for option in (
        click.option(
            "--hours", multiple=True, callback=hours_of_week, help='Only in these hours, in UTC: "mon-fri 08:00-16:00".'
        ),
        click.option(
            "--until", "end", type=FUTURE, metavar="WHEN", help="After this time no new device gets an offer."
        ),
        click.option(
            "--from", "begin", type=FUTURE, metavar="WHEN", help=f"Before this time no device gets an offer: {AHEAD}."
        ),
        click.option("--again", is_flag=True, help="Allow a version that was rolled back."),
        click.option(
            "--select",
            "--label",
            "selectors",
            multiple=True,
            metavar="LABEL=VALUE|SELECTOR",
            callback=with_saved,
            help=ONLY,
        ),
        click.option("--template", default="", metavar="NAME", help="A saved one, for what is not named here."),
        click.option("--strategy", help=f"{NAMED} Default: the template's, else canary."),
        click.option("--version", "--release", "release", help=f"Default: the newest that passed its gates. {HOW}"),
        click.argument("model"),
    ):
        command = option(command)
    return command


@rollout.command()
@_about
@json_option
def plan(
    *,
    model: str,
    release: str | None,
    strategy: str | None,
    template: str,
    selectors: tuple[str, ...],
    begin: datetime | None,
    end: datetime | None,
    hours: tuple[str, ...],
    again: bool,
    as_json: bool,
) -> None:
    """Show what a rollout of MODEL would do; changes nothing."""
    model, release = split_name(model, release)
    chosen = pairs(selectors)
    with told_by_line(strategy):
        found = Client().plan(
            model,
            release=release,
            strategy=None if strategy is None else read_strategy(strategy),
            template=template,
            selector=chosen,
            again=again,
            schedule=schedule_of(begin, end, hours),
        )
    print_json(found.plain) if as_json else console.print(plan_panel(found))


@rollout.command()
@_about
@click.option("--plan", "plan_digest", default="", help="Digest of a plan: start exactly that plan or nothing.")
@click.option("--watch", "watching", is_flag=True, help="Wait until it has ended.")
@click.option("--dry-run", is_flag=True, help="Only print what would happen; refused if the start would be.")
@json_option
def start(
    *,
    model: str,
    release: str | None,
    strategy: str | None,
    template: str,
    selectors: tuple[str, ...],
    begin: datetime | None,
    end: datetime | None,
    hours: tuple[str, ...],
    plan_digest: str,
    again: bool,
    watching: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Start a rollout of MODEL."""
    model, release = split_name(model, release)
    client = Client()
    with told_by_line(strategy):
        done = (client.dry_run if dry_run else client.rollout)(
            model,
            release=release,
            strategy=None if strategy is None else read_strategy(strategy),
            template=template,
            selector=pairs(selectors),
            plan_digest=plan_digest,
            again=again,
            schedule=schedule_of(begin, end, hours),
        )
    if isinstance(done, RolloutHandle):
        _finish(done, watching=watching, as_json=as_json)
    else:
        print_json(done.plain) if as_json else console.print(plan_panel(done))


@rollout.command(name="explain")
@click.argument("rollout_id")
@json_option
def explain_(rollout_id: str, *, as_json: bool) -> None:
    """Explain where a rollout stands and what it waits for."""
    sentences = Client().open_rollout(rollout_id).explain()
    if as_json:
        print_json(list(sentences.sentences))
        return
    console.print(with_local_times(str(sentences)))


@rollout.command()
@click.argument("rollout_id")
@click.option(
    "--plan", "plan_digest", default="", help="Digest of the plan that you have seen; without it you are asked."
)
@json_option
def approve(rollout_id: str, plan_digest: str, *, as_json: bool) -> None:
    """Approve a rollout that somebody else has proposed, so that it starts."""
    handle = Client().open_rollout(rollout_id)
    if not plan_digest:
        refuse_as_the_step(handle.preview("approve"))
        view = handle.show()
        console.print(rollout_panel(view))
        click.confirm(f"Let plan {view.plan_digest[:12]} start?", abort=True, err=True)
        plan_digest = view.plan_digest
    view = handle.approve(plan_digest)
    print_json(view.plain) if as_json else console.print(rollout_panel(view))


def refuse_as_the_step(found: VerbPreview) -> None:
    """Raises the BadInput of the step itself, before a person is asked to confirm it."""
    if not found.allowed:
        raise BadInput(Code(found.code), found.refusal)


@rollout.command()
@click.argument("rollout_id")
@json_option
def watch(rollout_id: str, *, as_json: bool) -> None:
    """Follow a rollout until it has ended. Exit code 1 if it did not complete."""
    _finish(Client().open_rollout(rollout_id), watching=True, as_json=as_json)


@rollout.command(name="list")
@click.option("--model", help="Only rollouts of a model.")
@click.option(
    "--status", multiple=True, metavar="WORD", help="A status such as paused or rolled_back; may be repeated."
)
@click.option("--open", "only_open", is_flag=True, help="Only rollouts that have not ended.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=1000, show_default=True, help="The most rollouts to list."
)
@json_option
@csv_option
def list_(model: str | None, status: tuple[str, ...], *, only_open: bool, limit: int, as_json: bool) -> None:
    """The newest rollouts, newest first, each with its cause and the devices that failed."""
    rollouts = Client().rollouts(model=model or "", status=status, only_open=only_open, limit=limit)
    if as_json:
        print_json(rollouts.plain)
        return
    rows = [(r.id, f"{r.model} v{r.release}", r.strategy, r.status, cause(r)) for r in rollouts]
    empty = "no rollout meets these filters" if model or status or only_open else NO_ROLLOUTS
    print_table("rollouts", ("id", "version", "strategy", "status", "reason"), rows, empty=empty)


@rollout.command()
@click.argument("model", required=False)
@click.option("--strategy", default="canary", show_default=True, help=NAMED)
@click.option(
    "--select", "--label", "selectors", multiple=True, metavar="LABEL=VALUE|SELECTOR", callback=with_saved, help=ONLY
)
@click.option("--approval", is_flag=True, help="Wait for a second person each time.")
@click.option("--off", is_flag=True, help="Stop automatic rollouts of MODEL.")
@csv_option
@json_option
def policy(
    model: str | None, strategy: str, selectors: tuple[str, ...], *, approval: bool, off: bool, as_json: bool
) -> None:
    """Roll every version of MODEL that passes its gates out automatically; without MODEL show all policies."""
    client = Client()
    if model is not None and off:
        client.end_deployment(model)
    elif model is not None:
        with told_by_line(strategy):
            client.deploy(model, strategy=read_strategy(strategy), selector=pairs(selectors), approval=approval)
    found = client.deployments()
    if as_json:
        print_json({name: each.plain for name, each in found.items()})
        return
    rows = [
        (name, each.strategy_name, "yes" if each.approval else "no", each.set_by, when(each.set_at))
        for name, each in sorted(found.items())
    ]
    print_table("deployment policies", ("model", "strategy", "approval", "set by", "at"), rows, empty=NO_POLICIES)


@rollout.command()
@click.option("--after", default="", help="The id of an event: stored events after it are printed first.")
def events(after: str) -> None:
    """Print what happens to rollouts, one CloudEvent per line, until the controller ends."""
    for event in Client().events(after):
        click.echo(json.dumps(event.plain))


@rollout.command()
@click.argument("rollout_id")
@click.option("--revert", is_flag=True, help="Roll it back if a rule fails.")
@csv_option
@json_option
def judge(rollout_id: str, *, revert: bool, as_json: bool) -> None:
    """Judge a rollout again after late labels (`edgeward label give`)."""
    verdicts = Client().open_rollout(rollout_id).judge(revert=revert)
    if as_json:
        print_json(verdicts.plain)
        return
    rows = [(each.word, each.metric, each.stratum, each.detail) for each in verdicts]
    print_table(
        "with the labels that there are now", ("verdict", "rule", "stratum", "numbers"), rows, empty=NO_VERDICTS
    )


def _wave_option(verb: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the option that names the wave, for the step that ends a wave."""
    if verb != "promote":
        return lambda command: command
    return click.option("--wave", type=click.IntRange(1), help="The number of the wave to end, from 1 on.")


def _steering(verb: str, words: str) -> click.Command:
    @click.command(name=verb, help=words)
    @click.argument("rollout_id")
    @json_option
    @click.option("--reason", default="", help="The reason, which is shown with the rollout and in the audit.")
    @click.option("--dry-run", is_flag=True, help="Only print what would happen. Exit code 3: it would be refused.")
    @_wave_option(verb)
    def steer(rollout_id: str, reason: str, *, dry_run: bool, as_json: bool, wave: int | None = None) -> None:
        handle = Client().open_rollout(rollout_id)
        if dry_run:
            found = handle.preview(verb)
            words = found.sentences or (found.refusal,)
            print_json(found.plain) if as_json else console.print("\n".join(words))
            sys.exit(Exit.DONE if found.allowed else Exit.REFUSED)
        seen = {} if wave is None else {"wave": wave - 1}
        view = getattr(handle, verb)(reason, **seen)
        print_json(view.plain) if as_json else console.print(rollout_panel(view))

    return steer


rollout.add_command(_steering("pause", "Offer it to no further device; running updates continue."))
rollout.add_command(_steering("resume", "Continue; failures until now no longer count."))
rollout.add_command(
    _steering("promote", "End the wave now, or say why it cannot end: no soak and no undecided rule holds it.")
)
rollout.add_command(
    _steering("abort", "Stop: devices that have confirmed the release keep it, all others are set back.")
)
rollout.add_command(_steering("rollback", "Roll every device of the rollout back to its last confirmed release."))


rollout.add_command(template_group)
for each in COMMANDS:
    rollout.add_command(each)


def schedule_of(begin: datetime | None, end: datetime | None, hours: tuple[str, ...]) -> dict[str, Any]:
    """Returns a schedule in the form of the API: times without a zone are those of this machine's zone."""
    moments = {"not_before": begin, "not_after": end}
    found: dict[str, Any] = {name: at.astimezone().timestamp() for name, at in moments.items() if at is not None}
    return {**found, **({"hours": list(hours)} if hours else {})}


def _finish(handle: RolloutHandle, *, watching: bool, as_json: bool) -> None:
    view = handle.show()
    if watching:
        try:
            view = handle.wait() if as_json else _follow(handle)
        except KeyboardInterrupt as error:
            raise click.Abort(f"still running; edgeward rollout watch {handle.id}") from error
    elif not as_json:
        console.print(rollout_panel(view))
        tell(f"next: edgeward rollout watch {handle.id}")
    if as_json:
        print_json(view.plain)
    if watching and view.status != "completed":
        sys.exit(1)


def _follow(handle: RolloutHandle) -> Rollout:
    view = handle.show()
    if not console.is_terminal:
        return _follow_in_lines(handle)
    with Live(console=console, refresh_per_second=4) as live:
        for view in handle.watch():
            live.update(rollout_panel(view))
    return view


def _follow_in_lines(handle: RolloutHandle) -> Rollout:
    """Prints a line for each change, and while nothing changes what it waits for and why: for logs, scripts and pipes,
    where nothing can be redrawn.
    """
    view, said, why = handle.show(), "", ""
    said_at = asked_at = time.monotonic()
    for view in handle.watch():
        line, now = progress_line(view), time.monotonic()
        if line != said:
            tell(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}")
            said, why, said_at, asked_at = line, "", now, now
        elif view.open and now - asked_at >= QUIET_S:
            waits, asked_at = _waits(handle), now
            if waits and (_without_numbers(waits) != _without_numbers(why) or now - said_at >= WAITS_AGAIN_S):
                tell(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}; {waits}")
                why, said_at = waits, now
    return view


def _waits(handle: RolloutHandle) -> str:
    """Returns what `explain` says of the reasons to wait, on one line; empty if the controller does not answer now."""
    try:
        said = handle.explain().sentences
    except WorldError:
        return ""
    return " ".join([each for each in said[1:] if not each.startswith("Wave ")] or said[-1:])


def _without_numbers(words: str) -> str:
    """Returns words to compare: seconds that pass are no change."""
    return re.sub(r"\d+", "", words)


def progress_line(view: Rollout) -> str:
    """Returns the state of a rollout on one line."""
    counts = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in view.counts.items() if count)
    why = cause(view)
    reason = f"; {why}" if why else ""
    head = f"{view.id} {view.model} v{view.release} {view.status}"
    return f"{head}, wave {view.wave + 1} of {view.waves}: {counts or 'no device yet'}{reason}"
