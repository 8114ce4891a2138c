"""Log lines of the long-running programs: for people, or as JSON for collectors.

Decides the keys of a line and the levels. Refuses to know which module writes and where lines are sent.
"""

import argparse
import importlib.metadata
import json
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
LIBRARIES = ("tuf", "securesystemslib", "aiohttp.access", "asyncio")
"""Libraries whose lines do not help an operator, such as `Key abc failed to verify root`."""


def json_line(created: float, level: str, logger: str, message: str, trace: str = "") -> str:
    """Returns one JSON object on one line: `at` in UTC, `level`, `logger`, `message`, and `trace` for an exception.

    `created` is in seconds since 1970.
    """
    at = datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")
    line = {"at": at, "level": level.lower(), "logger": logger, "message": message}
    return json.dumps({**line, "trace": trace} if trace else line)


def levels_of_libraries(level: str) -> dict[str, str]:
    """By logger, the lowest level that is logged of libraries that log every step; at `debug` all of it."""
    return dict.fromkeys(LIBRARIES, "WARNING" if level != "debug" else "NOTSET")


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Adds --log-level and --log-format to a command."""
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="the least that is logged; default: info")
    parser.add_argument("--log-format", choices=FORMATS, default="text", help="json: an object a line, for collectors")


def add_version(parser: argparse.ArgumentParser) -> None:
    """Adds --version to a program."""
    version = f"{parser.prog} {importlib.metadata.version('edgeward')}"
    parser.add_argument("--version", action="version", version=version)
