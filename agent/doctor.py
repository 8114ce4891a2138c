"""The checks of `edgeward-agent doctor`: everything outside the agent that can prevent its work.

Decides what counts as a fault. Each check returns a finding and changes nothing but a scratch file. Refuses to
repair.
"""

import importlib.metadata
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agent.adapters.local_port import answers_at
from agent.config import Broker, Config, check_listen
from agent.trust.credentials import load_root
from contract.errors import EdgewardError
from contract.stick import DOCUMENTS

OLDEST_ONNXRUNTIME = (1, 31)
"""Before this version, building a session holds the GIL for 120 to 455 ms, and hostile files read outside their
bounds."""
FREE_MB_WANTED = 64
DEVICE_FILES = frozenset({"root of trust", "state directory", "certificates"})
"""Checks of this device's own files, which `status` makes as well."""
OLDEST_RIGHT_TIME = datetime(2026, 1, 1, tzinfo=UTC)
RENEW = "edgeward-agent renew"
"""The command that findings about a certificate name."""
DAY_S = 86_400.0
WARN_S = 7 * DAY_S
"""A certificate with less time left is a fault: it should have been renewed three weeks ago."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The name and result of one check."""

    check: str
    ok: bool
    detail: str


def examine(config: Config, config_path: Path, only: frozenset[str] | None = None) -> Iterator[Finding]:
    """Yields the findings of the checks in `only`, or of all checks. A check that raises gives a finding as well."""
    checks: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        ("packages", _owners),
        ("onnxruntime", _onnxruntime),
        ("private parts", _private_parts),
        ("root of trust", lambda: (True, _root_words(load_root(config, config_path).root))),
        ("state directory", lambda: _state_dir(Path(config.device.state_dir))),
        ("clock", _clock),
        ("certificates", lambda: _certificates(config)),
        ("port", lambda: answers_at(*check_listen(config.serving.listen), config.device.name)),
        ("faults", lambda: _faults(Path(config.device.state_dir))),
        ("broker", lambda: _with_config(_broker(config), config_path)),
    ]
    for name, check in checks:
        if only is not None and name not in only:
            continue
        try:
            yield Finding(name, *check())
        except (OSError, EdgewardError) as error:
            yield Finding(name, ok=False, detail=str(error))
    yield from _sources(config, only)


def _root_words(root: str) -> str:
    signed = json.loads(root)["signed"]
    return f"version {signed['version']}, expires {signed['expires'][:10]}"


def _owners() -> tuple[bool, str]:
    others = sorted(set(importlib.metadata.packages_distributions().get("agent", [])) - {"edgeward"})
    if others:
        return False, f"{', '.join(others)} owns the package name 'agent' too: give edgeward an environment of its own"
    return True, f"agent belongs to edgeward {importlib.metadata.version('edgeward')}"


def _onnxruntime() -> tuple[bool, str]:
    import onnxruntime  # here, because it takes 150 ms, and `status` does not need it

    version = onnxruntime.__version__
    new_enough = tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_ONNXRUNTIME
    wanted = ".".join(str(part) for part in OLDEST_ONNXRUNTIME)
    return new_enough, version if new_enough else f"{version}; {wanted} or newer is needed"


def _private_parts() -> tuple[bool, str]:
    from agent.adapters import private_parts  # here, because it imports the libraries that it checks

    found = private_parts.faults()
    return not found, "; ".join(found) or f"all {len(private_parts.PARTS)} are as the agent uses them"


def _state_dir(path: Path) -> tuple[bool, str]:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix="tmp-doctor-") as file:
            file.write(b"edgeward")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return False, f"{path}: {error.strerror}: confirmed versions serve, no update is taken until it can be written"
    free_mb = shutil.disk_usage(path).free // 10**6
    return free_mb >= FREE_MB_WANTED, f"{path} is writable, {free_mb} MB free ({FREE_MB_WANTED} wanted)"


def _sources(config: Config, only: frozenset[str] | None) -> Iterator[Finding]:
    """Returns a finding for each sensor, and for each sink that has run; one finding if none has run."""
    from agent.adapters.kept_lives import load_lives, sensor_words, sink_words

    lives = load_lives(Path(config.device.state_dir))
    if only is None or "sensors" in only:
        sensors = lives.sensors if lives is not None else ()
        for sensor in sensors:
            words = sensor_words(sensor).removeprefix("sensor ")
            yield Finding("sensor", sensor.state != "waiting", words)
        yield from _not_run(config, {sensor.name for sensor in sensors})
        if not sensors and not config.sensor:
            yield Finding("sensors", ok=True, detail="none has run")
    if only is None or "sinks" in only:
        sinks = lives.sinks if lives is not None else ()
        for sink in sinks:
            yield Finding("sink", sink.state != "failing", sink_words(sink).removeprefix("sink "))
        if not sinks:
            yield Finding("sinks", ok=True, detail="none has run")


def _not_run(config: Config, run: set[str]) -> Iterator[Finding]:
    """Returns a finding for each sensor of the configuration that is not among those that have run."""
    for number, sensor in enumerate(config.sensor, 1):
        name = f"{type(sensor).__struct_config__.tag}-{number}"
        if name not in run:
            path = getattr(sensor, "path", "")
            is_there = not path or Path(path).exists()
            words = "has not run yet" if is_there else f"has not run yet, and {path} is not there"
            yield Finding("sensor", is_there, f"{name} of {sensor.model}: {words}")


def _faults(path: Path) -> tuple[bool, str]:
    from agent.adapters.kept_lives import load_lives

    found = lives.faults if (lives := load_lives(path)) is not None else {}
    return not found, "; ".join(f"{code}: {words}" for code, words in found.items()) or "the agent has noted none"


def _clock() -> tuple[bool, str]:
    now = datetime.now(UTC)
    return now >= OLDEST_RIGHT_TIME, f"{now.isoformat(timespec='seconds')}" + (
        "" if now >= OLDEST_RIGHT_TIME else ": in the past"
    )


def _broker(config: Config) -> tuple[bool, str]:
    parts = urlsplit(config.broker.url)
    if parts.scheme == "file":
        documents = Path(unquote(parts.path)) / DOCUMENTS
        return documents.is_file(), f"{documents} is {'there' if documents.is_file() else 'not there'}"
    if _is_not_enrolled(config):
        return False, "not tried: this device has no certificate yet"
    from agent.adapters.mqtt.hello import say_hello  # here: `status` does not need it

    found = say_hello(_broker_now(config), config.device.name, datetime.now(UTC))
    until = f", its certificate is good until {found.broker_expires:%Y-%m-%d}" if found.broker_expires else ""
    return found.accepted, found.words + (until if found.accepted else "")


def _with_config(found: tuple[bool, str], path: Path) -> tuple[bool, str]:
    """Returns the finding; its commands name the configuration that was examined."""
    return found[0], found[1].replace(RENEW, f"{RENEW} -c {shlex.quote(str(path))}")


def _certificates(config: Config) -> tuple[bool, str]:
    broker = config.broker
    if not broker.cert_file:
        if not broker.url.startswith("mqtts:"):
            return True, "none are needed: broker.url is not mqtts://"
        from agent.adapters.mqtt.paho_link import tls_context  # here, because `status` needs paho for TLS alone

        tls_context(broker)
        return True, f"{broker.ca_file or 'the system'} vouches for the broker, this device has no certificate"
    if _is_not_enrolled(config):
        return False, "not enrolled yet: the first start does it, within an hour of `edgeward device config`"
    from agent.adapters.mqtt.paho_link import tls_context
    from agent.adapters.renewer import expiries_of, open_pairs

    now = _broker_now(config)
    tls_context(now)
    left = {what: at - datetime.now(UTC).timestamp() for what, at in expiries_of(config, open_pairs(config)).items()}
    words = ", ".join(f"{what} {_left_words(seconds)}" for what, seconds in left.items())
    return min(left.values()) > WARN_S, f"{words}; {', '.join(filter(None, (now.ca_file, now.cert_file)))}"


def _is_not_enrolled(config: Config) -> bool:
    """Whether the device has a claim that its first start will use, and no certificate."""
    return bool(config.enrolment.claim_file) and not Path(config.broker.cert_file).exists()


def _broker_now(config: Config) -> Broker:
    """Returns the broker with the key pair in use, which may have been renewed since the configuration was written."""
    from agent.adapters.renewer import broker_by, open_pairs

    return broker_by(config, open_pairs(config)) if config.broker.cert_file else config.broker


def _left_words(seconds: float) -> str:
    return f"expires in {seconds / DAY_S:.1f} days" if seconds > 0 else f"expired {-seconds / DAY_S:.1f} days ago"
