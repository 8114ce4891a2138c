"""The checks of `edgeward-agent doctor`: everything outside the agent that can prevent it from working.

Decides what is in order. Each check returns a finding and changes at most a scratch file. Refuses to repair.
"""

import importlib.metadata
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import onnxruntime

from agent.adapters import private_parts
from agent.config import Config
from agent.trust.credentials import load_root
from contract.errors import EdgewardError
from contract.mqtt_address import parse_mqtt_address
from contract.stick import DOCUMENTS

OLDEST_ONNXRUNTIME = (1, 31)
"""Below it building a session holds the GIL for 120 to 455 ms, and hostile files read outside their bounds."""
FREE_MB_WANTED = 64
OLDEST_RIGHT_TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    check: str
    ok: bool
    detail: str


def examine(config: Config, config_path: Path) -> Iterator[Finding]:
    """Yields all findings one by one; a check that raises gives a finding, too."""
    checks: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        ("packages", _owners),
        ("onnxruntime", _onnxruntime),
        ("private parts", _private_parts),
        ("root of trust", lambda: (True, _root_words(load_root(config, config_path).root))),
        ("state directory", lambda: _state_dir(Path(config.device.state_dir))),
        ("clock", _clock),
        ("broker", lambda: _broker(config.broker.url)),
    ]
    for name, check in checks:
        try:
            yield Finding(name, *check())
        except (OSError, EdgewardError) as error:
            yield Finding(name, ok=False, detail=str(error))


def _root_words(root: str) -> str:
    signed = json.loads(root)["signed"]
    return f"version {signed['version']}, expires {signed['expires'][:10]}"


def _owners() -> tuple[bool, str]:
    others = sorted(set(importlib.metadata.packages_distributions().get("agent", [])) - {"edgeward"})
    if others:
        return False, f"{', '.join(others)} owns the package name 'agent' too: give edgeward an environment of its own"
    return True, f"agent belongs to edgeward {importlib.metadata.version('edgeward')}"


def _onnxruntime() -> tuple[bool, str]:
    version = onnxruntime.__version__
    new_enough = tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_ONNXRUNTIME
    wanted = ".".join(str(part) for part in OLDEST_ONNXRUNTIME)
    return new_enough, version if new_enough else f"{version}; {wanted} or newer is needed"


def _private_parts() -> tuple[bool, str]:
    found = private_parts.faults()
    return not found, "; ".join(found) or f"all {len(private_parts.PARTS)} are as the agent uses them"


def _state_dir(path: Path) -> tuple[bool, str]:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path, prefix="tmp-doctor-") as file:
        file.write(b"edgeward")
        file.flush()
        os.fsync(file.fileno())
    free_mb = shutil.disk_usage(path).free // 10**6
    return free_mb >= FREE_MB_WANTED, f"{path} is writable, {free_mb} MB free ({FREE_MB_WANTED} wanted)"


def _clock() -> tuple[bool, str]:
    now = datetime.now(UTC)
    return now >= OLDEST_RIGHT_TIME, f"{now.isoformat(timespec='seconds')}" + (
        "" if now >= OLDEST_RIGHT_TIME else ": in the past"
    )


def _broker(url: str) -> tuple[bool, str]:
    parts = urlsplit(url)
    if parts.scheme == "file":
        documents = Path(unquote(parts.path)) / DOCUMENTS
        return documents.is_file(), f"{documents} is {'there' if documents.is_file() else 'not there'}"
    address = parse_mqtt_address(url)
    with socket.create_connection((address.host, address.port), timeout=5):
        return True, f"{address.host}:{address.port} accepts connections"
