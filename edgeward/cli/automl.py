"""`edgeward automl FRAME`: a search under a device's limits, its Pareto front, and the chosen pipeline pushed."""

from pathlib import Path
from typing import Any, Literal

import click

from contract.errors import BadInput, Code
from contract.names import check_name
from edgeward.automl.front import Limits
from edgeward.automl.trial import Trial
from edgeward.cli.render import (
    console,
    json_option,
    print_json,
    table,
    tell,
    waiting,
)
from edgeward.csv_rows import read_csv


@click.command()
@click.argument("frame", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--target", required=True, metavar="COL", help="The column to predict.")
@click.option("--task", type=click.Choice(["classification", "regression"]), help="Default: by the target's values.")
@click.option("--time", "time_column", default="", metavar="COL", help="Split by this time, not at random.")
@click.option(
    "--max-bytes", type=click.IntRange(1), default=1_000_000, show_default=True, help="Limit of the ONNX form."
)
@click.option(
    "--max-latency-us", "max_latency_us_p50", type=click.FloatRange(0, min_open=True), default=50.0, show_default=True,
    help="Limit of the median of one row on one thread.",
)  # fmt: skip
@click.option(
    "--max-memory-mb",
    type=click.FloatRange(0, min_open=True),
    help="Limit of the memory that loading takes. Default: none.",
)
@click.option(
    "--on", "places", multiple=True, metavar="DEVICE|KEY=VALUE",
    help="Where to measure latency and memory: a device, or labels. Default: the controller.",
)  # fmt: skip
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, help="To search.")
@click.option(
    "--trials", type=click.IntRange(1), help="The most pipelines to try. Default: as many as the time allows."
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The seed of folds, draws and pipelines."
)
@click.option(
    "--teacher",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A .skops file whose answers are learnt.",
)
@click.option("--name", default="", help="Model to try as. Default: the file's name.")
@click.option("--push", is_flag=True, help="Push the chosen pipeline as a version of the model.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the chosen pipeline as .skops.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write the front as a picture.")
@json_option
def automl(
    frame: Path,
    *,
    target: str,
    task: Literal["classification", "regression"] | None,
    time_column: str,
    max_bytes: int,
    max_latency_us_p50: float,
    max_memory_mb: float | None,
    places: tuple[str, ...],
    minutes: float,
    trials: int | None,
    seed: int,
    teacher: Path | None,
    name: str,
    push: bool,
    out: Path | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Search the best pipeline for FRAME (.csv, .parquet) that a device can hold.

    Every pipeline converts by construction. The controller converts and measures each, with one thread, and registers
    none; with --on a device probes what keeps to --max-bytes, and never serves it. Every trial is recorded as a run.
    Ctrl-C ends the search with what it has found. Exit code 1: nothing keeps to the limits.
    """
    from edgeward.automl import shown
    from edgeward.automl.distil import read_teacher
    from edgeward.automl.search import search

    model = check_name(name or _model_name(frame), "model")
    rows = _read(frame)
    on = _place(places)
    taught = read_teacher(teacher) if teacher is not None else None
    with waiting("searching") as show:

        def progress(trial: Trial) -> None:
            show(f"trial {trial.number + 1}: {trial.family} {trial.score:.4f} {trial.state}")

        found = search(
            rows, target=target, task=task, time_column=time_column, minutes=minutes, trials=trials, seed=seed,
            limits=Limits(max_bytes, max_latency_us_p50, max_memory_mb), teacher=taught, name=model, on=on,
            tell=progress,
        )  # fmt: skip
    if png is not None:
        shown.write_png(found, png)
    if as_json:
        print_json(shown.plain(found))
    else:
        if found.front:
            console.print(table("Pareto front", shown.COLUMNS_OF_FRONT, shown.front_rows(found)))
        for line in shown.plot_lines(found):
            tell(line)
        for line in shown.sentences(found):
            console.print(line)
    if found.best is None:
        raise SystemExit(1)
    _keep(found, found.best, model, push=push, out=out, quiet=as_json)


def _place(places: tuple[str, ...]) -> str | dict[str, str]:
    """A device's name, or labels. BadInput `request_invalid` for several devices, or a device with labels."""
    labels = dict(each.split("=", 1) for each in places if "=" in each)
    devices = [each for each in places if "=" not in each]
    if len(devices) > 1 or (devices and labels):
        raise BadInput(Code.REQUEST_INVALID, "--on takes one device, or labels of a class: KEY=VALUE, may be repeated")
    return devices[0] if devices else labels


def _keep(found: Any, best: Trial, model: str, *, push: bool, out: Path | None, quiet: bool) -> None:
    """Writes and pushes the chosen pipeline, if requested."""
    said = []
    if out is not None:
        import skops.io

        skops.io.dump(best.pipeline, out)
        said.append(f"wrote {out}")
    if push:
        version = _push(found, best, model)
        said.append(f"pushed {model} v{version.release}; next: edgeward rollout start {model} --watch")
    for words in said if not quiet else ():
        tell(words)


def _push(found: Any, best: Trial, model: str) -> Any:
    """Pushes from a separate run, so that the version has run, data digest and seed."""
    from edgeward.client import Client
    from edgeward.runs.run import run

    metrics = {"score": best.score} | ({} if best.agreement is None else {"agreement": best.agreement})
    features = found.rows.features
    with run(f"automl-{model}", params=best.params, tags={"search": found.id, "trial": str(best.number)}) as opened:
        opened.seed(found.seed)
        opened.log_data(features, "features", keep=False)
        opened.log_metrics(metrics)
        return Client().push(best.pipeline, name=model, sample=found.sample, data=features, tags={"automl": found.id})


def _read(path: Path) -> Any:
    import pandas

    try:
        if path.suffix == ".csv":
            return read_csv(path)
        if path.suffix == ".parquet":
            return pandas.read_parquet(path)
    except (ValueError, OSError, ImportError) as error:
        raise BadInput(Code.REQUEST_INVALID, f"{path} cannot be read: {error}"[:300]) from None
    raise BadInput(Code.REQUEST_INVALID, f"{path}: expected .csv or .parquet")


def _model_name(path: Path) -> str:
    kept = "".join(letter if letter.isalnum() else "-" for letter in path.stem.lower()).strip("-")
    return kept or "automl"
