"""`edgeward-agent enrol | adopt | run | renew | status | doctor`. Exit codes: 0 success, 1 fault, 2 wrong arguments."""

import argparse
import json
import logging
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from agent.adapters.kept_lives import KEEP_S, SavedLives, load_lives, sensor_words, sink_words
from agent.adapters.log_lines import OneLine
from agent.adapters.posix_disk import PosixDisk
from agent.config import Config, load_config
from agent.core.model import Record
from agent.flash.store import Store
from contract.errors import BadInput, Code, EdgewardError
from contract.log_lines import add_log_options, add_version, json_line, levels_of_libraries
from contract.reader_gone import until_reader_goes
from contract.screen import wrapped
from contract.wire import encode
from contract.world_faults import world_error

_log = logging.getLogger("edgeward.agent")

_NOTED = f"a change of state is noted at once, counts every {KEEP_S:.0f} s"


def main() -> None:
    """Entry point of the console script."""
    sys.exit(until_reader_goes(lambda: run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    call = _parser().parse_args(arguments)
    _begin_logging(call)
    try:
        code: int = call.command(load_config(call.config), call) if call.config else _enrol(call)
    except BrokenPipeError:
        raise
    except (EdgewardError, OSError) as error:
        known = world_error(error) if isinstance(error, OSError) else error
        _say(f"edgeward-agent: {known}", sys.stderr)
        return 2
    return code


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
    parser = argparse.ArgumentParser(
        prog="edgeward-agent", description="Runs models on this device, and keeps them right."
    )
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="enrol | adopt | run | renew | status | doctor")
    words = "make a key, trade a claim for its certificate, write a configuration"
    first = commands.add_parser("enrol", help=words, description=words)
    first.add_argument("claim", type=Path, help="the file that `edgeward device enrol` wrote")
    first.add_argument("--out", type=Path, default=Path(), help="where key, certificate and agent.toml go")
    add_log_options(first)
    first.set_defaults(config=None)
    for name, command, words in (
        ("run", _run, "serve until it is stopped"),
        ("adopt", _adopt, "follow another controller from now on, with the models that this device serves"),
        ("renew", _renew, "a new key and certificate now; an agent that runs does this by itself in time"),
        ("status", _status, "what this device runs, read from its disk (also while the agent is down)"),
        ("doctor", _doctor, "check everything around the agent that can keep it from working"),
    ):
        sub = commands.add_parser(name, help=words, description=words)
        sub.add_argument("-c", "--config", type=Path, default=Path("/etc/edgeward/agent.toml"), help="TOML file")
        sub.add_argument(
            "--json", action="store_true", help="print JSON" if name in ("status", "doctor") else argparse.SUPPRESS
        )
        add_log_options(sub)
        sub.set_defaults(command=command)
    commands.choices["adopt"].add_argument("claim", type=Path, help="the file that `edgeward device adopt` wrote")
    return parser


def _run(config: Config, call: argparse.Namespace) -> int:
    from agent.daemon import Daemon  # the runtime takes 150 ms to import; `status` does not need it

    if config.enrolment.claim_file:
        from agent.adapters.timely import open_url
        from agent.trust.enrol import enrol_at_first_start

        if enrol_at_first_start(call.config.parent / config.enrolment.claim_file, PosixDisk, open_url):
            _log.info("enrolled as %s: the claim is used up", config.device.name)
    Daemon(config, call.config, lambda checks: _doctor_lines(config, call.config, checks)).run()
    return 0


def _enrol(call: argparse.Namespace) -> int:
    from agent.adapters.timely import open_url
    from agent.trust.enrol import enrol

    config = enrol(call.claim, call.out, PosixDisk, open_url)
    print(f"enrolled; wrote {config}; next: edgeward-agent run -c {shlex.quote(str(config))}")
    return 0


def _adopt(config: Config, call: argparse.Namespace) -> int:
    from agent.adapters.directory_lock import lock_directory
    from agent.adapters.timely import open_url
    from agent.trust.adopt import adopt

    lock = lock_directory(Path(config.device.state_dir))  # the agent must be stopped: it has these files in use
    try:
        home = adopt(call.claim, config, call.config, PosixDisk, open_url)
    finally:
        lock.close()
    print(f"follows {config.device.name}'s new controller with the credentials in {home}")
    print(f"next, to start it again: edgeward-agent run -c {shlex.quote(str(call.config))}")
    return 0


def _renew(config: Config, call: argparse.Namespace) -> int:
    from agent.adapters.directory_lock import lock_directory
    from agent.adapters.renewer import new_renewal, open_pairs

    if not config.broker.cert_file or not config.enrolment.url:
        raise BadInput(Code.CONFIG_INVALID, "broker.cert_file and enrolment.url: this device was not enrolled")
    pairs = open_pairs(config)
    with lock_directory(Path(config.device.state_dir)):  # a running agent renews by itself
        renewal = new_renewal(config, pairs)
        if not renewal.attempt(time.monotonic()):
            assert renewal.fault is not None
            raise renewal.fault
    print(f"renewed, good until {pairs.current().ends:%Y-%m-%d %H:%M} UTC")
    return 0


def _status(config: Config, call: argparse.Namespace) -> int:
    records, corrupt = Store(PosixDisk(Path(config.device.state_dir))).load_records()
    lives = load_lives(Path(config.device.state_dir))
    if call.json:
        told = {name: json.loads(encode(record)) for name, record in sorted(records.items())}
        print(json.dumps(told | _lives_as_json(lives)))
    else:
        for name, record in sorted(records.items()):
            _say(_line(name, record))
        if not records:
            _say(f"no model yet; state in {config.device.state_dir}")
        if lives is not None and (lives.sensors or lives.sinks):
            _say(f"sensors and sinks, noted {max(0.0, time.time() - lives.at):.0f} s ago; {_NOTED}:")
            for words in (*map(sensor_words, lives.sensors), *map(sink_words, lives.sinks)):
                _say(words)
    for problem in _noted(lives):
        _say(problem, sys.stderr)
    for problem in _problems(config, call.config):
        _say(problem, sys.stderr)
    for name in corrupt:
        _say(f"{name}: its record was damaged and has been set aside", sys.stderr)
    return 1 if corrupt else 0


def _say(words: str, to: TextIO | None = None, *, indent: int = 2) -> None:
    """Prints lines, wrapped between words on a screen, unwrapped in a pipe."""
    to = to or sys.stdout
    if to.isatty() or os.environ.get("COLUMNS"):
        words = wrapped(words, shutil.get_terminal_size().columns, indent)
    print(words, file=to)


def _noted(lives: SavedLives | None) -> list[str]:
    """Returns in words the faults that the agent has noted."""
    return [] if lives is None else [f"{code} at {_moment(lives.at)}: {what}" for code, what in lives.faults.items()]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _lives_as_json(lives: SavedLives | None) -> dict[str, object]:
    """Sensors, sinks and faults under names that no model can have."""
    if lives is None:
        return {}
    told = json.loads(encode(lives))
    return {f"@{name}": told[name] for name in ("at", "sensors", "sinks", "faults")}


def _problems(config: Config, path: Path) -> list[str]:
    """Returns in words what is wrong with this device's own files; connects to nothing."""
    from agent.doctor import DEVICE_FILES, examine

    return [f"{found.check}: {found.detail}" for found in examine(config, path, DEVICE_FILES) if not found.ok]


def _line(name: str, record: Record) -> str:
    stable = f"v{record.stable.manifest.release}" if record.stable else "none"
    trial = f", trial v{record.trial.manifest.release} (boot {record.trial_boots})" if record.trial else ""
    ended = record.outcome
    why = f": {ended.code} {ended.detail}".rstrip() if ended is not None and ended.code else ""
    outcome = f", v{ended.version.release} {ended.result}{why}" if ended is not None else ""
    return f"{name}: stable {stable}{trial}, generation {record.generation}{outcome}"


def _doctor_lines(config: Config, path: Path, checks: frozenset[str] | None = None) -> Iterator[str]:
    from agent.doctor import examine

    for found in examine(config, path, checks):
        yield f"{'ok  ' if found.ok else 'FAIL'} {found.check}: {found.detail}"


def _doctor(config: Config, call: argparse.Namespace) -> int:
    from agent.doctor import examine

    findings = list(examine(config, call.config))
    if call.json:
        print(json.dumps([{"check": found.check, "ok": found.ok, "detail": found.detail} for found in findings]))
    else:
        for found in findings:
            _say(f"{'ok  ' if found.ok else 'FAIL'} {found.check}: {found.detail}", indent=5)
    return 0 if all(found.ok for found in findings) else 1
