"""`edgeward model check | search | diff | lineage | gates | policy | waive | alias | tag | note | clean`.

Decides how versions and what people write about them look in a terminal. Refuses to know how they are stored.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from edgeward.answers.models import FoundVersion, Gate, VersionDetail
from edgeward.cli.named import split_name, split_version
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
)
from edgeward.cli.toml_place import told_by_line
from edgeward.cli.version_view import chosen_words
from edgeward.client import Client

MAX_NAMED = 3
"""The most devices that are named for each reason why they cannot run a version. `--json` has all."""
SHOWN_CHARS = 60
"""Characters of a value in a comparison: two of them and their names fit in 160 columns. `--json` has all."""


@click.command()
@click.argument("text", default="")
@click.option(
    "--where", multiple=True, metavar="CONDITION", help="A condition such as 'metric.accuracy > 0.9'; may be repeated."
)
@click.option("--sort", default="-created_at", show_default=True, help="A field; with - before it descending.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Versions on a page.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Versions to leave out at the beginning.")
@csv_option
@json_option
def search(text: str, where: tuple[str, ...], sort: str, limit: int, offset: int, *, as_json: bool) -> None:
    """Find versions of all models: TEXT in names, tags and comments, and every condition.

    Fields are model, release, semver, created_at, created_by, estimator, task, digest, licence, revision, data,
    size_bytes, passed, withdrawn, tag.NAME, metric.NAME, param.NAME and alias.NAME; operators = != < <= > >= and ~ for
    a part of a text.
    """
    found = Client().search(*where, text=text, sort=sort, limit=limit, offset=offset)
    if as_json:
        print_json(found.plain)
        return
    empty = "\n".join(found.unknown) or "no version meets these conditions"
    print_table("versions", _COLUMNS, [_row(each) for each in found.versions], empty=empty)
    if offset + len(found.versions) < found.total and not csv_asked():
        console.print(f"{found.total} in all; next: --offset {offset + len(found.versions)}")


@click.command()
@click.argument("name")
@click.argument("before")
@click.argument("after")
@csv_option
@json_option
def diff(name: str, before: str, after: str, *, as_json: bool) -> None:
    """Show what differs between versions BEFORE and AFTER of NAME: signature, metrics, parity, size, origin."""
    found = Client().compare(name, before, after)
    if as_json:
        print_json(found.plain)
        return
    rows = [(each.section, each.name, each.before, each.after) for each in found.differences]
    columns = ("what", "name", f"v{found.before}", f"v{found.after}")
    if csv_asked():
        print_table("", columns, rows, empty="")
        return
    breaks = found.interface_change or "callers need not change"
    same = ", the same bytes" if found.same_artifact else ""
    console.print(f"{name} v{found.before} -> v{found.after}: {breaks}{same}")
    shown = [(what, name, _short(old), _short(new)) for what, name, old, new in rows]
    console.print(table("", columns, shown, empty="nothing that a version records differs"))


@click.command()
@click.argument("name")
@json_option
def lineage(name: str, *, as_json: bool) -> None:
    """Show where NAME@VERSION comes from, back to its first ancestor."""
    model, release = split_version(name)
    client = Client()
    chain = [client.version(model, release)]
    while (parent := chain[-1].lineage.parent) is not None and parent not in {each.release for each in chain}:
        chain.append(client.version(model, parent))
    if as_json:
        print_json([{"release": each.release, "lineage": each.plain["lineage"]} for each in chain])
        return
    for position, each in enumerate(chain):
        console.print(
            table(f"{model} v{each.release}" if position == 0 else f"from v{each.release}", ("", ""), _origin(each))
        )


@click.command()
@click.argument("name")
@csv_option
@json_option
def gates(name: str, *, as_json: bool) -> None:
    """Show the verdict of each gate on NAME@VERSION (default: the newest), its evidence, and what it detects."""
    model, release = split_name(name)
    client = Client()
    newest = client.versions(model)[-1].release if release is None else 0
    found = client.version(model, release or newest)
    if as_json:
        print_json(found.plain["gates"])
        return
    ordered = sorted(found.gates, key=lambda each: each.passed or each.waiver is not None)
    rows = [(each.gate, _verdict(each), each.detail, each.power, each.remedy) for each in ordered]
    print_table(f"{model} v{found.release}", ("gate", "verdict", "evidence", "power", "remedy"), rows, empty="no gates")
    if newest > 1 and not csv_asked():
        tell(f"v{newest} is the newest version; an earlier one: edgeward model gates {model}@{newest - 1}")


@click.command()
@click.argument("name")
@click.option(
    "--set", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file as configs/gates/example.toml: its limits hold for versions that are pushed from now on.",
)  # fmt: skip
def policy(name: str, file: Path | None) -> None:
    """Show the limits that versions of NAME must keep to before release, as JSON, or set them."""
    client = Client()
    if file is None:
        print_json(client.gate_policy(name).plain)
        return
    try:
        wanted = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"{file}: {error}") from None
    with told_by_line(file):
        print_json(client.set_gate_policy(name, wanted).plain)
    if name not in {each.name for each in client.models()}:
        click.echo(f"{name} has no version yet: these limits count from its first push on", err=True)


@click.command()
@click.argument("name")
@click.option("--gate", required=True, help="The gate; `edgeward model gates NAME` shows them.")
@click.option("--reason", required=True, help="The reason, which is shown with the version.")
@json_option
def waive(name: str, gate: str, reason: str, *, as_json: bool) -> None:
    """Make NAME@VERSION pass although a gate has failed."""
    model, release = split_version(name)
    found = Client().waive(model, release, gate, reason)
    words = "may be rolled out" if found.passed else "still has failed gates"
    say_done(f"{gate} is waived; {model} v{found.release} {words}", facts=found.plain, as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("alias", required=False)
@click.option("--remove", is_flag=True, help="End the alias.")
@csv_option
@json_option
def alias(name: str, alias: str | None, *, remove: bool, as_json: bool) -> None:
    """Make ALIAS name NAME@VERSION from now on; without ALIAS show the aliases of NAME.

    An alias can be used wherever a version is named: `edgeward rollout start weather@champion`.
    """
    client = Client()
    model, release = split_name(name)
    if alias is not None and remove:
        client.remove_alias(model, alias)
    elif alias is not None:
        client.set_alias(model, alias, split_version(name)[1])
    elif release is not None or remove:
        raise BadInput(Code.REQUEST_INVALID, f"name the alias too: edgeward model alias {name} champion")
    found = client.aliases(model)
    rows = [(each.alias, f"v{each.release}", each.by, when(each.at)) for each in found]
    empty = f"{model} has no aliases: give one with `edgeward model alias {model}@VERSION champion`"
    columns = ("alias", "version", "by", "at")
    print_json(found.plain) if as_json else print_table(model, columns, rows, empty=empty)


@click.command()
@click.argument("name")
@click.argument("tags", nargs=-1, required=True, metavar="KEY=VALUE...")
@json_option
def tag(name: str, tags: tuple[str, ...], *, as_json: bool) -> None:
    """Set tags of NAME@VERSION; KEY= without a value removes one."""
    changes: dict[str, str | None] = {}
    for text in tags:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise BadInput(Code.REQUEST_INVALID, f"{text!r}: expected KEY=VALUE, or KEY= to remove it")
        changes[key] = value or None
    found = Client().tag(*split_version(name), changes)
    words = ", ".join(f"{key}={value}" for key, value in found.tags.items()) or "no tags"
    say_done(words, facts=found.plain, as_json=as_json)


@click.command()
@click.argument("name")
@click.argument("text")
@json_option
def note(name: str, text: str, *, as_json: bool) -> None:
    """Replace the note of NAME@VERSION by TEXT; an empty TEXT removes it."""
    found = Client().write_note(*split_version(name), text)
    say_done("kept" if found.note else "removed", facts=found.plain, as_json=as_json)


@click.command()
@click.argument("name")
@json_option
def check(name: str, *, as_json: bool) -> None:
    """Show which devices of the fleet can run NAME@VERSION (default: newest), and why the others cannot."""
    model, release = split_name(name)
    found = Client().check(model, release or "newest")
    if as_json:
        print_json(found.plain)
        return
    counted = [
        f"{count} {'device runs' if count == 1 else 'devices run'} the form {form}"
        for form, count in found.forms.items()
    ]
    counted += [f"{len(found.unknown)} have not reported their hardware yet"] if found.unknown else []
    console.print(f"{model} v{found.release}: {'; '.join(counted) or 'no device runs it'}")
    if found.unfit:
        console.print(table("", ("why it cannot", "devices", "which"), _by_reason(found.unfit)))


def _by_reason(unfit: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Yields (reason, number of devices, the first of them), the most frequent reason first."""
    devices: dict[str, list[str]] = {}
    for device, reason in unfit.items():
        devices.setdefault(reason, []).append(device)
    rows = sorted(devices.items(), key=lambda item: -len(item[1]))
    return [(reason, str(len(names)), _few(names)) for reason, names in rows]


def _few(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


@click.command()
@click.argument("name")
@click.option(
    "--keep",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="The number of newest versions that keep their blobs.",
)
@click.option("--apply", is_flag=True, help="Delete them; without this option they are only shown.")
@json_option
def clean(name: str, keep: int, *, apply: bool, as_json: bool) -> None:
    """Delete the blobs of old versions of NAME that no device, rollout or alias needs.

    Nobody can start such a version from then on; its blobs are deleted by a call a day later.
    """
    found = Client().clean(name, keep=keep, apply=apply)
    if as_json:
        print_json(found.plain)
        return
    rows = [(f"v{each.release}", "stays", each.reason) for each in found.kept]
    rows += [(f"v{release}", "goes", "its blobs go in a day" if apply else "with --apply") for release in found.marked]
    rows += [(f"v{release}", "gone", "its blobs are removed" if apply else "with --apply") for release in found.removed]
    console.print(table(name, ("version", "blobs", "why"), rows))
    if found.removed_bytes:
        console.print(f"{size(found.removed_bytes)} are free again")


COMMANDS = (check, search, diff, lineage, gates, policy, waive, alias, tag, note, clean)
_COLUMNS = ("model", "version", "semver", "aliases", "passed", "size", "estimator", "created", "metrics", "tags")


def _row(found: FoundVersion) -> tuple[Any, ...]:
    state = "withdrawn" if found.withdrawn else "removed" if found.removed else "yes" if found.passed else "no"
    metrics = ", ".join(f"{name} {number:.4g}" for name, number in found.metrics.items())
    tags = ", ".join(f"{key}={value}" for key, value in found.tags.items())
    head = (found.model, f"v{found.release}", found.semver, ", ".join(found.aliases), state, size(found.size_bytes))
    return (*head, found.estimator, when(found.created_at), metrics, tags)


def _verdict(gate: Gate) -> str:
    if gate.waiver is not None:
        return f"waived by {gate.waiver.by}: {gate.waiver.reason}"
    return "pass" if gate.passed else "fail"


def _origin(found: VersionDetail) -> list[tuple[str, str]]:
    """Yields what is known about the origin of a version, as (what, words); missing facts are named as unknown."""
    known = found.lineage
    data, code, environment = known.data, known.code, found.environment
    rows = [
        ("pushed", f"by {known.created_by} at {when(known.created_at)}, as {known.source} {known.source_sha256[:12]}"),
        ("data", f"{data.rows} rows, sha256 {data.sha256}" if data else "unknown: push with data=the training rows"),
        (
            "code",
            f"{code.revision}{' with changes' if code.dirty else ''}" if code else "unknown: push inside a git tree",
        ),
        (
            "environment",
            _environment(environment.python, environment.platform, len(environment.packages))
            if environment
            else "unknown",
        ),
        ("estimator", known.estimator or known.source),
        ("parameters", chosen_words(known.params)),
        ("metrics", ", ".join(f"{name} {number:.4g}" for name, number in known.metrics.items())),
        ("licence", known.licence or "not said"),
    ]
    notes = [("note", f"{found.notes.note.text} ({found.notes.note.by})")] if found.notes.note else []
    return [*rows, *notes, *(("comment", f"{each.text} ({each.by}, {when(each.at)})") for each in found.notes.comments)]


def _environment(python: str, platform: str, packages: int) -> str:
    return f"Python {python} on {platform}, {packages} packages"


def _short(value: object) -> str | None:
    if value is None:
        return None
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."
