"""`edgeward device retire | replace | adopt`: one device, many from a file, or those with a label."""

import csv
import json
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from contract.errors import BadInput, Code
from contract.names import check_device_name, in_file_name
from edgeward.answers.devices import DeviceAnswer
from edgeward.answers.table import Table
from edgeward.cli.model import pairs
from edgeward.cli.render import console, json_option, print_json, table, tell, when
from edgeward.client import Client
from edgeward.files import PRIVATE, write_whole

COLUMNS = ("device", "name")
"""Headings under which a CSV file may name devices; without a heading it is the first column."""


def _about(command: Callable[..., None]) -> Callable[..., None]:
    """Which devices a command is about."""
    for option in (
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option(
            "--from",
            "file",
            type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
            help="Names in a file, one a line or a .csv with a column `device`; - for standard input.",
        ),
        click.argument("names", nargs=-1),
    ):
        command = option(command)
    return command


_NOT_KEPT = (
    "what only the old device knew is not here: copy [[sensor]], [serving], [feedback], [spool], "
    "[transfer], [intervals], [[capture]] and [[pin]] from its agent.toml by hand; enrol writes name, labels "
    "and certificates"
)
_select = click.option("--select", "selectors", multiple=True, metavar="LABEL=VALUE", help="Devices with this label.")
_out = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where the claims are written."
)


@click.command()
@_about
@_select
@json_option
def retire(names: tuple[str, ...], file: Path | None, selectors: tuple[str, ...], *, yes: bool, as_json: bool) -> None:
    """Take devices out of the fleet: keys and sessions end, rollouts go on without them, history stays."""
    chosen = _chosen(names, file)
    _confirm("retire", chosen, selectors, yes=yes)
    _show(Client().retire(chosen, selector=pairs(selectors)), as_json=as_json)


@click.command()
@_about
@_select
@_out
@json_option
def replace(
    names: tuple[str, ...], file: Path | None, selectors: tuple[str, ...], out: Path, *, yes: bool, as_json: bool
) -> None:
    """Let new hardware have an old name: the old keys end, labels and what is desired stay; writes a claim for each."""
    chosen = _chosen(names, file)
    _confirm("replace", chosen, selectors, yes=yes)
    answers = Client().replace(chosen, selector=pairs(selectors))
    _write_claims(answers, out, "on the device: edgeward-agent enrol {claim} --out {device}", as_json=as_json)
    if not as_json and any(each.claim is not None for each in answers):
        tell(_NOT_KEPT)


@click.command()
@_about
@_out
@json_option
def adopt(names: tuple[str, ...], file: Path | None, out: Path, *, yes: bool, as_json: bool) -> None:
    """Take devices over from another controller, with the models that they serve; writes a claim for each."""
    chosen = _chosen(names, file)
    _confirm("adopt", chosen, (), yes=yes)
    answers = Client().adopt(chosen)
    _write_claims(
        answers,
        out,
        "beside its agent.toml, with its agent stopped: edgeward-agent adopt {claim} -c agent.toml",
        as_json=as_json,
    )


@click.command()
@json_option
def retired(*, as_json: bool) -> None:
    """Devices that were taken out of the fleet."""
    found = Client().retired()
    if as_json:
        print_json(found.plain)
        return
    console.print(table("retired", ("device", "at", "by"), [(one.device, when(one.at), one.by) for one in found]))


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


def _chosen(names: tuple[str, ...], file: Path | None) -> list[str]:
    if file is None:
        return [*names]
    if str(file) == "-":
        return [*names, *read_names(sys.stdin)]
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return [*names, *read_names(lines)]


def _confirm(verb: str, names: list[str], selectors: tuple[str, ...], *, yes: bool) -> None:
    """Asks before anything is done to more than the one device that was named."""
    if not names and not selectors:
        raise BadInput(Code.REQUEST_INVALID, "name a device, or use --from or --select")
    about = [f"{len(names)} devices" if len(names) > 1 else names[0]] if names else []
    about += [f"all with {' and '.join(selectors)}"] if selectors else []
    if not yes and (selectors or len(names) > 1):
        click.confirm(f"{verb.capitalize()} {', '.join(about)}?", abort=True, err=True)


def _show(answers: Table[DeviceAnswer], *, as_json: bool) -> None:
    """What became of each. Exit code 1 if something was not done."""
    refused = [each for each in answers if each.code]
    if as_json:
        print_json(answers.plain)
    else:
        for each in answers:
            words = f"[red]{each.code}[/]: {each.detail}" if each.code else f"{each.certificates} certificates revoked"
            console.print(f"{each.device}: {words}", highlight=False)
    if refused:
        raise click.exceptions.Exit(1)


def _write_claims(answers: Table[DeviceAnswer], out: Path, then: str, *, as_json: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for each in answers:
        if each.claim is not None:
            file = out / f"{in_file_name(each.device)}.claim.json"
            write_whole(file, json.dumps(each.claim.plain), mode=PRIVATE)
            if not as_json:
                told = then.format(claim=shlex.quote(file.name), device=shlex.quote(in_file_name(each.device)))
                tell(f"wrote {file}; within an hour, {told}")
    _show(answers, as_json=as_json)
