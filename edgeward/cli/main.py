"""The command's root: its commands, and one place where every error ends. `cli.endings` has the exit codes."""

import sys

import click

from edgeward.cli.alert import alert
from edgeward.cli.asked import asked_by
from edgeward.cli.attest import attest
from edgeward.cli.audit import audit
from edgeward.cli.automl import automl
from edgeward.cli.backup import backup, restore
from edgeward.cli.certificate import certificate
from edgeward.cli.completion import complete_names
from edgeward.cli.data import data
from edgeward.cli.device import device
from edgeward.cli.device_labels import selector
from edgeward.cli.device_life import adopt, replace, retire, retired
from edgeward.cli.drift import drift, fairness
from edgeward.cli.endings import Exit, coded, tell_abort, tell_error, tell_usage
from edgeward.cli.fleet import fleet, status
from edgeward.cli.label import label
from edgeward.cli.lineage import lineage
from edgeward.cli.model import model
from edgeward.cli.page import page
from edgeward.cli.pipeline import pipeline
from edgeward.cli.report import report
from edgeward.cli.retrain import retrain
from edgeward.cli.rollout import rollout
from edgeward.cli.run import run
from edgeward.cli.stick import stick
from edgeward.cli.telemetry import telemetry
from edgeward.cli.token import token
from edgeward.cli.top import top
from edgeward.cli.trust import trust
from edgeward.cli.version import version
from edgeward.cli.watcher import watcher
from edgeward.demo.command import demo

_SHELLS = ("bash", "zsh", "fish")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgeward")
def cli() -> None:
    """Put models on edge devices, and keep them working.

    The controller is found by EDGEWARD_URL and EDGEWARD_TOKEN, or in EDGEWARD_DATA_DIR (default ~/.edgeward).
    Times are those of this machine's zone (TZ); --json has UTC. Exit codes: docs/reference/mistakes.md.
    """


@cli.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print shell completion: eval "$(edgeward completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None  # the choice above lists what click knows
    click.echo(found(cli, {}, "edgeward", "_EDGEWARD_COMPLETE").source())


for command in (
    model, version, run, pipeline, data, rollout, retrain, alert, top, report, telemetry, watcher, label, fleet, status,
    device, selector, stick, trust, certificate, attest, token, audit, backup, restore, demo, page, automl, lineage,
):  # fmt: skip
    cli.add_command(command)
for command in (drift, fairness):
    model.add_command(command)
for command in (retire, replace, adopt, retired):
    device.add_command(command)


complete_names(cli)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run_arguments(sys.argv[1:]))


def run_arguments(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; errors are printed on stderr, as JSON if --json is given."""
    as_json = "--json" in arguments
    try:
        ended = cli(arguments, prog_name="edgeward", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.ClickException as error:
        return tell_usage(error, as_json=as_json)
    except click.Abort as error:
        return tell_abort(error, as_json=as_json)
    except Exception as error:
        if (known := coded(error)) is None:
            raise
        return tell_error(known, asked=asked_by(cli, arguments), as_json=as_json)
    return ended if isinstance(ended, int) else Exit.DONE
