"""`edgeward attest export | verify`: the fleet's statement about golden sets, and its check without a controller."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from edgeward.attest import Verified, digest_of, read_attestation, verify
from edgeward.cli.render import json_option, print_json, tell
from edgeward.client import Client
from edgeward.files import write_whole

MAX_NAMED = 10
"""The most devices that are named for each reason."""


@click.group()
def attest() -> None:
    """State which devices answered their versions' golden sets; anybody can check it offline."""


@attest.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def export(file: Path, *, as_json: bool) -> None:
    """Write the statement of the whole fleet to FILE, with every device's signed heartbeat."""
    found = Client().attestation()
    write_whole(file, msgspec.json.encode(found))
    if as_json:
        print_json({"file": str(file), "attestation": digest_of(found)})
        return
    tell(f"wrote {file}; check it, with or without a controller: edgeward attest verify {file}")


@attest.command(name="verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--authority", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The authority's certificate (PEM) from a source that you trust. Else compare the fingerprint.",
)  # fmt: skip
@json_option
def verify_(file: Path, authority: Path | None, *, as_json: bool) -> None:
    """Check FILE without a controller. Exit code 1 if some device has not proven itself, 2 if it is forged."""
    attestation = read_attestation(file)
    found = verify(attestation, authority.read_bytes() if authority is not None else b"")
    if as_json:
        print_json(_plain(found, digest_of(attestation)))
    else:
        _tell(found, pinned=authority is not None)
    raise SystemExit(1 if found.not_proven else 0)


def _tell(found: Verified, *, pinned: bool) -> None:
    tell(f"stated {datetime.fromtimestamp(found.made_at, UTC):%Y-%m-%d %H:%M} UTC, signed by the authority")
    tell(f"  {found.fingerprint}" + ("" if pinned else "  (compare it, or pass --authority)"))
    for (model, release, golden, rows), devices in sorted(found.proven.items()):
        noun = "device" if devices == 1 else "devices"
        tell(f"{devices} {noun} answered the {rows} questions of {model} v{release} within tolerance")
        tell(f"  golden set {golden}")
    if not found.proven:
        tell("no device has proven anything")
    for reason, count in Counter(found.not_proven.values()).most_common():
        named = [f"{device} {model}".strip() for (device, model), why in found.not_proven.items() if why == reason]
        more = f", and {count - MAX_NAMED} more" if count > MAX_NAMED else ""
        tell(f"{count} not counted, {reason.replace('_', ' ')}: {', '.join(named[:MAX_NAMED])}{more}")
    for device, words in list(found.overdue.items())[:MAX_NAMED]:
        tell(f"{device} says: {words}")
    if len(found.overdue) > MAX_NAMED:
        tell(f"{len(found.overdue) - MAX_NAMED} more devices say that no probe can run")


def _plain(found: Verified, digest: str) -> dict[str, object]:
    return {
        "attestation": digest,
        "authority": found.fingerprint,
        "made_at": found.made_at,
        "proven": [
            {"model": model, "release": release, "golden": golden, "questions": rows, "devices": devices}
            for (model, release, golden, rows), devices in sorted(found.proven.items())
        ],
        "not_proven": [
            {"device": device, "model": model, "reason": why} for (device, model), why in found.not_proven.items()
        ],
        "overdue": [{"device": device, "words": words} for device, words in found.overdue.items()],
    }
