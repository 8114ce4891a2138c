"""`edgeward pipeline run | list | show | logs | schedule | prune`."""

import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from contract.errors import BadInput, Code, EdgewardError
from edgeward.cli.render import (
    console,
    csv_option,
    json_option,
    print_json,
    print_table,
    say,
    table,
    tell,
    when,
    zone,
)
from edgeward.cli.run import plain
from edgeward.pipelines.pipeline import load_pipeline
from edgeward.pipelines.retention import MAX_BYTES, prune
from edgeward.pipelines.runner import LOGS, PipelineResult, StepState, load_steps, run_pipeline
from edgeward.pipelines.schedule import read_schedule
from edgeward.runs.sent import send_or_say
from edgeward.runs.store import RunStore

NO_PIPELINES = "no runs of pipelines on this machine: begin one with `edgeward pipeline run FILE`"

_WORDS = {"running": "runs"}
"""The word for a status, where it is another one."""
_STYLES = {"running": "cyan", "done": "green", "known": "dim", "failed": "red"}
_DIR = click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=Path),
    help="Where runs are kept. Default: EDGEWARD_RUNS_DIR, then .edgeward/runs here.",
)  # fmt: skip
_PARAMS = click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
_ON = click.option("--on", default="", metavar="dask://HOST:PORT", help="Workers of a Dask cluster; default: here.")


@click.group()
def pipeline() -> None:
    """Pipelines: Python functions as steps, each in a process; no step runs twice."""


@pipeline.command()
@click.argument("file")
@_PARAMS
@_ON
@_DIR
@json_option
def run(file: str, *, params: tuple[str, ...], on: str, directory: Path | None, as_json: bool) -> None:
    """Run the pipeline of FILE (or FILE.py:NAME). Steps that ran with the same code and inputs are not run again.

    After a fault the same command continues where it stopped.
    """
    result = run_pipeline(file, _pairs(params), directory, on=on, tell=_silent if as_json else _say)
    if result.pushed_now:
        send_or_say(None, RunStore(directory), result.run_id)
    if as_json:
        steps = msgspec.to_builtins(result.steps)
        print_json(
            {
                "run": result.run_id, "pushed": result.pushed_version, "pushed_now": result.pushed_now,
                "metrics": result.metrics, "steps": steps, "dropped": dataclasses.asdict(result.dropped),
            }
        )  # fmt: skip
        return
    _say_result(result)


@pipeline.command(name="list")
@_DIR
@csv_option
@json_option
def list_(*, directory: Path | None, as_json: bool) -> None:
    """List runs of pipelines, newest first."""
    store = RunStore(directory)
    found = [each for each in store.all() if each.kind == "pipeline"]
    if as_json:
        print_json([plain(each) for each in found])
        return
    rows = []
    for each in found:
        steps = _steps_of(store, each.id)
        done = f"{sum(step.status in ('done', 'known') for step in steps)} of {len(steps)}"
        rows.append(
            (each.id, each.name, each.status, done, when(datetime.fromtimestamp(each.started_at, UTC)), each.error)
        )
    print_table(
        "pipelines", ("run", "pipeline", "status", "steps", f"began ({zone()})", "error"), rows, empty=NO_PIPELINES
    )


@pipeline.command()
@click.argument("identifier", metavar="RUN")
@_DIR
@json_option
def show(identifier: str, *, directory: Path | None, as_json: bool) -> None:
    """Show the steps of RUN: an id, the beginning of one, or newest."""
    name, steps = load_steps(RunStore(directory), identifier)
    if as_json:
        print_json(msgspec.to_builtins(steps))
        return
    rows = [(s.step, s.status, f"{s.took_s:.1f} s", f"{s.peak_mb:.0f} MB", s.digest[:8] or "-", s.error or s.kind)
            for s in steps]  # fmt: skip
    console.print(table(name, ("step", "status", "took", "memory", "digest", "gave"), rows))


@pipeline.command()
@click.argument("identifier", metavar="RUN")
@click.argument("step", required=False)
@_DIR
def logs(identifier: str, step: str | None, *, directory: Path | None) -> None:
    """Show what the steps of RUN printed, or one STEP of it."""
    store = RunStore(directory)
    name, steps = load_steps(store, identifier)
    known = [each.step for each in steps]
    if step is not None and step not in known:
        raise BadInput(Code.REQUEST_INVALID, f"run {name} has no step {step!r}; it has {', '.join(known)}")
    for each in [step] if step is not None else known:
        path = store.directory_of(name) / LOGS / f"{each}.log"
        if step is None:
            tell(f"--- {each}")
        if path.is_file():
            click.echo(path.read_text(errors="replace"), nl=False)
        elif step is not None:
            tell(f"step {each} did not run in {name}: its result was known, or it had not begun")


@pipeline.command()
@click.argument("file")
@click.option("--every", required=True, help="30m, 6h, 1d.")
@click.option("--at", default="", help="A time of day in UTC, as 03:00, for --every of whole days.")
@_PARAMS
@_ON
@_DIR
def schedule(file: str, *, every: str, at: str, params: tuple[str, ...], on: str, directory: Path | None) -> None:
    """Run the pipeline of FILE repeatedly, until Ctrl-C. A failed run is reported, and the next one follows.

    The last run is found among the stored runs, so that after a restart nothing runs too early; one run makes up for
    all missed times.
    """
    wanted, bound = read_schedule(every, at), _pairs(params)
    name = load_pipeline(file).name
    while True:
        due = wanted.next_after(_last_start(RunStore(directory), name), time.time())
        tell(f"next run of {name}: {datetime.fromtimestamp(due, UTC):%Y-%m-%d %H:%M:%S} UTC")
        time.sleep(max(due - time.time(), 0))
        try:
            _say_result(run_pipeline(file, bound, directory, on=on, tell=_say))
        except EdgewardError as error:
            click.echo(f"edgeward: {error.code}: {error.detail}", err=True)


@pipeline.command(name="prune")
@click.option("--older-than", default="30d", show_default=True, help="The age since the last use of a result: 6h, 7d.")
@click.option(
    "--max-mb",
    type=click.FloatRange(0),
    default=MAX_BYTES / 1e6,
    help="The limit of all results; the longest unused are deleted first.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
@_DIR
@json_option
def prune_(*, older_than: str, max_mb: float, dry_run: bool, directory: Path | None, as_json: bool) -> None:
    """Delete results of steps that were not used for long, or that are too large together.

    Every run of a pipeline does so with the defaults. What a run keeps itself stays: rows, artifacts, scripts, and the
    results of a run that continues, that has pushed a version, or that is the newest of its pipeline.
    """
    age_s = read_schedule(older_than, "").every_s
    found = prune(RunStore(directory), max_age_s=age_s, max_bytes=int(max_mb * 1e6), dry=dry_run)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    tell(("would have " if dry_run else "") + str(found) if str(found) else "nothing to drop")


def _last_start(store: RunStore, name: str) -> float | None:
    return next((each.started_at for each in store.all() if each.kind == "pipeline" and each.name == name), None)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    if wrong := [each for each in texts if "=" not in each]:
        raise BadInput(Code.REQUEST_INVALID, f"-p {wrong[0]!r}: expected NAME=VALUE")
    return {name: value for name, _, value in (each.partition("=") for each in texts)}


def _say(state: StepState) -> None:
    if state.status == "waiting":
        return
    about = f" {state.took_s:.1f} s, {state.peak_mb:.0f} MB, {state.kind} {state.digest[:8]}" if state.digest else ""
    say("  ", (f"{_WORDS.get(state.status, state.status):<8}", _STYLES[state.status]), f" {state.step}{about}")


def _silent(state: StepState) -> None:
    """Prints nothing."""


def _say_result(result: PipelineResult) -> None:
    for name, value in result.metrics.items():
        tell(f"  {name} {value:.6g}")
    earlier = "" if result.pushed_now else " in an earlier run"
    pushed = f", pushed v{result.pushed_version}{earlier}" if result.pushed_version is not None else ""
    tell(f"run {result.run_id}: {len(result.steps)} steps{pushed}; edgeward pipeline show {result.run_id}")
    if said := str(result.dropped):
        tell(said)


def _steps_of(store: RunStore, run: str) -> list[StepState]:
    try:
        return load_steps(store, run)[1]
    except BadInput:
        return []
