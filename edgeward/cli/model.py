"""`edgeward model push | list | show | export | captured`, and the commands of `cli.registry`."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from contract.errors import BadInput, Code
from contract.names import check_name
from edgeward.answers.models import Version
from edgeward.answers.pushes import Pushed
from edgeward.cli import model_discussion
from edgeward.cli.drift import drift, fairness
from edgeward.cli.key_values import pairs
from edgeward.cli.named import HOW, split_name
from edgeward.cli.push_progress import PushProgress, follow
from edgeward.cli.pushed_file import load
from edgeward.cli.registry import COMMANDS
from edgeward.cli.render import (
    console,
    csv_asked,
    csv_option,
    json_option,
    print_json,
    print_table,
    say,
    say_done,
    size,
    tell,
    waiting,
    when,
)
from edgeward.cli.version_view import standing_of, version_view
from edgeward.client import Client
from edgeward.exports.addresses import is_address
from edgeward.recurrent import RecurrentState

NO_MODELS = "no models: push the first one with `edgeward model push FILE --name NAME`"


class _FileOrAddress(click.Path):
    """A file or folder that exists, or an address on an MLflow server, which is kept as text."""

    def __init__(self) -> None:
        super().__init__(exists=True, path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Returns the path, or the address."""
        return value if is_address(value) else super().convert(value, parameter, context)


@click.group()
def model() -> None:
    """Models and their versions."""


@model.command()
@click.argument("file", type=_FileOrAddress())
@click.option("--name", required=True, help="The model's name: lower-case letters, digits, '-'.")
@click.option(
    "--sample",
    "sample_path",
    type=click.Path(exists=True, path_type=Path),
    help="Rows: .csv, .parquet, .npy; .npz with an array for each input.",
)
@click.option(
    "--text", "texts", multiple=True, metavar="COLUMN", help="A column of a .csv to read as text; may be repeated."
)
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag that is kept with the version; may be repeated."
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(["fp16", "int8"]),
    help="A smaller form to make as well, for devices on which the full one does not fit; may be repeated.",
)
@click.option(
    "--then", type=click.Path(exists=True, path_type=Path), help="A second model, which answers what FILE gives: .onnx."
)
@click.option(
    "--feed",
    "feeds",
    multiple=True,
    metavar="INPUT=OUTPUT",
    help="An input of --then and the output that it gets, if names differ; may be repeated.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="INPUT=OUTPUT",
    help="An output that devices pass to an input of the next request; may be repeated.",
)
@click.option(
    "--reset-after",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Seconds without a request after which the state starts again.",
)
@click.option(
    "--max-keys", type=int, default=64, show_default=True, help="The number of streams whose state devices keep."
)
@click.option("--initial", default="0", metavar="NUMBER|FILE.npz", help="How state begins; arrays are named by input.")
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME=NUMBER", help="A figure measured on the model; may be repeated."
)
@click.option("--parent", default="", help="The version from which it was made; default: the newest.")
@click.option("--licence", default="", help="An SPDX identifier such as Apache-2.0.")
@click.option("--waive-rows", default="", help="Why a sample of few distinct rows is all there is; kept with it.")
@json_option
def push(
    file: Path | str,
    *,
    name: str,
    sample_path: Path | None,
    texts: tuple[str, ...],
    tags: tuple[str, ...],
    metrics: tuple[str, ...],
    parent: str,
    licence: str,
    variants: tuple[Literal["fp16", "int8"], ...],
    then: Path | None,
    feeds: tuple[str, ...],
    states: tuple[str, ...],
    initial: str,
    reset_after: float,
    max_keys: int,
    waive_rows: str,
    as_json: bool,
) -> None:
    """Convert, verify and register FILE as a new version.

    FILE is a Python file that leaves a fitted `model` and its `sample` rows, or .skops or .onnx with --sample, or a
    folder: MLflow's, Hugging Face's or an OCI layout, or models:/NAME@ALIAS on the server that MLFLOW_TRACKING_URI
    names. Ctrl-C ends it on the controller too. With --then both become one model: FILE is .onnx then.
    """
    check_name(name, "model")
    given, measured, fed = pairs(tags), _numbers(metrics), pairs(feeds, "INPUT=OUTPUT")
    state = _state(states, initial, reset_after, max_keys)
    client = Client()
    _say_to_pipe(f"reading {Path(file).name}{': it runs as Python does' if Path(file).suffix == '.py' else ''}")
    estimator, sample = load(file, sample_path, texts)
    pushed = estimator if then is None else [estimator, then]
    with _converting(Path(file).name, client, name) as progress:
        version = client.push(
            pushed,
            name=name,
            sample=sample,
            feeds=fed,
            state=state,
            tags=given,
            variants=variants,
            metrics=measured,
            parent=parent,
            licence=licence,
            waive_rows=waive_rows,
            sent=progress.sent,
        )
    if as_json:
        print_json(version.plain)
        return
    _show_pushed(client, name, version)


def _show_pushed(client: Client, name: str, version: Pushed) -> None:
    """Prints the result of a push with its gates and smaller forms, and the next command."""
    if not version.new:
        for sentence in version.sentences:
            say(sentence)
        if version.not_taken:
            tell(f"write what has changed as tags:\nedgeward model tag {name}@{version.release} KEY=VALUE")
        return
    about = f" ({version.semver}) passed its gates, {size(version.size_bytes)}, {version.estimator}"
    say((f"{name} v{version.release}", "green"), about)
    for gate in version.gates:
        say(f"  {gate.gate}: {gate.detail}")
    for variant in version.variants:
        kept = size(variant.size_bytes) if variant.gate.passed else "left out"
        say(f"  {variant.gate.gate}: {kept}; {variant.gate.detail}")
    signed = version.release not in client.trust().unsigned.get(name, ())
    standing = standing_of(version, signed=signed)
    tell(f"{standing.words}\nnext: {standing.command}")


def _say_to_pipe(words: str) -> None:
    """Prints on stderr what runs, if there is no terminal: a push may take a minute."""
    if not console.is_terminal:
        click.echo(words, err=True)


@contextmanager
def _converting(file: str, client: Client, model: str) -> Iterator[PushProgress]:
    """Shows how far a push is; Ctrl-C ends it here and on the controller."""
    _say_to_pipe(f"{file} goes to the controller, which converts and judges it")
    ended = threading.Event()
    try:
        with waiting("") as show:
            on_screen = show if console.is_terminal else None
            progress = PushProgress(file, time.monotonic, show=on_screen, line=partial(click.echo, err=True))
            show(progress.converting)
            threading.Thread(target=follow, args=(progress, client, model, ended), daemon=True).start()
            yield progress
    except KeyboardInterrupt as error:
        raise click.Abort("cancelled, on the controller too: no version was made") from error
    finally:
        ended.set()


@model.command(name="list")
@csv_option
@json_option
def list_(*, as_json: bool) -> None:
    """List all models."""
    models = Client().models()
    if as_json:
        print_json(models.plain)
        return
    rows = [
        (m.name, m.versions, f"v{m.newest_release}", f"v{m.newest_passed}" if m.newest_passed else "none", m.devices)
        for m in models
    ]
    print_table("models", ("model", "versions", "newest", "newest that passed", "devices"), rows, empty=NO_MODELS)


@model.command()
@click.argument("name")
@click.option("--version", "release", help=f"One version. {HOW}")
@csv_option
@json_option
def show(name: str, release: str | None, *, as_json: bool) -> None:
    """Show versions of a model, or one: whether it can be rolled out, its gates, signature, origin, devices. --json has
    all.
    """
    client = Client()
    name, release = split_name(name, release)
    if release is not None and csv_asked():
        raise BadInput(Code.REQUEST_INVALID, "one version is no table: --json has all of it")
    if release is not None:
        found = client.version(name, release)
        if as_json:
            print_json(found.plain)
            return
        signed = found.release not in client.trust().unsigned.get(name, ())
        console.print(version_view(found, signed=signed))
        return
    versions = client.versions(name)
    if as_json:
        print_json(versions.plain)
        return
    rows = [
        (
            f"v{v.release}", v.semver, ", ".join(v.aliases), _standing(v),
            size(v.size_bytes), v.estimator, when(v.created_at), _evidence(v),
        )
        for v in versions
    ]  # fmt: skip
    columns = ("version", "semver", "aliases", "passed", "size", "estimator", "created", "evidence")
    print_table(name, columns, rows, empty=f"{name} has no versions")


@model.command()
@click.argument("name")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .csv or .parquet file.")
@json_option
def captured(name: str, out: Path, *, as_json: bool) -> None:
    """Write the captured inferences of NAME to a file, for retraining."""
    if out.suffix not in (".csv", ".parquet"):
        raise BadInput(Code.REQUEST_INVALID, f"{out}: expected .csv or .parquet")
    rows = Client().captured(name).to_frame()
    rows.to_csv(out, index=False) if out.suffix == ".csv" else rows.to_parquet(out, index=False)
    say_done(f"{len(rows)} rows in {out}", facts={"file": str(out), "rows": len(rows)}, as_json=as_json)


@model.command()
@click.argument("name")
@click.option("--version", "release", help=f"The version; default: the newest. {HOW}")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="A directory, on a stick.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["devices", "mlflow", "huggingface", "oci", "bom"]),
    default="devices",
    show_default=True,
    help="The program that reads it.",
)
@click.option(
    "--sign-with", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A private key (PEM, P-256): adds an OpenSSF model signature, model.sig. Not for devices.",
)  # fmt: skip
@json_option
def export(name: str, release: str | None, out: Path, form: Any, sign_with: Path | None, *, as_json: bool) -> None:
    """Write the files of a version to a directory: for devices that have it as `file:///...` in [transfer] sources.

    Devices verify these files like those from the broker. Other formats are folders that MLflow, Hugging Face or a
    container registry reads, and that `edgeward model push` accepts again; `bom` adds a CycloneDX bill of materials.
    """
    if form == "devices" and sign_with is not None:
        words = "--sign-with: devices check the release signer's word, not model.sig: name another --format"
        raise BadInput(Code.REQUEST_INVALID, words)
    name, release = split_name(name, release)
    found = Client().version(name, release or "newest")
    if form == "devices":
        written = Client().export(name, found.release, out)
    else:
        written = Client().export_folder(name, found.release, out, form, sign_with)
    facts = {"directory": str(out), "model": name, "release": found.release, "format": form, "size_bytes": written}
    say_done(f"{size(written)} of {name} v{found.release} in {out}", facts=facts, as_json=as_json)


def _standing(version: Version) -> str:
    """Returns in a word or two whether a version may be rolled out."""
    if version.withdrawn is not None:
        return "withdrawn"
    if version.removed is not None:
        return "removed"
    if version.rolled_back is not None:
        return "rolled back"
    return "yes" if version.passed else "no"


def _evidence(version: Version) -> str:
    """Yields the verdicts of the gates, after the reasons of a withdrawal, of a roll back and of waivers."""
    withdrawn, back = version.withdrawn, version.rolled_back
    why = [] if withdrawn is None else [f"withdrawn by {withdrawn.by} at {when(withdrawn.at)}: {withdrawn.reason}"]
    why += [] if back is None else [f"rolled back by {back.rollout}: {back.reason}"]
    waived = [(gate.gate, gate.waiver) for gate in version.gates if gate.waiver is not None]
    why += [f"{gate} waived by {waiver.by}: {waiver.reason}" for gate, waiver in waived]
    ordered = sorted(version.gates, key=lambda gate: gate.passed)
    return "; ".join([*why, *(gate.detail if gate.passed else f"{gate.gate}: {gate.detail}" for gate in ordered)])


def _state(states: tuple[str, ...], initial: str, reset_after_s: float, max_keys: int) -> RecurrentState | None:
    if not states:
        return None
    begins = _initial(initial)
    return RecurrentState(pairs(states, "INPUT=OUTPUT"), begins, reset_after_s=reset_after_s, max_keys=max_keys)


def _initial(text: str) -> float | dict[str, Any]:
    """Returns a number, or the arrays of a file. BadInput `request_invalid`, `tensors_invalid`."""
    from contract.tensors import decode_tensors  # numpy takes longer to import than most commands take

    try:
        return float(text)
    except ValueError:
        pass
    try:
        raw = Path(text).read_bytes()
    except OSError as error:
        words = f"--initial {text[:200]}: no number, and as a file: {error.strerror}"
        raise BadInput(Code.REQUEST_INVALID, words) from None
    return dict(decode_tensors(raw))


def _numbers(texts: tuple[str, ...]) -> dict[str, float]:
    """Returns NAME=NUMBER texts as a dict. Raises BadInput `request_invalid` for anything else."""
    try:
        return {name: float(text) for name, text in pairs(texts).items()}
    except ValueError as error:
        raise BadInput(Code.REQUEST_INVALID, f"--metric: {error}") from None


for command in (*COMMANDS, *model_discussion.COMMANDS, drift, fairness):
    model.add_command(command)
