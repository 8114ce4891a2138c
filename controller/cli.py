"""`edgeward-controller run | backup | restore`. Exit codes: 0 success, 1 incomplete, 2 wrong arguments or
configuration.
"""

import argparse
import asyncio
import fcntl
import gc
import json
import logging
import os
import secrets
import shlex
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import Code, EdgewardError, WorldError
from contract.log_lines import add_log_options, add_version, json_line, levels_of_libraries
from contract.reader_gone import until_reader_goes
from contract.visible import one_line
from contract.world_faults import world_error
from controller.api.app import make_app
from controller.api.door import opened
from controller.broker.taken_ports import refuse_taken
from controller.clock import stamp
from controller.config import Config, load_config
from controller.registry.atomic_file import replace_file
from controller.registry.backup import Backup, back_up
from controller.registry.restore import check_whole, restore
from controller.service import Service
from controller.state import State, open_state
from controller.trust.keys import load_or_make_secret
from controller.verbs import restored

PRIVATE_UMASK = 0o077
"""Only their own user may read the files of the controller and its broker: keys, claims, reports of devices."""
COLLECT_AFTER = 50_000
"""The number of objects, as the collector counts them, between two searches for cycles, of which there are few. A
message is some ten objects, so Python's own 700 means a search every seventy messages: 20 of the 85 us of CPU that a
telemetry message took."""

ANOTHER_API_PORT = "choose another with --port (0: a free one) or api.port"
_ORDER = "Flags win over EDGEWARD_DATA_DIR, and that over the file."
_DATA_DIR = "where everything is kept; else EDGEWARD_DATA_DIR, else as the file says"

_log = logging.getLogger("edgeward.controller")


def main() -> None:
    """Entry point of the console script."""
    sys.exit(until_reader_goes(lambda: run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    call = _parser().parse_args(arguments)
    _begin_logging(call)
    try:
        code: int = call.command(_with_flags(load_config(call.config), call), call)
    except sqlite3.OperationalError as error:  # the disk is full, or may not be written
        print(f"edgeward-controller: {Code.DISK_FAILED}: a table in the data directory: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        raise
    except (EdgewardError, OSError) as error:
        known = world_error(error) if isinstance(error, OSError) else error
        print(f"edgeward-controller: {known}", file=sys.stderr)
        return 2
    return code


def _run(config: Config, _: argparse.Namespace) -> int:
    asyncio.run(serve(config))
    return 0


def _back_up(config: Config, call: argparse.Namespace) -> int:
    made = back_up(config.data_dir, call.file, stamp())
    if call.json:
        facts = {"file": str(call.file), "made_at": made.contents.made_at, "files": len(made.contents.files)}
        print(json.dumps({**facts, "secrets": made.contents.secrets, "damaged": made.damaged}))
    else:
        print(backup_words(made, call.file))
    return 1 if made.damaged else 0


def backup_words(made: Backup, file: Path) -> str:
    """Returns in sentences what a backup holds, the keys first."""
    size_bytes = sum(each.size_bytes for each in made.contents.files.values())
    lines = [
        f"wrote {file}: {len(made.contents.files)} files, {size_bytes / 1e6:.1f} MB, mode 0600",
        f"it holds {', '.join(made.contents.secrets)}:",
        "whoever reads it can speak for this controller. Keep it where you would keep these keys.",
    ]
    return "\n".join([*lines, *(f"damaged already, and not in it: blob {digest}" for digest in made.damaged)])


def _restore(config: Config, call: argparse.Namespace) -> int:
    os.umask(PRIVATE_UMASK)
    lock = _lock(config.data_dir)
    try:
        contents, aside = restore(call.file, config.data_dir, replace=call.replace, now=stamp())
    finally:
        lock.close()
    if call.json:
        facts = {"data_dir": str(config.data_dir), "made_at": contents.made_at, "files": len(contents.files)}
        print(json.dumps({**facts, "aside": None if aside is None else str(aside)}))
        return 0
    print(f"restored {len(contents.files)} files of {contents.made_at} to {config.data_dir}")
    if aside is not None:
        print(f"what was there before is in {aside}; remove it when you no longer need it")
    print(f"next: {run_words(call)}")
    print("docs/guides/backup-and-restore.md says what to look at")
    return 0


def run_words(call: argparse.Namespace) -> str:
    """Returns the command, ready to be copied, that serves the data directory of this call."""
    flags = (("--config", call.config), ("--data-dir", call.data_dir))
    given = [word for flag, value in flags if value is not None for word in (flag, str(value))]
    return shlex.join(["edgeward-controller", "run", *given])


async def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT. WorldError `disk_failed` if another controller has the data directory,
    `port_taken` if another program has a port.
    """
    os.umask(PRIVATE_UMASK)
    lock = _lock(config.data_dir)
    try:
        await _serve_alone(config)
    finally:
        lock.close()


async def _serve_alone(config: Config) -> None:
    check_whole(config.data_dir)
    refuse_taken(config.api.host, config.api.port, ANOTHER_API_PORT)  # before a broker starts
    make_private(config.data_dir)
    token = load_or_make_secret(config.data_dir / "token", f"edg_{secrets.token_urlsafe(32)}".encode())
    state = open_state(config)
    restored.take_up(state)
    app = make_app(state, token)  # faults of the configuration are reported before a broker starts
    service = Service(state)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    try:
        await service.start()
        async with opened(app, config.api) as (host, port):
            _announce(state, host, port)
            collect_rarely()
            await stop.wait()
    finally:
        await service.stop()


def collect_rarely() -> None:
    """Leaves modules and the fleet as loaded out of collections of garbage, and collects less often: a full collection
    over them would delay every message.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _announce(state: State, host: str, port: int) -> None:
    """Writes the addresses of the API and the broker to the log and to a file that the client reads."""
    config = state.config
    state.api_port = port
    where = {"url": f"http://{host}:{port}", "broker": state.broker.shown if state.broker else ""}
    replace_file(config.data_dir / "controller.json", json.dumps(where).encode())
    _log.info("API at %s, token in %s", where["url"], config.data_dir / "token")
    if config.api.host not in ("127.0.0.1", "localhost", "::1"):
        _log.warning("the API listens beyond loopback without TLS: put a proxy in front of it")


def _lock(data_dir: Path) -> Any:
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = (data_dir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise WorldError(Code.DISK_FAILED, f"{data_dir} belongs to another running controller") from None
    return file


def make_private(data_dir: Path) -> None:
    """Removes other users' access to the directory and everything in it that an older controller left open.

    WorldError `disk_failed` for what belongs to another user.
    """
    try:
        for path in (data_dir, *data_dir.rglob("*")):
            if not path.is_symlink() and path.stat().st_mode & 0o077:
                path.chmod(path.stat().st_mode & 0o700)
    except OSError as error:
        raise WorldError(Code.DISK_FAILED, f"{error.filename or data_dir}: {error.strerror}") from error


class OneLine(logging.Formatter):
    """Formats each record as one log line, with any message; a trace follows on separate lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        """Returns the line (called by logging)."""
        record.message = one_line(record.message)
        return super().formatMessage(record)


class JsonLines(logging.Formatter):
    """Log lines as JSON objects."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line (called by logging)."""
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return json_line(record.created, record.levelname, record.name, record.getMessage(), trace)


def _begin_logging(call: argparse.Namespace) -> None:
    """Configures the log of this program on standard error by its options."""
    to = logging.StreamHandler()
    plain = OneLine()
    to.setFormatter(JsonLines() if call.log_format == "json" else plain)
    logging.basicConfig(level=call.log_level.upper(), handlers=[to])
    for library, level in levels_of_libraries(call.log_level).items():
        logging.getLogger(library).setLevel(level)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edgeward-controller", description="Converts, verifies, versions, rolls out.")
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="run | backup | restore")
    for name, command, words in (
        ("run", _run, "serve until told to stop"),
        ("backup", _back_up, "write all that a controller must find again to one new file, also while it runs"),
        ("restore", _restore, "put what a backup holds into the data directory of a controller that does not run"),
    ):
        one = commands.add_parser(name, help=words, description=_ORDER)
        one.add_argument("-c", "--config", type=Path, help="TOML file; see configs/controller.toml")
        one.add_argument("--data-dir", default=os.environ.get("EDGEWARD_DATA_DIR") or None, help=_DATA_DIR)
        add_log_options(one)
        one.set_defaults(command=command, port=None, broker=None, broker_port=None)
    for name in ("backup", "restore"):
        commands.choices[name].add_argument("file", type=Path, help="the backup")
        commands.choices[name].add_argument("--json", action="store_true", help="print JSON")
    aside = "move what is in the data directory aside first"
    commands.choices["restore"].add_argument("--replace", action="store_true", help=aside)
    runs = commands.choices["run"]
    runs.add_argument("--port", type=int, help="of the API; 0 picks a free one")
    runs.add_argument("--broker", help="auto, mosquitto, embedded, mqtt://host:port or mqtts://host:port")
    runs.add_argument("--broker-port", type=int, help="of a broker that is started; 0 picks a free one")
    return parser


def _with_flags(config: Config, call: argparse.Namespace) -> Config:
    replace = msgspec.structs.replace
    if call.data_dir is not None:
        config = replace(config, storage=replace(config.storage, data_dir=call.data_dir))
    if call.port is not None:
        config = replace(config, api=replace(config.api, port=call.port))
    if call.broker is not None:
        config = replace(config, broker=replace(config.broker, url=call.broker))
    if call.broker_port is not None:
        config = replace(config, broker=replace(config.broker, port=call.broker_port))
    return config
