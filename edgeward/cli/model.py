"""`edgeward model push | list | show | export | captured | label`."""

import runpy
from pathlib import Path
from typing import Any, Literal

import click

from contract.errors import BadInput, Code
from edgeward.answers.models import Version
from edgeward.cli.render import console, json_option, print_json, size, table, when
from edgeward.client import Client


@click.group()
def model() -> None:
    """Models and their versions."""


@model.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", required=True, help="The model's name: lower-case letters, digits, '-'.")
@click.option(
    "--sample",
    "sample_path",
    type=click.Path(exists=True, path_type=Path),
    help="Rows: .csv, .parquet, .npy; .npz with an array for each input.",
)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Kept with the version; may be repeated.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(["fp16", "int8"]),
    help="A smaller form to make as well, for devices on which the full one does not fit; may be repeated.",
)
@json_option
def push(
    file: Path,
    name: str,
    sample_path: Path | None,
    tags: tuple[str, ...],
    variants: tuple[Literal["fp16", "int8"], ...],
    *,
    as_json: bool,
) -> None:
    """Convert, verify and register FILE as a new version.

    FILE is a Python file that leaves a fitted `model` and its `sample` rows, or .skops or .onnx with --sample.
    """
    estimator, sample = _load(file, sample_path)
    client = Client()
    with console.status(f"converting {file.name}: parity, golden set, limits", spinner="dots"):
        version = client.push(estimator, name=name, sample=sample, tags=pairs(tags), variants=variants)
    if as_json:
        print_json(version.plain)
        return
    console.print(
        f"[green]{name} v{version.release}[/] passed its gates, {size(version.size_bytes)}, {version.estimator}"
    )
    for gate in version.gates:
        console.print(f"  {gate.gate}: {gate.detail}", highlight=False)
    for variant in version.variants:
        kept = size(variant.size_bytes) if variant.gate.passed else "left out"
        console.print(f"  {variant.gate.gate}: {kept}; {variant.gate.detail}", highlight=False)
    console.print(f"next: edgeward rollout start {name} --watch", highlight=False)


@model.command(name="list")
@json_option
def list_(*, as_json: bool) -> None:
    """All models."""
    models = Client().models()
    if as_json:
        print_json(models.plain)
        return
    rows = [(m.name, m.versions, f"v{m.newest_release}", m.devices) for m in models]
    console.print(table("models", ("model", "versions", "newest", "devices"), rows))


@model.command()
@click.argument("name")
@click.option("--version", "release", type=int, help="Everything about one version, evidence included.")
@json_option
def show(name: str, release: int | None, *, as_json: bool) -> None:
    """Versions of a model, or one with its evidence."""
    client = Client()
    if release is not None:
        found = client.version(name, release).plain
        print_json(found) if as_json else console.print_json(data=found)
        return
    versions = client.versions(name)
    if as_json:
        print_json(versions.plain)
        return
    rows = [
        (
            f"v{v.release}", "withdrawn" if v.withdrawn else "yes" if v.passed else "no", size(v.size_bytes),
            v.estimator, when(v.created_at), _evidence(v),
        )
        for v in versions
    ]  # fmt: skip
    console.print(table(name, ("version", "passed", "size", "estimator", "created", "evidence"), rows))


@model.command()
@click.argument("name")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .csv or .parquet file.")
def captured(name: str, out: Path) -> None:
    """Write what devices kept of NAME's inferences to a file: for labelling and retraining."""
    if out.suffix not in (".csv", ".parquet"):
        raise BadInput(Code.REQUEST_INVALID, f"{out}: expected .csv or .parquet")
    rows = Client().captured(name).to_frame()
    rows.to_csv(out, index=False) if out.suffix == ".csv" else rows.to_parquet(out, index=False)
    console.print(f"{len(rows)} rows in {out}", highlight=False)


@model.command()
@click.argument("name")
@click.option("--version", "release", type=int, required=True, help="Which one.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="A directory, on a stick.")
def export(name: str, release: int, out: Path) -> None:
    """Write the files of a version to a directory: for devices that have it as `file:///...` in [transfer] sources.

    What devices find there they verify as what comes from the broker.
    """
    written = Client().export(name, release, out)
    console.print(f"{size(written)} of {name} v{release} in {out}", highlight=False)


@model.command()
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def label(name: str, file: Path) -> None:
    """Give captured rows of NAME the labels in FILE, a .csv with the columns id and label."""
    import pandas as pd  # 0.4 s to import: only where a table is meant

    rows = pd.read_csv(file)
    if not {"id", "label"} <= set(rows.columns):
        raise BadInput(Code.REQUEST_INVALID, f"{file}: expected the columns id and label")
    labels = dict(zip(rows["id"].tolist(), rows["label"].tolist(), strict=True))
    console.print(f"{Client().label(name, labels)} of {len(labels)} rows have a label now", highlight=False)


def _evidence(version: Version) -> str:
    """What the gates said, after the reason of a withdrawal."""
    withdrawn = version.withdrawn
    why = [] if withdrawn is None else [f"withdrawn by {withdrawn.by} at {when(withdrawn.at)}: {withdrawn.reason}"]
    return "; ".join([*why, *(gate.detail for gate in version.gates)])


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """KEY=VALUE texts as a dict; BadInput `request_invalid` for anything else."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise BadInput(Code.REQUEST_INVALID, f"{text!r}: expected KEY=VALUE")
        found[key] = value
    return found


def _load(file: Path, sample_path: Path | None) -> tuple[Any, Any]:
    if file.suffix != ".py":
        if sample_path is None:
            raise BadInput(Code.SAMPLE_MISSING, f"{file}: parity needs rows: add --sample rows.csv")
        return file, _rows(sample_path)
    left = runpy.run_path(str(file))
    if missing := [name for name in ("model", "sample") if name not in left]:
        raise BadInput(
            Code.REQUEST_INVALID, f"{file} leaves no {' and no '.join(missing)}: assign a fitted `model` and `sample`"
        )
    return left["model"], left["sample"] if sample_path is None else _rows(sample_path)


def _rows(path: Path) -> Any:
    import numpy as np
    import pandas as pd

    readers = {".csv": pd.read_csv, ".gz": pd.read_csv, ".parquet": pd.read_parquet, ".npy": np.load, ".npz": np.load}
    if path.suffix not in readers:
        raise BadInput(Code.REQUEST_INVALID, f"{path}: expected .csv, .csv.gz, .parquet, .npy or .npz")
    return readers[path.suffix](path)
