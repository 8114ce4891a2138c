"""`edgeward run list | show | compare | reproduce | plot | send | delete`."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from contract.errors import BadInput, Code
from contract.run_compare import compare as compare_runs
from contract.run_record import Record
from edgeward.cli.render import (
    console,
    csv_option,
    json_option,
    print_json,
    print_table,
    say,
    tell,
    when,
)
from edgeward.client import Client
from edgeward.runs.plot import picture, series_of, write_png
from edgeward.runs.reproduce import reproduce as reproduce_run
from edgeward.runs.store import RunStore

NO_RUNS = "no runs on this machine: record one with `with edgeward.run(NAME) as run:` in a training script"
SAME = "nothing that a run records differs"

PLOT_COLUMNS = 78
_STYLES = {"finished": "green", "failed": "red", "broken": "red", "running": "cyan"}


@click.group()
def run() -> None:
    """Runs on this machine: the inputs of each training, and its results."""


def _in_directory(command: Callable[..., Any]) -> Callable[..., Any]:
    words = "Where runs are kept. Default: EDGEWARD_RUNS_DIR, then .edgeward/runs here."
    kind = click.Path(file_okay=False, path_type=Path)
    return click.option("--dir", "directory", type=kind, help=words)(command)


@run.command(name="list")
@click.option("--name", default="", help="Only runs of this name.")
@click.option("--sort", default="", metavar="METRIC", help="Highest first by this metric; default: newest first.")
@click.option("--limit", default=30, show_default=True, help="The most runs to list.")
@_in_directory
@csv_option
@json_option
def list_(*, name: str, sort: str, limit: int, directory: Path | None, as_json: bool) -> None:
    """List runs, newest first."""
    found = [each for each in RunStore(directory).all() if name in ("", each.name)]
    if sort:
        found = sorted((r for r in found if sort in r.metrics), key=lambda each: -each.metrics[sort])
    found = found[:limit]
    if as_json:
        print_json([plain(each) for each in found])
        return
    rows = [(each.id, each.name, each.status, _took(each), each.result[:8] or "-", _numbers(each)) for each in found]
    empty = f"no run has {'this name' if name else 'this metric'}" if name or sort else NO_RUNS
    print_table("runs", ("run", "name", "status", "took", "result", "metrics"), rows, empty=empty)


@run.command()
@click.argument("identifier", metavar="RUN")
@_in_directory
@json_option
def show(identifier: str, *, directory: Path | None, as_json: bool) -> None:
    """Show everything about RUN: an id, the beginning of one, or newest."""
    store = RunStore(directory)
    record = store.load(identifier)
    if as_json:
        print_json(plain(record))
        return
    say((record.id, "bold"), f" {record.name}: ", (record.status, _STYLES[record.status]))
    for what, text in facts(record):
        say((f"  {what:>9}", "dim"), f" {text}")
    tell(f"  files in {store.directory_of(record.id)}")


@run.command()
@click.argument("before")
@click.argument("after")
@_in_directory
@csv_option
@json_option
def compare(before: str, after: str, *, directory: Path | None, as_json: bool) -> None:
    """Show what differs between two runs: results, parameters, and what may explain them."""
    store = RunStore(directory)
    rows = compare_runs(store.load(before), store.load(after))
    if as_json:
        print_json([{"what": each.what, "before": each.before, "after": each.after} for each in rows])
        return
    columns = ("what", store.find(before), store.find(after))
    print_table("differences", columns, [(each.what, each.before, each.after) for each in rows], empty=SAME)


@run.command()
@click.argument("identifier", metavar="RUN")
@click.option("--fresh", is_flag=True, help="Run it in a new environment made from the run's lock.")
@click.option(
    "--recorded-rows", is_flag=True,
    help="Use the stored rows: for a file or a query that has grown since.",
)  # fmt: skip
@_in_directory
@json_option
def reproduce(identifier: str, *, fresh: bool, recorded_rows: bool, directory: Path | None, as_json: bool) -> None:
    """Run RUN's entry again: the same digest, or the cause of the difference by name.

    The cause is found by experiments: code, data, libraries, threads, BLAS kernel and seed are restored as recorded,
    then one after the other is set to its present value. Nothing is pushed, and your files do not change. Exit code 1:
    another digest.
    """
    told = (lambda words: None) if as_json else (lambda words: tell(f"  {words}"))
    found = reproduce_run(RunStore(directory), identifier, fresh=fresh, recorded_rows=recorded_rows, tell=told)
    if as_json:
        causes = found.finding.causes if found.finding is not None else ()
        answer = {"same": found.same, "recorded": found.recorded.result, "now": found.repeated.result}
        differing = [_difference(each) for each in found.differences]
        print_json(answer | {"causes": [_difference(each) for each in causes], "differences": differing})
    else:
        for sentence in found.sentences():
            tell(sentence)
    if not found.same:
        sys.exit(1)


@run.command()
@click.argument("identifiers", metavar="RUN...", nargs=-1, required=True)
@click.option("--metric", "metrics", multiple=True, help="A metric to plot; may be repeated.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture of all runs instead.")
@_in_directory
def plot(identifiers: tuple[str, ...], *, metrics: tuple[str, ...], png: Path | None, directory: Path | None) -> None:
    """Plot the metrics of runs in the terminal, or as PNG."""
    store = RunStore(directory)
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for each in identifiers:
        name = store.find(each)
        for metric, series in series_of(store.points(name)).items():
            if not metrics or metric in metrics:
                found.setdefault(metric, {})[name] = series
    if not found:
        wanted = f" {', '.join(metrics)}" if metrics else ""
        raise BadInput(Code.REQUEST_INVALID, f"these runs have no metric{wanted}: log one with run.log_metric")
    if png is not None:
        write_png(found, png)
        tell(f"{len(found)} metrics of {len(identifiers)} runs in {png}")
        return
    for metric, runs in found.items():
        for name, series in runs.items():
            tell(f"{metric}  {name}  {len(series)} numbers, last {series[-1][1]:.6g}")
            for line in picture(series, columns=min(console.width, PLOT_COLUMNS)):
                tell(line)


@run.command()
@click.argument("identifiers", metavar="RUN...", nargs=-1, required=True)
@_in_directory
@json_option
def send(identifiers: tuple[str, ...], *, directory: Path | None, as_json: bool) -> None:
    """Send runs to the controller, where the page shows them. A run that pushed a version is sent by itself.

    Arguments, directories and files stay here; parameters, metrics, digests and the environment go.
    """
    store, client = RunStore(directory), Client()
    names = [store.find(each) for each in identifiers]
    for name in names:
        client.send_run(name, directory)
        if not as_json:
            tell(f"sent {name}; see `edgeward page`, /runs/{name}")
    if as_json:
        print_json({"sent": names})


@run.command()
@click.argument("identifiers", metavar="RUN...", nargs=-1, required=True)
@_in_directory
@json_option
def delete(identifiers: tuple[str, ...], *, directory: Path | None, as_json: bool) -> None:
    """Delete runs. Blobs that another run may use stay."""
    store = RunStore(directory)
    names = [store.find(each) for each in identifiers]
    for name in names:
        shutil.rmtree(store.directory_of(name))
        if not as_json:
            tell(f"deleted {name}")
    if as_json:
        print_json({"deleted": names})


def plain(record: Record) -> dict[str, Any]:
    """A record as JSON, with its result."""
    return {**msgspec.to_builtins(record), "result": record.result}


def facts(record: Record) -> list[tuple[str, str]]:
    """Yields (what, text) of a record, for people."""
    code, threads = record.code, record.threads
    changed = " with changes" if code is not None and code.diff_sha256 else ""
    lines = [
        ("began", f"{when(datetime.fromtimestamp(record.started_at, UTC))} UTC, took {_took(record)}"),
        ("error", record.error),
        ("entry", " ".join(record.entry.arguments) or "made by hand"),
        ("code", f"commit {code.revision[:12]}{changed}" if code is not None else "no git"),
        ("python", f"{record.environment.python}, {record.environment.platform}"),
        ("libraries", ", ".join(f"{name} {record.environment.packages[name]}" for name in record.environment.used)),
        ("threads", ", ".join(f"{name} {count}" for name, count in threads.counts.items())),
        ("kernel", ", ".join(f"{name} {kernel}" for name, kernel in threads.kernels.items())),
        ("seeds", _pairs(record.seeds)),
        ("params", _pairs(record.params)),
        ("metrics", _numbers(record)),
    ]
    lines += [("data", f"{d.name}: {d.rows} rows, {len(d.columns)} columns, {d.sha256[:16]} {d.data_set}".strip())
              for d in record.data]  # fmt: skip
    lines += [("artifact", f"{a.name}: {a.kind}, {a.sha256[:16]}") for a in record.artifacts]
    lines += [("pushed", f"{each.model} v{each.release}") for each in record.pushed]
    return [(what, text) for what, text in [*lines, ("result", record.result[:16])] if text]


def _pairs(found: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in found.items())


def _numbers(record: Record) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in record.metrics.items())


def _took(record: Record) -> str:
    if record.status == "broken":
        return "-"
    return f"{(record.ended_at or time.time()) - record.started_at:.1f} s"


def _difference(each: Any) -> dict[str, str]:
    return {"kind": each.kind, "name": each.name, "recorded": each.recorded, "now": each.now}
