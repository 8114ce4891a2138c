"""`edgeward data make | list | show | diff | export | delete | deletions`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from contract.errors import BadInput, Code
from edgeward.answers.data import Deletion, RowsLeftOut
from edgeward.cli.render import (
    console,
    csv_asked,
    csv_option,
    json_option,
    print_json,
    print_table,
    say_done,
    size,
    table,
    tell,
    when,
    zone,
)
from edgeward.cli.times import AGO, PAST
from edgeward.client import Client
from edgeward.runs.deleted import forget_rows
from edgeward.runs.store import RunStore

WAIT_S = 30.0
NO_DATA_SETS = "no data sets: make one of captured rows with `edgeward data make NAME --model MODEL`"
LOOK_S = 0.5


@click.group()
def data() -> None:
    """Data sets: what devices captured, with labels, as versions."""


@data.command()
@click.argument("name")
@click.option("--model", required=True, help="Whose captured rows.")
@click.option("--since", type=PAST, metavar="WHEN", help=f"Rows since {AGO}.")
@click.option("--until", type=PAST, metavar="WHEN", help="As --since.")
@click.option("--labelled", is_flag=True, help="Only rows with a label.")
@click.option("--remove", multiple=True, metavar="COLUMN", help="A column to leave out for privacy; may be repeated.")
@click.option("--keep-days", default=0.0, help="Days after which it is deleted automatically; default: never.")
@json_option
def make(
    name: str, *, model: str, since: datetime | None, until: datetime | None, labelled: bool,
    remove: tuple[str, ...], keep_days: float, as_json: bool,
) -> None:  # fmt: skip
    """Make the next version of NAME from the rows that devices captured."""
    made = Client().make_data_set(
        name, model, since=_seconds(since), until=_seconds(until), labelled=labelled, remove=remove,
        keep_days=keep_days,
    )  # fmt: skip
    if as_json:
        print_json(made.plain)
        return
    found = made.data_set
    if not made.new:
        tell(f"same rows as {found.reference}: no version was made")
        return
    tell(f"{found.reference}: {found.rows} rows, {found.labelled} with a label; devices: {found.devices}")
    tell(f"next: edgeward data export {found.reference} --out rows.parquet")


@data.command(name="list")
@csv_option
@json_option
def list_(*, as_json: bool) -> None:
    """List all versions of all data sets."""
    client = Client()
    found = client.data_sets()
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (each.reference, each.model, each.rows, each.labelled, size(each.size_bytes), when(each.created_at),
         each.sha256[:8] or f"deleted: {each.deleted_why}")
        for each in found
    ]  # fmt: skip
    columns = ("version", "model", "rows", "labelled", "size", f"made ({zone()})", "digest")
    print_table("data sets", columns, rows, empty=NO_DATA_SETS)
    if not csv_asked():
        _tell_left_out(client.rows_left_out())


def _tell_left_out(left_out: Sequence[RowsLeftOut]) -> None:
    for each in left_out:
        named = f"{each.model} v{each.release}" if each.model else "other versions"
        tell(f"not kept: {each.rows} captured rows of {named}, which the registry does not have")
    if left_out:
        tell("push what these devices run again, or roll out a version that is there")


@data.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@json_option
def show(reference: str, *, as_json: bool) -> None:
    """Show one version with its schema; without @VERSION the newest."""
    found = Client().data_set(reference)
    if as_json:
        print_json(found.plain)
        return
    times = [when(datetime.fromtimestamp(each, UTC)) for each in (found.since, found.until)]
    tell(f"{found.reference} of {found.model}: {found.rows} rows, {found.labelled} with a label")
    tell(f"  digest    {found.sha256 or 'deleted'}")
    tell(f"  captured  {times[0]} to {times[1]} {zone()}; devices: {found.devices}")
    tell(f"  made      {when(found.created_at)} {zone()} by {found.created_by}, {size(found.size_bytes)}")
    if found.keep_until:
        tell(f"  kept      until {when(datetime.fromtimestamp(found.keep_until, UTC))} {zone()}")
    if found.erased_rows or found.deleted_at:
        why = f"; {found.deleted_why}" if found.deleted_why else ""
        tell(f"  deleted   {found.erased_rows} rows{why}")
    console.print(table("columns", ("column", "type"), list(found.columns.items())))


@data.command()
@click.argument("name")
@click.argument("before", type=int)
@click.argument("after", type=int)
@json_option
def diff(name: str, before: int, after: int, *, as_json: bool) -> None:
    """Show what differs between two versions of NAME."""
    found = Client().compare_data_sets(name, before, after)
    if as_json:
        print_json(found.plain)
        return
    tell(f"{found.before} -> {found.after}: {found.added} rows new, {found.gone} gone, {found.relabelled} relabelled")
    for words, columns in (("new", found.columns_added), ("gone", found.columns_gone)):
        if columns:
            tell(f"  columns {words}: {', '.join(columns)}")
    for name_, types in found.types_changed.items():
        tell(f"  column {name_}: {types}")
    rows = [(f"label {label}", *map(str, pair)) for label, pair in found.labels.items()]
    rows += [(f"mean of {column}", *(f"{each:.6g}" for each in pair)) for column, pair in found.means.items()]
    if rows:
        console.print(table("differences", ("what", found.before, found.after), rows))


@data.command()
@click.argument("reference", metavar="NAME[@VERSION]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .parquet or .csv file.")
@json_option
def export(reference: str, *, out: Path, as_json: bool) -> None:
    """Write the rows of a version to a file."""
    client = Client()
    if out.suffix == ".parquet":
        found = client.data_set(reference)
        out.write_bytes(client.data_file(found))
        facts: dict[str, object] = {"file": str(out), "rows": found.rows, "sha256": found.sha256}
        say_done(f"{found.rows} rows of {found.reference} in {out}, {found.sha256}", facts=facts, as_json=as_json)
    elif out.suffix == ".csv":
        rows = client.data_rows(reference)
        rows.to_csv(out, index=False)
        say_done(f"{len(rows)} rows in {out}", facts={"file": str(out), "rows": len(rows)}, as_json=as_json)
    else:
        raise BadInput(Code.REQUEST_INVALID, f"{out}: expected .parquet or .csv")


@data.command()
@click.argument("reference", metavar="[NAME@VERSION]", required=False)
@click.option(
    "--key", "keys", multiple=True, help="The key of a person or thing whose rows are meant; may be repeated."
)
@click.option("--answer", "answers", multiple=True, help="The rows of these answers; may be repeated.")
@click.option("--device", "devices", multiple=True, help="Rows of this device; may be repeated.")
@click.option("--model", default="", help="Only rows of this model.")
@click.option("--since", type=PAST, metavar="WHEN", help=f"Rows captured since {AGO}.")
@click.option("--before", type=PAST, metavar="WHEN", help="Rows captured before this time; forms as of --since.")
@click.option("--reason", default="", help="The reason, which is written into the audit.")
@click.option("--wait", "wait_s", default=WAIT_S, show_default=True, help="Seconds to wait for devices.")
@json_option
def delete(
    reference: str | None, *, keys: tuple[str, ...], answers: tuple[str, ...], devices: tuple[str, ...], model: str,
    since: datetime | None, before: datetime | None, reason: str, wait_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Delete rows everywhere: at the controller, in data sets, in runs here, on devices.

    With NAME@VERSION the rows of that version alone are deleted, and what devices captured stays. All conditions must
    hold; of several keys, answers or devices one is enough. Models that were trained on the rows are named.
    """
    client = Client()
    if reference is not None:
        gone = client.delete_data_set(reference)
        print_json(gone.plain) if as_json else tell(f"the rows of {gone.reference} are deleted")
        return
    found = client.delete_rows(
        reason, model=model, keys=keys, answers=answers, devices=devices, since=_seconds(since),
        before=_seconds(before),
    )  # fmt: skip
    local = forget_rows(RunStore(), frozenset(found.data_sets))
    until = time.monotonic() + wait_s
    while found.done_at is None and time.monotonic() < until:
        time.sleep(LOOK_S)
        found = client.deletion(found.id)
    if as_json:
        print_json(found.plain)
        return
    _say(found)
    if local:
        tell(f"  runs here that kept such rows, and keep them no more: {', '.join(local)}")


@data.command()
@click.argument("identifier", metavar="[ID]", required=False)
@csv_option
@json_option
def deletions(identifier: str | None, *, as_json: bool) -> None:
    """List all deletions of rows, or show one of them."""
    client = Client()
    if identifier is not None:
        if csv_asked():
            raise BadInput(Code.REQUEST_INVALID, "one deletion is no table: --json has all of it")
        found = client.deletion(identifier)
        print_json(found.plain) if as_json else _say(found)
        return
    listed = client.deletions()
    if as_json:
        print_json(listed.plain)
        return
    rows = [
        (each.id, when(each.asked_at), _took(each), each.captured_rows, sum(each.data_sets.values()),
         len(each.trained), each.reason)
        for each in listed
    ]  # fmt: skip
    columns = ("deletion", f"asked ({zone()})", "took", "captured", "in data sets", "models", "reason")
    print_table("deletions", columns, rows, empty="no rows were deleted by request")


def _say(found: Deletion) -> None:
    tell(f"{found.id}: {_took(found)}; {found.reason}")
    tell(f"  controller  {found.captured_rows} captured rows")
    for name, rows in found.data_sets.items():
        tell(f"  data set    {name}: {rows} rows")
    for device, count in found.devices.items():
        tell(f"  device      {device}: {'has not answered yet' if count is None else f'{count} rows'}")
    for each in found.trained:
        run = f", run {each.run}" if each.run else ""
        tell(f"  trained     {each.model} v{each.release} on {each.data_set}{run}")
    if not found.trained:
        tell("  trained     no version names these data sets in its lineage")


def _took(found: Deletion) -> str:
    waiting = sum(count is None for count in found.devices.values())
    return f"done after {found.took_s:.1f} s" if found.took_s is not None else f"waits for {waiting} devices"


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()
