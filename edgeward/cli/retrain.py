"""`edgeward retrain list | show | explain | decisions | policy | propose | approve | decline | worker`."""

import platform
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from edgeward.answers.retraining import Decision, Retraining
from edgeward.cli.key_values import pairs
from edgeward.cli.moments import with_local_times
from edgeward.cli.render import console, csv_option, json_option, print_json, print_table, table, tell, when, zone
from edgeward.client import Client

NO_DECISIONS = "nobody and no rule has proposed to retrain: `edgeward retrain propose MODEL` does"


@click.group()
def retrain() -> None:
    """Train models again: why, why not, and with what result."""


@retrain.command(name="list")
@click.argument("model", default="")
@csv_option
@json_option
def list_(model: str, *, as_json: bool) -> None:
    """List attempts to retrain MODEL (none named: all), newest first."""
    found = Client().retrainings(model)
    if as_json:
        print_json(found.plain)
        return
    rows = [
        (each.id, each.model, each.status, f"v{each.champion}", f"v{each.release}" if each.release else None,
         _points(each), each.detail or each.decision.detail)
        for each in found
    ]  # fmt: skip
    columns = ("retraining", "model", "status", "champion", "candidate", "gain", "because")
    who = f"{model} has not been" if model else "no model has been"
    print_table("retraining", columns, rows, empty=f"{who} retrained: propose it with `edgeward retrain propose MODEL`")


@retrain.command()
@click.argument("model", default="")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@csv_option
@json_option
def decisions(model: str, limit: int, *, as_json: bool) -> None:
    """Show why MODEL was trained again, and why it was not, newest first."""
    found = Client().retraining_decisions(model, limit)
    if as_json:
        print_json(found.plain)
        return
    rows = [(when(each.when), each.model, each.word, each.times, _triggers(each), each.detail) for each in found]
    columns = (f"at ({zone()})", "model", "decided", "times", "proposed by", "because")
    print_table("decisions", columns, rows, empty=NO_DECISIONS)


@retrain.command()
@click.argument("retraining")
@json_option
def show(retraining: str, *, as_json: bool) -> None:
    """Show one attempt with its numbers."""
    found = Client().retraining(retraining)
    if as_json:
        print_json(found.plain)
        return
    console.print(table(found.id, ("what", "is"), _details(found)))
    if found.log:
        tell(f"\nthe end of the pipeline's output:\n{found.log}")


@retrain.command()
@click.argument("named", metavar="RETRAINING|MODEL")
@json_option
def explain(named: str, *, as_json: bool) -> None:
    """Explain why an attempt was made, or what was decided last about a model."""
    sentences = Client().explain_retraining(named)
    if as_json:
        print_json(list(sentences.sentences))
        return
    console.print(with_local_times(str(sentences)))


@retrain.command()
@click.argument("model")
@click.option(
    "--set", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file as configs/retraining/default.toml.",
)  # fmt: skip
@click.option("--remove", is_flag=True, help="Remove the policy: nothing proposes a training then.")
@json_option
def policy(model: str, file: Path | None, *, remove: bool, as_json: bool) -> None:
    """Show, set or remove the retraining policy of MODEL."""
    client = Client()
    if remove:
        found = client.remove_retraining_policy(model)
    elif file is not None:
        found = client.set_retraining_policy(model, read_policy(file))
    else:
        found = client.retraining_policy(model)
    if as_json:
        print_json(found.plain)
        return
    plain = found.plain
    tables = [(name, each) for name, each in plain.items() if isinstance(each, dict)]
    rows = [(name, each) for name, each in plain.items() if not isinstance(each, dict)]
    rows += [(f"{name}.{key}", value) for name, each in tables for key, value in each.items()]
    title = f"was the retraining policy of {model}" if remove else f"retraining policy of {model}"
    console.print(table(title, ("field", "value"), [(name, str(value)) for name, value in rows]))


@retrain.command()
@click.argument("model")
@click.option("--because", required=True, help="The reason, which is kept with the decision.")
@click.option("--alert", is_flag=True, help="An alert proposes it: a gain is then required.")
@json_option
def propose(model: str, because: str, *, alert: bool, as_json: bool) -> None:
    """Propose to retrain MODEL. A person's request needs no gain, but cool-down and budget count."""
    found = Client().propose_retraining(model, because, alert=alert)
    print_json(found.plain) if as_json else tell(f"{found.word}: {found.detail} {found.retraining}".rstrip())


@retrain.command()
@click.argument("retraining")
@json_option
def approve(retraining: str, *, as_json: bool) -> None:
    """Approve a proposed training, so that it may begin."""
    found = Client().approve_retraining(retraining)
    print_json(found.plain) if as_json else tell(f"{found.id} is {found.status} by {found.approved_by}")


@retrain.command()
@click.argument("retraining")
@click.option("--because", default="", help="The reason, which is kept with the attempt.")
@json_option
def decline(retraining: str, because: str, *, as_json: bool) -> None:
    """End an attempt before a worker begins."""
    found = Client().decline_retraining(retraining, because)
    print_json(found.plain) if as_json else tell(f"{found.id} is {found.status}: {found.detail}")


@retrain.command()
@click.argument("pipeline", metavar="FILE")
@click.option("--model", "models", multiple=True, required=True, help="May be repeated.")
@click.option("-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="Of the pipeline.")
@click.option("--name", default="", help="The name of this worker; default: this machine.")
@click.option("--dir", "directory", type=click.Path(file_okay=False, path_type=Path), help="Where runs are kept.")
@click.option("--once", is_flag=True, help="End after one attempt, or if nothing waits.")
@click.option("--poll-s", type=click.FloatRange(0.1), default=5.0, show_default=True)
def worker(
    pipeline: str,
    models: tuple[str, ...],
    params: tuple[str, ...],
    name: str,
    directory: Path | None,
    *,
    once: bool,
    poll_s: float,
) -> None:
    """Train what the controller has approved, by the pipeline of FILE (or FILE.py:NAME).

    Its step `candidate` returns an edgeward.retraining.candidate.Candidate.
    """
    from edgeward.retraining.worker import Worker

    places = dict.fromkeys(models, pipeline)
    chosen = name or platform.node()
    found = Worker(Client(), chosen, places, pairs(params), directory, tell=_say)
    found.check()
    _say(f"worker {chosen} waits for {', '.join(models)}")
    if not once:
        found.work(poll_s)
    elif found.work_once() is None:
        _say("nothing waits")


def read_policy(path: Path) -> dict[str, Any]:
    """The fields of a policy file. BadInput `config_invalid` with the place of a fault."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(Code.CONFIG_INVALID, f"{path}: {error}") from None


def _say(words: str) -> None:
    click.echo(f"{datetime.now(UTC):%H:%M:%S}  {words}")


def _points(found: Retraining) -> str | None:
    return (
        None
        if found.gain is None
        else f"{str(found.gain).partition(' ')[0]}{'' if found.decision.classifies else ' %'}"
    )


def _triggers(found: Decision) -> str:
    return ", ".join(dict.fromkeys(each.trigger for each in found.proposals))


def _details(found: Retraining) -> list[tuple[str, str | None]]:
    def at(seconds: float) -> str | None:
        return when(datetime.fromtimestamp(seconds, UTC)) if seconds else None

    decision = found.decision
    rows: list[tuple[str, str | None]] = [
        ("model", f"{found.model}, champion v{found.champion}"),
        ("status", found.status),
        ("proposed by", "; ".join(f"{each.trigger}: {each.detail}" for each in decision.proposals)),
        ("decided", decision.detail),
        ("approved by", found.approved_by or None),
        ("worker", found.worker or None),
        ("step", found.step or None),
        (f"began ({zone()})", at(found.began_at)),
        (f"ended ({zone()})", at(found.ended_at)),
        ("training began", found.start or None),
        ("candidate", f"v{found.release}" if found.release else None),
        (
            "gain in points" if decision.classifies else "gain in % of the error",
            str(found.gain) if found.gain is not None else None,
        ),
        ("result", found.detail or None),
    ]
    return [(name, text) for name, text in rows if text]
