"""`edgeward device label | note | unquarantine` and `edgeward selector`: texts and labels that people give devices.

Decides how labels are written on a command line and in a CSV file. Refuses to know which labels a device may have.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from contract.names import check_device_name
from edgeward.cli.device_list import filter_options, filters_of
from edgeward.cli.key_values import pairs
from edgeward.cli.render import console, csv_option, json_option, many, print_json, print_table, when
from edgeward.cli.selection import (
    agree,
    from_option,
    matching,
    selected,
    selection_options,
    show_answers,
    yes_option,
)
from edgeward.client import Client

NO_SELECTORS = "no selectors: save one with `edgeward selector save NAME KEY=VALUE`"

TAKE_BACK = "-"
"""The cell of a CSV that removes a given label; an empty cell changes nothing."""

Changes = dict[str, str | None]


@click.command()
@click.argument("words", nargs=-1, metavar="[NAME]... [KEY=VALUE | KEY-]...")
@from_option
@filter_options
@yes_option
@json_option
def label(words: tuple[str, ...], file: Path | None, *, yes: bool, as_json: bool, **given: Any) -> None:
    """Give labels to devices: NAME... KEY=VALUE..., and KEY- removes one. They win over the device's own.

    With the filters of `device list` in place of names: to all devices that meet them. With --from a CSV: a column
    `device`, and a column for each label; an empty cell changes nothing, - removes it.
    """
    filters = filters_of(given)
    names = [word for word in words if not _is_change(word)] + matching(filters)
    wanted = read_changes([word for word in words if _is_change(word)])
    if not wanted and file is None:
        raise BadInput(Code.REQUEST_INVALID, "name a label: KEY=VALUE gives one, KEY- removes one")
    changes: dict[str, Changes] = {check_device_name(name): dict(wanted) for name in names}
    if file is not None:
        with click.open_file(str(file), encoding="utf-8-sig") as lines:
            changes |= {name: {**found, **wanted} for name, found in read_label_table(lines).items()}
    if not changes:
        raise BadInput(Code.REQUEST_INVALID, "name a device, or use --label or another filter, or --from with a CSV")
    ask = not yes and (bool(filters.asked()) or len(changes) > 1)
    agree("label", list(changes), "POST /v1/devices/label", ask=ask)
    show_answers(Client().label_devices(changes), lambda each: _words(changes[each.device]), as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("text", required=False)
@json_option
def note(name: str, text: str | None, *, as_json: bool) -> None:
    """Write a note about a device; an empty TEXT removes it. Without TEXT, show it."""
    client = Client()
    found = client.device(name).note if text is None else client.write_device_note(name, text)
    if as_json:
        print_json(None if found is None else {"text": found.text, "by": found.by, "at": found.at.isoformat()})
    else:
        console.print("no note" if found is None else f"{found.text} ({found.by}, {when(found.at)})")


@click.command()
@selection_options
@json_option
def unquarantine(names: tuple[str, ...], file: Path | None, *, yes: bool, as_json: bool, **given: Any) -> None:
    """Lift every quarantine of devices, so that versions that failed on them may be offered again."""
    chosen = selected("lift the quarantines of", names, file, given, yes=yes, call="unquarantine")
    lifted = Client().unquarantine(*chosen)
    about = chosen[0] if len(chosen) == 1 else f"{len(chosen)} devices"
    words = f"{lifted} {'version' if lifted == 1 else 'versions'} may be offered to {about} again"
    print_json({"versions": lifted}) if as_json else console.print(words)


@click.group()
def selector() -> None:
    """Names for labels, which rollouts and `device list` take by --selector."""


@selector.command()
@click.argument("name")
@click.argument("labels", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_option
def save(name: str, labels: tuple[str, ...], *, as_json: bool) -> None:
    """Save NAME for devices with all of these labels. Rollouts that have begun do not change."""
    made = Client().save_selector(name, pairs(labels))
    print_json(made.plain) if as_json else console.print(f"{made.name}: {_words(dict(made.labels))}")


@selector.command(name="list")
@csv_option
@json_option
def list_(*, as_json: bool) -> None:
    """List all saved selectors."""
    found = Client().selectors()
    if as_json:
        print_json(found.plain)
        return
    rows = [(each.name, each.by, when(each.at), _words(dict(each.labels))) for each in found]
    print_table("selectors", ("name", "by", "at", "labels"), rows, empty=NO_SELECTORS)


@selector.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show a selector, and the number of its devices now."""
    client = Client()
    found = client.selector(name)
    if as_json:
        print_json(found.plain)
        return
    count = client.count_devices(labels=found.labels)
    console.print(f"{found.name}: {_words(dict(found.labels))}; {many(count, 'device')} now")


@selector.command()
@click.argument("name")
@json_option
def delete(name: str, *, as_json: bool) -> None:
    """Delete a selector. Rollouts that began with it keep its labels."""
    found = Client().delete_selector(name)
    words = f"deleted {found.name}: {_words(dict(found.labels))}"
    print_json(found.plain) if as_json else console.print(words)


def read_changes(words: Sequence[str]) -> Changes:
    """Returns label -> value, None to remove it, from KEY=VALUE and KEY-."""
    changes: Changes = dict(pairs(tuple(word for word in words if "=" in word)))
    return changes | {word.removesuffix("-"): None for word in words if "=" not in word}


def read_label_table(lines: Iterable[str]) -> dict[str, Changes]:
    """Returns device -> label -> value from a CSV with a column `device`. BadInput names the line."""
    reader = csv.DictReader(line for line in lines if not line.startswith("#"))
    heading = reader.fieldnames or []
    if "device" not in heading or len(heading) < 2:
        raise BadInput(Code.REQUEST_INVALID, f"columns {', '.join(heading)[:80]!r}: expected `device`, then labels")
    found: dict[str, Changes] = {}
    for row in reader:
        cells = {key: (row[key] or "").strip() for key in heading if key != "device"}
        try:
            name = check_device_name((row["device"] or "").strip())
        except BadInput as error:
            raise BadInput(error.code, f"line {reader.line_num}: {error.detail}") from None
        found[name] = {key: None if cell == TAKE_BACK else cell for key, cell in cells.items() if cell}
    return {name: changes for name, changes in found.items() if changes}


def _is_change(word: str) -> bool:
    return "=" in word or word.endswith("-")


def _words(changes: Changes) -> str:
    return ", ".join(f"{key}={value}" if value is not None else f"{key}-" for key, value in sorted(changes.items()))
