"""`edgeward backup | restore`: on the controller's own machine, because a backup holds its keys.

Decides which directory is meant. `edgeward-controller` does the work: no token gives access to the keys.
"""

import os
import subprocess
import sys
from pathlib import Path

import click

from contract.errors import BadInput, Code
from edgeward.cli.render import json_option
from edgeward.settings import DEFAULT_DATA_DIR

_FILE = click.Path(dir_okay=False, path_type=Path)
_data_dir = click.option(
    "--data-dir", help="The directory of the controller. Default: EDGEWARD_DATA_DIR, then ~/.edgeward."
)


@click.command()
@click.argument("file", type=_FILE)
@_data_dir
@json_option
def backup(file: Path, data_dir: str | None, *, as_json: bool) -> None:
    """Write all that a controller needs to FILE, also while it runs. FILE holds keys: protect it."""
    _controller("backup", str(file), data_dir, *(["--json"] if as_json else []))


@click.command()
@click.argument("file", type=_FILE)
@click.option("--replace", is_flag=True, help="Move what is in the directory aside first.")
@_data_dir
@json_option
def restore(file: Path, data_dir: str | None, *, replace: bool, as_json: bool) -> None:
    """Restore FILE into the directory of a controller that does not run."""
    flags = [name for name, given in (("--replace", replace), ("--json", as_json)) if given]
    _controller("restore", str(file), data_dir, *flags)


def _controller(verb: str, file: str, data_dir: str | None, *options: str) -> None:
    program = Path(sys.executable).with_name("edgeward-controller")
    if not program.exists():
        words = f"edgeward {verb} runs where the controller is installed: pip install 'edgeward[controller]'"
        raise BadInput(Code.CONFIG_INVALID, words)
    directory = data_dir or os.environ.get("EDGEWARD_DATA_DIR", DEFAULT_DATA_DIR)
    done = subprocess.run([program, verb, file, "--data-dir", directory, *options], check=False)  # noqa: S603
    if done.returncode:
        raise click.exceptions.Exit(done.returncode)
