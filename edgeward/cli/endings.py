"""The end of a command: its exit code, and the words of an error.

Decides which fault has which exit code, the words of errors without a code, and the command that helps. Refuses to
know what a command does.
"""

import json
import os
import shlex
import shutil
import sys
from enum import IntEnum
from typing import Any

import click

from contract.errors import BadInput, Code, EdgewardError, WorldError
from contract.screen import wrapped
from contract.world_faults import world_error
from edgeward.cli.asked import Asked


class Exit(IntEnum):
    """Exit codes of `edgeward`. The comment says what a script may do."""

    DONE = 0  # success: continue
    NOT_COMPLETED = 1  # the result was bad, or disk or network failed: the same call may succeed later
    USAGE = 2  # no such command, option or file: correct the command line
    REFUSED = 3  # the call was understood and refused, and would be refused again: the code says why
    NO_CONTROLLER = 4  # no controller answers, or none is named: start it, or correct EDGEWARD_URL
    READER_GONE = 141  # the reader of the output has ended, as `head` does: this is no error
    INTERRUPTED = 130  # Ctrl-C: the output names processes that still run


HINTS = {
    Code.UNAUTHENTICATED: (
        "edgeward token create NAME --role viewer, by an administrator; set EDGEWARD_TOKEN to it, or to DATA_DIR/token"
    ),
    Code.UNKNOWN_MODEL: "edgeward model list",
    Code.UNKNOWN_VERSION: "edgeward model show {model}",
    Code.UNKNOWN_DEVICE: "edgeward device list",
    Code.UNKNOWN_ROLLOUT: "edgeward rollout list",
    Code.UNKNOWN_DATA_SET: "edgeward data list",
    Code.UNKNOWN_RETRAINING: "edgeward retrain list",
    Code.UNKNOWN_ALERT: "edgeward alert list --state all",
    Code.UNKNOWN_CERTIFICATE: "edgeward certificate list",
    Code.OUTSIDE_SCOPE: "edgeward token create NAME --role ROLE, by an administrator",
    Code.UNKNOWN_TOKEN: "edgeward token list",
    Code.NOT_SIGNED: "edgeward trust sign {model}",
    Code.GATES_NOT_PASSED: "edgeward model gates {version}",
    Code.SELECTOR_EMPTY: "edgeward device list",
    Code.NOTHING_FITS: "edgeward rollout plan {model}",
    Code.ROLLOUT_CONFLICT: "edgeward rollout show {rollout}",
    Code.DEVICE_RETIRED: "edgeward device adopt {device}",
}
"""For each code the command that shows existing names, or that does the missing step. Names come from the command
line.
"""

WITHOUT_NAME = {
    "{model}": "edgeward model list",
    "{version}": "edgeward model list",
    "{device}": "edgeward device list",
    "{rollout}": "edgeward rollout list --open",
}
"""The command that helps if the command line names no model, no device or no rollout."""

EXTRAS = {
    "pandas": "client", "skops": "client", "yaml": "client", "rich": "client",
    "pyarrow": "parquet", "PIL": "images", "matplotlib": "plots", "pandera": "pipelines", "distributed": "dask",
    "obstore": "s3", "iotcore": "embedded", "catboost": "catboost", "lightgbm": "boosters", "xgboost": "boosters",
    "torch": "torch", "onnxscript": "torch", "keras": "keras",
    "onnx": "controller", "skl2onnx": "controller", "sklearn": "controller", "aiohttp": "controller",
    "tinydb": "controller", "onnxruntime": "agent", "paho": "agent", "httptools": "agent", "tomli_w": "sim",
}  # fmt: skip
"""The extra of pyproject.toml that installs a package, by the name of its module."""

INTERRUPTED = "interrupted"
ABORTED = "aborted"


def exit_of(error: EdgewardError) -> Exit:
    """The exit code of a coded error."""
    if error.code == Code.CONTROLLER_UNREACHABLE:
        return Exit.NO_CONTROLLER
    return Exit.NOT_COMPLETED if isinstance(error, WorldError) else Exit.REFUSED


def coded(error: Exception) -> EdgewardError | None:
    """Returns the coded error for an error of a library; None for a fault of the program, which keeps its trace."""
    if isinstance(error, EdgewardError):
        return error
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get((error.name or "").partition(".")[0])):
        words = f"this command needs {error.name}, which is not installed: pip install 'edgeward[{extra}]'"
        return BadInput(Code.CONFIG_INVALID, words)
    if isinstance(error, OSError):
        return world_error(error)
    if isinstance(error, UnicodeDecodeError):
        return BadInput(Code.REQUEST_INVALID, f"a file is not UTF-8 text: {error.reason} at byte {error.start}")
    return None


def hint_of(code: Code, asked: Asked) -> str:
    """Returns the command that helps, ready to be copied; empty if none does."""
    hint = HINTS.get(code, "")
    named = {"{model}": asked.model, "{version}": asked.version, "{device}": asked.device, "{rollout}": asked.rollout}
    for place, known in named.items():
        if place in hint and not known:
            return WITHOUT_NAME[place]
        hint = hint.replace(place, shlex.quote(known))
    return hint


def tell_error(error: EdgewardError, *, asked: Asked, as_json: bool) -> int:
    """Prints a coded error on stderr, with the command that helps, and returns the exit code."""
    hint = hint_of(error.code, asked)
    ending = exit_of(error)
    if as_json:
        _print_json(str(error.code), error.detail, ending, {"hint": hint} if hint else {})
    else:
        words = f"edgeward: {error.code}: {error.detail}" if error.detail else f"edgeward: {error.code}"
        _say(f"{words}\ntry: {hint}" if hint and hint not in error.detail else words)
    return ending


def tell_usage(error: click.ClickException, *, as_json: bool) -> int:
    """Prints what is wrong with a command line, and returns the exit code."""
    if as_json:
        _print_json("usage", error.format_message(), Exit.USAGE, {})
    else:
        error.show()
    return Exit.USAGE


def tell_abort(error: click.Abort, *, as_json: bool) -> int:
    """Prints that a command was interrupted, and what still runs, and returns the exit code."""
    by_key = isinstance(error.__cause__, KeyboardInterrupt)
    code, ending = (INTERRUPTED, Exit.INTERRUPTED) if by_key else (ABORTED, Exit.NOT_COMPLETED)
    if as_json:
        _print_json(code, str(error), ending, {})
    else:
        _say(str(error) or f"edgeward: {code}")
    return ending


def _print_json(code: str, detail: str, ending: Exit, more: dict[str, Any]) -> None:
    click.echo(json.dumps({"error": {"code": code, "detail": detail, "exit_code": int(ending), **more}}), err=True)


def _say(words: str) -> None:
    """Prints lines on stderr, wrapped between words on a screen."""
    if sys.stderr.isatty() or os.environ.get("COLUMNS"):
        words = wrapped(words, shutil.get_terminal_size().columns)
    click.echo(words, err=True)
