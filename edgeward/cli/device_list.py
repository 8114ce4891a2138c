"""`edgeward device list`: the devices that pass filters, one line each if there is room.

Decides the columns. Refuses to know how devices are found: the controller filters, sorts and pages.
"""

import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import click

from edgeward.answers.devices import Device, DeviceModel, DevicePage
from edgeward.cli.key_values import pairs
from edgeward.cli.render import csv_asked, csv_option, duration, how_right, json_option, print_json, print_pages
from edgeward.client import Client
from edgeward.device_calls import DeviceFilters

NO_DEVICES = "no devices yet: make the files of one with `edgeward device config NAME --out DIRECTORY`"

F = TypeVar("F", bound=Callable[..., Any])
SCREEN_DEVICES = 50
"""Devices that a screen shows unless --limit says otherwise; a pipe, CSV and JSON get all of them."""
COLUMNS = ("device", "health", "model", "version", "seen", "why")
WIDE_COLUMNS = (
    "device",
    "presence",
    *COLUMNS[1:-1],
    "phase",
    "accuracy or error",
    "faults",
    "quarantined",
    "pinned",
    "expires",
    "labels",
    "why",
)


def filter_options(command: F) -> F:
    """Adds the filters of devices; the command gets them by `filters_of`."""
    for option in (
        click.option("--release", "--version", "version", default="", help="Devices on which this version answers."),
        click.option("--model", default="", help="Devices that have or shall have this model."),
    ):
        command = option(command)
    return plain_filter_options(command)


def plain_filter_options(command: F) -> F:
    """Adds the filters except model and release, for a command whose subject these are."""
    options = (
        click.option("--search", "text", default="", metavar="TEXT", help="A text in names, labels or codes."),
        click.option("--presence", multiple=True, metavar="WORD", help="online, offline, silent or unknown."),
        click.option(
            "--health", multiple=True, metavar="WORD", help="failing, attention, silent, offline, updating or well."
        ),
        click.option(
            "--label",
            "--select",
            "labels",
            multiple=True,
            metavar="KEY=VALUE",
            help="Devices with this label; may be repeated.",
        ),
        click.option("--selector", default="", metavar="NAME", help="Devices with the labels of a saved selector."),
        click.option("--code", default="", help="Devices with this code of a fault, a failed update or a quarantine."),
        click.option("--quarantined", is_flag=True, help="Devices with a version that is not offered to them again."),
        click.option("--pinned", is_flag=True, help="On which a pin holds a model, see `device pin`."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def filters_of(given: dict[str, Any], sort: str = "") -> DeviceFilters:
    """Returns the filters from a command's options; none of `given` passes every device."""
    if not given:
        return DeviceFilters(sort=sort)
    return DeviceFilters(
        text=given["text"],
        presence=given["presence"],
        health=given["health"],
        labels=pairs(given["labels"]),
        selector=given["selector"],
        model=given.get("model", ""),
        version=given.get("version", ""),
        code=given["code"],
        quarantined=given["quarantined"],
        pinned=given["pinned"],
        sort=sort,
    )


@click.command(name="list")
@filter_options
@click.option(
    "--sort", default="", help="device, presence, health, seen, version or label.KEY; -KEY reverses the order."
)
@click.option(
    "--limit", type=click.IntRange(min=1), help="The most devices to list. Default: 50 on a screen, else all."
)
@click.option("--wide", is_flag=True, help="Show presence, phase, accuracy, faults, expiry and labels too.")
@csv_option
@json_option
def list_devices(*, sort: str, limit: int | None, wide: bool, as_json: bool, **given: Any) -> None:
    """List the devices of the fleet: all of them, or those that meet every filter."""
    to_screen = sys.stdout.isatty() and not as_json and not csv_asked()
    limit = SCREEN_DEVICES if limit is None and to_screen else limit
    pages = iter(Client().device_pages(filters_of(given, sort), limit))
    if as_json:
        print_json([each.plain for page in pages for each in page.devices])
        return
    columns = WIDE_COLUMNS if wide or csv_asked() else COLUMNS
    first = next(pages)
    title = _title(min(first.total, limit or first.total), first.total)
    rows = (_rows_of_page(page, columns, given) for page in chain((first,), pages))
    filtered = bool(filters_of(given).asked())
    why = "".join(f"\n{sentence}" for sentence in first.unmatched)
    print_pages(title, columns, rows, empty=f"no device meets these filters{why}" if filtered else NO_DEVICES)


def _rows_of_page(page: DevicePage, columns: Sequence[str], given: dict[str, Any]) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for entry in page.devices:
        only = _held(entry) if given["pinned"] else {each.model for each in entry.models}
        wanted = {model for model in only if given["model"] in ("", model)}
        found += [tuple(row[name] for name in columns) for row in rows_of(entry, wanted)]
    return found


def _title(shown: int, total: int) -> str:
    if shown < total:
        return f"{shown} of {total} devices; --limit {total} shows all, filters show fewer (--help)"
    return f"{total} device{'s' if total != 1 else ''}"


def rows_of(entry: Device, only: Collection[str]) -> Iterator[dict[str, object]]:
    """Returns the rows of one device by column: one for each model of `only` that it has, or one without a model. The
    reason for its health appears once: in the row of its model, or in the first row.
    """
    nearest = entry.nearest_expiry(time.time())
    head: dict[str, object] = {
        "device": entry.device,
        "presence": entry.presence,
        "health": entry.health,
        "seen": f"{duration(entry.seen_s_ago)} ago" if entry.seen_s_ago is not None else None,
        "faults": " ".join(each.code for each in entry.faults) or None,
        "quarantined": ", ".join(entry.quarantined) or None,
        "pinned": ", ".join(f"{model} v{release}" for model, release in sorted(_held(entry).items())) or None,
        "expires": left(*nearest) if nearest is not None else None,
        "labels": " ".join(f"{key}={value}" for key, value in sorted(entry.labels.items())) or None,
    }
    models = [each for each in entry.models if each.model in only]
    why = entry.why if entry.health != "well" else None
    if not models:
        yield head | dict.fromkeys(("model", "version", "phase", "accuracy or error")) | {"why": why}
    about = next((each for each in models if _is_about(entry.why, each.model)), models[0] if models else None)
    for model in models:
        yield head | _model_cells(model) | {"why": why if model is about else None}


def _held(entry: Device) -> dict[str, int]:
    """Returns the models that a pin holds, with its release."""
    return entry.pinned | {model: pin.release for model, pin in entry.pins.items()}


def _is_about(why: str, model: str) -> bool:
    """Whether a reason is about a model: the controller begins such a reason with the model's name."""
    return why.startswith((f"{model} v", f"{model}: "))


def _model_cells(model: DeviceModel) -> dict[str, object]:
    state = model.state
    return {
        "model": model.model,
        "version": _version(model),
        "phase": state.phase if state is not None else None,
        "accuracy or error": how_right(model.serving),
    }


def _version(model: DeviceModel) -> str | None:
    """Returns the confirmed version, and after an arrow the one that the device must run instead."""
    stable, desired = model.stable_release, model.desired_release
    if desired is None or desired == stable:
        return f"v{stable}" if stable else None
    return f"v{stable} > v{desired}" if stable else f"> v{desired}"


def left(what: str, at: float) -> str:
    """Returns what expires, and in how many days."""
    days = (at - time.time()) / 86_400
    return f"{what} in {days:.0f} d" if days >= 1 else f"{what} in {days * 24:.0f} h" if days > 0 else f"{what} EXPIRED"
