"""`edgeward rollout template save | list | show | delete`: strategy, selector and hours under a name.

Decides what a line says about a template. Refuses to know how a start uses one: the controller fills it in.
"""

import click

from edgeward.answers.rollouts import Template
from edgeward.cli.key_values import pairs
from edgeward.cli.named import ONLY, with_saved
from edgeward.cli.render import csv_option, json_option, print_json, print_table, say_done, when
from edgeward.cli.strategy_file import NAMED, read_strategy
from edgeward.cli.toml_place import hours_of_week, told_by_line
from edgeward.client import Client

NO_TEMPLATES = "no templates: save one with `edgeward rollout template save NAME`"


@click.group()
def template() -> None:
    """Strategy, devices and hours under a name, which `rollout start --template` uses."""


@template.command()
@click.argument("name")
@click.option("--strategy", default="canary", show_default=True, help=NAMED)
@click.option(
    "--select", "--label", "selectors", multiple=True, metavar="LABEL=VALUE|SELECTOR", callback=with_saved, help=ONLY
)
@click.option(
    "--hours", multiple=True, callback=hours_of_week, help='Only in these hours, in UTC: "mon-fri 08:00-16:00".'
)
@click.option("--note", default="", help="What it is for.")
@json_option
def save(
    name: str, strategy: str, selectors: tuple[str, ...], hours: tuple[str, ...], note: str, *, as_json: bool
) -> None:
    """Save NAME, or its next revision. Rollouts that have begun do not change."""
    with told_by_line(strategy):
        made = Client().save_template(
            name, strategy=read_strategy(strategy), selector=pairs(selectors), hours=hours, note=note
        )
    words = f"{made.name}, revision {made.revision}: {words_of(made)}"
    say_done(words, facts=made.plain, as_json=as_json)


@template.command(name="list")
@csv_option
@json_option
def list_(*, as_json: bool) -> None:
    """List the newest revision of every template."""
    found = Client().templates()
    if as_json:
        print_json(found.plain)
        return
    rows = [(each.name, each.revision, each.by, when(each.at), words_of(each)) for each in found]
    print_table("rollout templates", ("name", "revision", "by", "at", "what"), rows, empty=NO_TEMPLATES)


@template.command()
@click.argument("name")
@click.option("--revision", type=click.IntRange(1), help="Only this one; the newest 20 are kept.")
@csv_option
@json_option
def show(name: str, revision: int | None, *, as_json: bool) -> None:
    """Show the revisions of a template, the newest first: who has saved what, and when."""
    found = [each for each in Client().template(name) if revision in (None, each.revision)]
    if not found:
        raise click.BadParameter(f"{name} has no revision {revision} any more, or not yet", param_hint="--revision")
    if as_json:
        print_json([each.plain for each in found])
        return
    rows = [(each.revision, each.by, when(each.at), words_of(each)) for each in found]
    print_table(f"{name}, newest first", ("revision", "by", "at", "what"), rows, empty=NO_TEMPLATES)


@template.command()
@click.argument("name")
@json_option
def delete(name: str, *, as_json: bool) -> None:
    """Delete a template with its revisions. Rollouts that began with it keep what they took."""
    found = Client().delete_template(name)
    words = f"deleted {found.name}: {words_of(found)}"
    say_done(words, facts=found.plain, as_json=as_json)


def words_of(found: Template) -> str:
    """Says in words what a template does."""
    labels = " ".join(f"{key}={value}" for key, value in sorted(found.selector.items())) or "every device"
    hours = f", in {' and '.join(found.hours)} UTC" if found.hours else ""
    return f"{found.strategy_name} to {labels}{hours}" + (f"; {found.note}" if found.note else "")
