"""The devices of a command: names, a file of names, or filters; and the question before the command runs.

Decides that a command on several devices runs only after a person has seen them and has typed their number. Refuses
to know the command.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from contract.errors import BadInput, Code
from contract.names import check_device_name
from edgeward.answers.claims import DeviceAnswer
from edgeward.answers.pins import PinAnswer
from edgeward.answers.table import Table
from edgeward.cli.device_list import filter_options, filters_of, plain_filter_options
from edgeward.cli.render import print_json, say
from edgeward.client import Client
from edgeward.device_calls import DeviceFilters

F = TypeVar("F", bound=Callable[..., Any])
D = TypeVar("D", DeviceAnswer, PinAnswer)
COLUMNS = ("device", "name")
"""Headings under which a CSV file may name devices; without a heading it is the first column."""
SHOWN_NAMES = 10
"""Names that a preview shows; the others are counted."""

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
from_option = click.option(
    "--from",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Names in a file, one a line or a .csv with a column `device`; - for standard input.",
)


def selection_options(command: F) -> F:
    """Adds names, --from, --yes and the filters of `device list`; the command gets names by `selected`."""
    for option in (yes_option, filter_options, from_option, click.argument("names", nargs=-1)):
        command = option(command)
    return command


def plain_selection_options(command: F) -> F:
    """As `selection_options`, without the filters by model and release: the command is about one model."""
    for option in (yes_option, plain_filter_options, from_option, click.argument("names", nargs=-1)):
        command = option(command)
    return command


def selected(
    verb: str, names: Sequence[str], file: Path | None, given: dict[str, Any], *, yes: bool, call: str = ""
) -> list[str]:
    """Returns the devices of a command once a person has agreed. BadInput if there is none.

    `call` is the end of the address that the command will call, if it is not the verb.
    """
    filters = filters_of(given)
    found = [*named(names, file), *matching(filters)]
    if not found:
        raise BadInput(Code.REQUEST_INVALID, "name a device, or use --from, --label or another filter")
    found = list(dict.fromkeys(found))
    agree(verb, found, f"POST /v1/devices/{call or verb}", ask=not yes and (bool(filters.asked()) or len(found) > 1))
    return found


def matching(filters: DeviceFilters) -> list[str]:
    """Returns the devices that meet filters; none without a filter. BadInput `selector_empty` if none does."""
    if not filters.asked():
        return []
    pages = list(Client().device_pages(filters, None))
    found = [device.device for page in pages for device in page.devices]
    if not found:
        why = "; ".join(pages[0].unmatched) or "`edgeward device list` takes them, too"
        raise BadInput(Code.SELECTOR_EMPTY, f"no device meets these filters: {why}")
    return found


def agree(verb: str, names: Sequence[str], deed: str, *, ask: bool) -> None:
    """Shows the devices of the command and continues only when a person has typed their number.

    A missing permission is reported before the question: BadInput `forbidden`, `outside_scope`.
    """
    if not ask:
        return
    Client().refuse_as(deed, names)
    count, more = len(names), len(names) - SHOWN_NAMES
    shown = ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
    click.echo(f"{verb.capitalize()} {count} device{'s' if count != 1 else ''}: {shown}.", err=True)
    if click.prompt(f"Type {count} to go on", default="", show_default=False, err=True).strip() != str(count):
        raise click.Abort


def named(names: Sequence[str], file: Path | None) -> list[str]:
    """Returns the names of the command line and of a file."""
    if file is None:
        return [*names]
    if str(file) == "-":
        return [*names, *read_names(sys.stdin)]
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return [*names, *read_names(lines)]


def read_names(lines: Iterable[str]) -> list[str]:
    """Names of devices in lines of text: one a line, or CSV. BadInput `name_invalid` names the line."""
    rows = [(number, row) for number, row in enumerate(csv.reader(lines), 1) if row and not row[0].startswith("#")]
    if not rows:
        return []
    heading = [cell.strip().lower() for cell in rows[0][1]]
    column = next((heading.index(name) for name in COLUMNS if name in heading), None)
    found = []
    for number, row in rows if column is None else rows[1:]:
        name = row[column or 0].strip() if len(row) > (column or 0) else ""
        try:
            found.append(check_device_name(name))
        except BadInput as error:
            raise BadInput(error.code, f"line {number}: {error.detail}") from None
    return found


def show_answers(answers: Table[D], done: Callable[[D], str], *, as_json: bool) -> None:
    """Prints the result for each device. Exit code 1 if something was not done."""
    if as_json:
        print_json(answers.plain)
    else:
        for each in answers:
            words = ((each.code, "red"), f": {each.detail}") if each.code else (done(each),)
            say(f"{each.device}: ", *words)
    if any(each.code for each in answers):
        raise click.exceptions.Exit(1)
