"""`edgeward device retire | replace | adopt`: one device, many from a file, or those that meet filters."""

import json
import shlex
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from contract.names import in_file_name
from edgeward.answers.claims import DeviceAnswer
from edgeward.answers.table import Table
from edgeward.cli.render import csv_option, json_option, print_json, print_table, tell, when
from edgeward.cli.selection import agree, from_option, named, selected, selection_options, show_answers, yes_option
from edgeward.client import Client
from edgeward.files import PRIVATE, write_whole

NONE_RETIRED = "no device was taken out of the fleet: `edgeward device retire NAME` does that"

_NOT_KEPT = (
    "what only the old device knew is not here: copy [[sensor]], [serving], [feedback], [golden], "
    "[spool], [transfer], [intervals], [[capture]] and [[pin]] from its agent.toml by hand; enrol writes name, labels "
    "and certificates"
)
_out = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where the claims are written."
)


@click.command()
@selection_options
@json_option
def retire(names: tuple[str, ...], file: Path | None, *, yes: bool, as_json: bool, **given: Any) -> None:
    """Take devices out of the fleet: keys and sessions end, rollouts continue without them, history stays."""
    answers = Client().retire(selected("retire", names, file, given, yes=yes))
    show_answers(answers, lambda each: f"retired; {_revoked(each)}", as_json=as_json)


@click.command()
@selection_options
@_out
@json_option
def replace(names: tuple[str, ...], file: Path | None, out: Path, *, yes: bool, as_json: bool, **given: Any) -> None:
    """Put new hardware under an old name: old keys end, labels and desired versions stay; writes a claim for each."""
    answers = Client().replace(selected("replace", names, file, given, yes=yes))
    then = "on the device: edgeward-agent enrol {claim} --out {device}"
    _write_claims(answers, out, then, "replaced", as_json=as_json)
    if not as_json and any(each.claim is not None for each in answers):
        tell(_NOT_KEPT)


@click.command()
@yes_option
@from_option
@click.argument("names", nargs=-1)
@_out
@json_option
def adopt(names: tuple[str, ...], file: Path | None, out: Path, *, yes: bool, as_json: bool) -> None:
    """Adopt devices from another controller, with the models that they serve; writes a claim for each."""
    chosen = named(names, file)
    if not chosen:
        raise BadInput(Code.REQUEST_INVALID, "name a device, or use --from")
    agree("adopt", chosen, "POST /v1/devices/adopt", ask=not yes and len(chosen) > 1)
    answers = Client().adopt(chosen)
    _write_claims(
        answers,
        out,
        "beside its agent.toml, with its agent stopped: edgeward-agent adopt {claim} -c agent.toml",
        "adopted",
        as_json=as_json,
    )


@click.command()
@csv_option
@json_option
def retired(*, as_json: bool) -> None:
    """List devices that were taken out of the fleet."""
    found = Client().retired()
    if as_json:
        print_json(found.plain)
        return
    rows = [(one.device, when(one.at), one.by) for one in found]
    print_table("retired", ("device", "at", "by"), rows, empty=NONE_RETIRED)


def _write_claims(answers: Table[DeviceAnswer], out: Path, then: str, done: str, *, as_json: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for each in answers:
        if each.claim is not None:
            file = out / f"{in_file_name(each.device)}.claim.json"
            write_whole(file, json.dumps(each.claim.plain), mode=PRIVATE)
            if not as_json:
                told = then.format(claim=shlex.quote(file.name), device=shlex.quote(in_file_name(each.device)))
                tell(f"wrote {file}; within an hour, {told}")
    show_answers(answers, lambda each: f"{done}; {_revoked(each)}", as_json=as_json)


def _revoked(answer: DeviceAnswer) -> str:
    count = answer.certificates
    return f"{count or 'no'} certificate{'s were' if count != 1 else ' was'} revoked"
