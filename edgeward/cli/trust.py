"""`edgeward trust init | status | sign | rotate | verify`."""

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from contract.manifest import Manifest
from contract.trust import chain, repository
from contract.wire import encode
from edgeward import ceremony
from edgeward.cli.render import (
    console,
    csv_asked,
    csv_option,
    json_option,
    print_json,
    print_table,
    say,
    say_done,
    tell,
    when,
)
from edgeward.client import Client

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_ROLES = ("director", "timestamp", "snapshot", "targets", "root", "release", "root-1", "root-2", "root-3")


@click.group()
def trust() -> None:
    """The keys, signatures and ceremonies that decide what devices run."""


@trust.command()
@click.argument("directory", type=_DIRECTORY)
@click.option("--root-keys", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option("--threshold", type=click.IntRange(1, 9), default=2, show_default=True, help="Root keys that must sign.")
@json_option
def init(directory: Path, root_keys: int, threshold: int, *, as_json: bool) -> None:
    """Make the keys and the first metadata of a new fleet in DIRECTORY."""
    ceremony.begin(directory, root_keys, threshold, _now())
    parts: dict[str, object] = {name: str(directory / name) for name in ("offline", "controller", "metadata")}
    if as_json:
        print_json({**parts, "root_keys": root_keys, "threshold": threshold})
        return
    tell(
        f"offline/     root, targets and release keys: move them to people and media; {threshold} of {root_keys} roots "
        f"sign\ncontroller/  copy to the controller's <data_dir>/keys\nmetadata/    name it in controller.toml: "
        f"[trust] metadata_dir"
    )


@trust.command()
@csv_option
@json_option
def status(*, as_json: bool) -> None:
    """Show roles, versions, expiries, keys, and what waits for a signature."""
    found = Client().trust()
    if as_json:
        print_json({name: found.plain[name] for name in ("roles", "unsigned")})
        return
    rows = [
        (
            row.role,
            row.version,
            when(row.expires),
            f"{row.threshold} of {len(row.keyids)}",
            " ".join(keyid[:8] for keyid in row.keyids),
        )
        for row in found.roles
    ]
    print_table("trust", ("role", "version", "expires", "signs", "keys"), rows, empty="no roles")
    for model, releases in {} if csv_asked() else found.unsigned.items():
        waiting = ", ".join(f"v{release}" for release in releases)
        console.print(f"{model} {waiting} wait for a signature: edgeward trust sign {model} --key FILE")


@trust.command()
@click.argument("model")
@click.option(
    "--key", "keys", type=_FILE, required=True, multiple=True, help="The key of a release signer; may be repeated."
)
@click.option("--targets-key", type=_FILE, help="Names these keys as the model's signers; all of them must sign then.")
@click.option("--min-release", type=int, default=0, help="Refuse all older versions from now on, permanently.")
@json_option
def sign(model: str, keys: tuple[Path, ...], targets_key: Path | None, min_release: int, *, as_json: bool) -> None:
    """Sign the versions of MODEL that have passed their gates."""
    proposal = Client().proposal(model)
    for release, plain in proposal.manifests.items() if not as_json else ():
        mark = "signed already" if int(release) in proposal.signed else "NEW"
        digest = msgspec.convert(plain, Manifest).artifact.sha256
        console.print(f"v{release}  {digest}  {mark}")
    targets = ceremony.open_key(targets_key) if targets_key else None
    signed = ceremony.vouch(
        Client(), model, [ceremony.open_key(key) for key in keys], targets=targets, floor=min_release, now=_now()
    )
    words = f"vouched for {', '.join(f'v{release}' for release in signed)}"
    say_done(words, facts={"model": model, "signed": list(signed)}, as_json=as_json)


@trust.command()
@click.argument("role", type=click.Choice(_ROLES))
@click.option("--keys", type=_DIRECTORY, help="Offline keys: root-*.pem, targets.pem. Without it the controller's own.")
@json_option
def rotate(role: str, keys: Path | None, *, as_json: bool) -> None:
    """Replace the key of ROLE. What the old key signs is refused from then on.

    `root` and `release` are keys of a fleet that its controller made itself; people keep `root-1` and so on.
    """
    made = Client().rotate(role).keyid if keys is None else ceremony.rotate(Client(), role, keys, _now())
    say_done(f"{role} signs with key {made[:12]} from now on", facts={"role": role, "keyid": made}, as_json=as_json)
    if not as_json:
        tell("next, since older backups do not hold this key: edgeward backup after-rotation.tar")


@trust.command()
@click.option("--root", type=_FILE, required=True, help="The root of trust of the devices.")
@json_option
def verify(root: Path, *, as_json: bool) -> None:
    """Follow the fleet's metadata as a device would, starting from a root of trust."""
    files = Client().trust().files
    trusted = chain.trust_root(root.read_text(encoding="utf-8"))
    raw = encode(repository.trust_bundle(files))
    while (version := chain.missing_root(trusted, raw)) is not None:
        trusted = chain.take_root(trusted, files[f"{version}.root.json"])
    trusted = chain.follow(trusted, raw, _now())
    verified: dict[str, list[int]] = {}
    for name in sorted(files):
        if name.startswith("models-"):
            model = name.removeprefix("models-").removesuffix(".json")
            trusted = chain.take_role(trusted, model, files[name].encode(), _now())
            verified[model] = sorted(repository.signed_releases(files, model)[0])
    until = chain.expires(trusted)
    for model, found in verified.items() if not as_json else ():
        say(f"{model}: {', '.join(f'v{release}' for release in found)}")
    facts = {"verified": verified, "good_until": until.isoformat()}
    say_done(("verified", "green"), f", good until {until:%Y-%m-%d %H:%M}", facts=facts, as_json=as_json)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
