"""The command's root: its commands, and one place where every error ends. `cli.endings` has the exit codes.

A command is imported when it is called: importing all of them takes longer than most calls.
"""

import sys

import click

from contract.reader_gone import until_reader_goes
from edgeward.cli.asked import asked_by
from edgeward.cli.completion import complete_names
from edgeward.cli.endings import Exit, coded, tell_abort, tell_error, tell_usage
from edgeward.cli.named_commands import NamedCommands

_READER_GONE = "PacifyFlushWrapper"
"""The class that click puts in place of standard output when its reader has closed the pipe, before it exits with 1."""
_COMMANDS = (
    "model", "version", "run", "pipeline", "data", "rollout", "retrain", "alert", "top", "report", "telemetry",
    "watcher", "label", "fleet", "status", "device", "selector", "stick", "trust", "certificate", "attest", "token",
    "audit", "backup", "restore", "demo", "page", "automl", "lineage",
)  # fmt: skip
_HOMES = {name: f"edgeward.cli.{name}" for name in _COMMANDS} | {
    "selector": "edgeward.cli.device_labels",
    "status": "edgeward.cli.fleet",
    "restore": "edgeward.cli.backup",
    "demo": "edgeward.demo.command",
}
_SHELLS = ("bash", "zsh", "fish")


@click.group(commands=NamedCommands(_HOMES, complete_names), context_settings={"help_option_names": ["-h", "--help"]})
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
    assert found is not None  # the choice above lists the shells of click
    click.echo(found(cli, {}, "edgeward", "_EDGEWARD_COMPLETE").source())


def main() -> None:
    """Entry point of the console script."""
    sys.exit(until_reader_goes(lambda: run_arguments(sys.argv[1:])))


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
    except SystemExit:
        if type(sys.stdout).__name__ == _READER_GONE:
            return Exit.READER_GONE
        raise
    except Exception as error:
        if (known := coded(error)) is None:
            raise
        return tell_error(known, asked=asked_by(cli, arguments), as_json=as_json)
    return ended if isinstance(ended, int) else Exit.DONE
