"""`edgeward device show | why | config | enrol | revoke`; the rest: `device_list`, `device_labels`, `device_life`."""

import csv
import json
import shlex
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from contract.errors import BadInput, Code
from contract.names import check_device_name, check_name, in_file_name
from edgeward.answers.devices import Device, DeviceDetail, HistoryEntry
from edgeward.cli.device_asked import doctor, logs
from edgeward.cli.device_labels import label, note, unquarantine
from edgeward.cli.device_life import adopt, replace, retire, retired
from edgeward.cli.device_list import left, list_devices
from edgeward.cli.device_pin import pin, pin_lines, unpin
from edgeward.cli.device_tune import config_words, tune
from edgeward.cli.device_vitals import vitals
from edgeward.cli.key_values import pairs
from edgeward.cli.moments import with_local_times
from edgeward.cli.render import (
    console,
    how_right,
    json_option,
    many,
    microseconds,
    print_json,
    say,
    size,
    table,
    tell,
    when,
)
from edgeward.client import Client
from edgeward.files import PRIVATE, write_whole

NOTHING_MEASURED = "nothing measured since the controller started"
_CONFIG = """\
# Written by `edgeward device config {name}`. Every key: configs/agent.toml.
[device]
name = "{name}"
state_dir = "{state_dir}"

[broker]
url = "{broker_url}"
{certificate}
[trust]
root_file = "root.json"

"""
_CERTIFICATE = """\
ca_file = "{home}/ca.pem"
cert_file = "{home}/device.pem"
key_file = "{home}/device.key"

[enrolment]
url = "{url}"
claim_file = "claim.json"
"""
_SERVING = """\
[serving]
listen = "{listen}"

"""
MAX_NAMED_COLUMNS = 20
"""The most columns that a refusal names: it must fit on a screen."""
_NO_SENSOR = """\
# The source of rows. Without a sensor the device only holds the model.
# [[sensor]]
# kind = "stdin"
# model = "my-model"
"""
_REPLAY = """\
[[sensor]]
kind = "replay"
model = "{model}"
path = "{path}"
label = "{label}"
rate_hz = 10.0
loop = true
"""


@click.group()
def device() -> None:
    """Show and manage the devices of the fleet."""


for command in (
    list_devices, label, note, unquarantine, logs, doctor, tune, vitals, retire, replace, adopt, retired,
    pin, unpin,
):  # fmt: skip
    device.add_command(command)


@device.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show one device: what it runs, what it measured, what it reported."""
    found = Client().device(name)
    if as_json:
        print_json(found.plain)
        return
    say((name, "bold"), f" {found.presence}, {found.health}: {found.why}")
    if found.presence == "retired":
        say(f"edgeward device adopt {name} takes it in again")
        _say_history(found)
        return
    received = f"received {size(found.bytes_received)}, {size(found.bytes_s)}/s recently"
    say(f"{_machine(found)}{_load(found)}{received}")
    for words in pin_lines(found):
        say(words)
    for parts in _told(found):
        say(*parts)
    measured = [
        (
            m.model,
            f"v{v.release}",
            v.inferences,
            v.errors,
            sum(v.refused.values()),
            how_right(v),
            microseconds(v.latency_us_p95),
        )
        for m in found.models
        for v in m.measured
    ]
    for each in found.models:
        if each.state is not None and (progress := each.state.progress) is not None:
            words = f"{size(progress.done_bytes)} of {size(progress.total_bytes)} received"
            say(f"{each.model}: {words}")
    columns = ("model", "version", "inferences", "errors", "refused", "accuracy or error", "p95 below")
    console.print(table("measured since the controller started", columns, measured, empty=NOTHING_MEASURED))
    if found.sensors or found.sinks:
        console.print(table("sensors and sinks", _LIFE_COLUMNS, _lives(found)))
    for words in (*_metrics(found), *_faults(found)):
        say(words)
    _say_history(found)


def _say_history(found: DeviceDetail) -> None:
    history = [_entry(each) for each in found.history]
    console.print(table("history", ("at", "phase", "generation", "what"), history, empty="no history: no update yet"))


@device.command()
@click.argument("name")
@json_option
def why(name: str, *, as_json: bool) -> None:
    """Explain in order why a device runs what it runs."""
    sentences = Client().why(name)
    if as_json:
        print_json(list(sentences.sentences))
        return
    console.print(with_local_times(str(sentences)))


@device.command()
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to write.")
@click.option(
    "--replay",
    "replays",
    multiple=True,
    metavar="MODEL=FILE",
    help="Feed a model with the rows of a CSV or Parquet file, ten a second. May be given several times.",
)
@click.option("--label", default="", help="Column of the replayed file that holds the true label.")
@click.option("--serve", default="", metavar="HOST:PORT", help="Answer local programs by the Open Inference Protocol.")
@json_option
def config(name: str, out: Path, replays: tuple[str, ...], label: str, serve: str, *, as_json: bool) -> None:
    """Write agent.toml and root.json for a new device called NAME.

    If the broker requires certificates, a claim is added: the agent's first start within an hour uses it up.
    """
    check_device_name(name)
    sensor, serving, file = _sensors(replays, label), _serving(serve), out / "agent.toml"
    if file.exists():
        raise BadInput(Code.CONFIG_INVALID, f"{file} exists: choose another --out, or remove it")
    client, home = Client(), out.resolve()
    _check_toml(_CONFIG.format(name=name, state_dir=home, broker_url="", certificate="") + serving + sensor)
    enrolment = client.enrolment()
    claim = client.claim(name) if enrolment.needs_claim else None
    certificate = _CERTIFICATE.format(home=home, url=claim.url) if claim is not None else ""
    text = _CONFIG.format(name=name, state_dir=home / "state", broker_url=enrolment.broker_url, certificate=certificate)
    written = {"config": file, "root": out / "root.json"}
    out.mkdir(parents=True, exist_ok=True)
    write_whole(written["root"], enrolment.root)
    if claim is not None:
        written["claim"] = out / "claim.json"
        write_whole(written["claim"], json.dumps(claim.plain), mode=PRIVATE)
    write_whole(file, text + serving + sensor, mode=PRIVATE)  # the address may hold a password
    if as_json:
        print_json({what: str(path) for what, path in written.items()})
        return
    files = ", ".join(str(path) for path in written.values())
    used = " within an hour" if claim is not None else ""
    tell(f"wrote {files}; next{used}: {shlex.join(('edgeward-agent', 'run', '-c', str(file)))}")


def _told(found: Device) -> Iterator[tuple[str | tuple[str, str], ...]]:
    """Yields what is wrong with it, its labels, configuration and note, and what expires, as parts of `say`."""
    for fault in found.faults:
        yield (fault.code, "red"), f": {fault.detail}"
    if found.labels:
        given = found.given_labels
        shown = (f"{key}={value}{' (given)' if key in given else ''}" for key, value in sorted(found.labels.items()))
        yield (f"labels: {', '.join(shown)}",)
    for model in found.models:
        if model.state is not None and (probe := model.state.golden) is not None:
            how = "passed" if probe.passed else (f"failed: {probe.missed} rows beyond tolerance", "red")
            at = when(datetime.fromtimestamp(probe.at, UTC))
            yield f"{model.model}: golden probe of {at}, {probe.rows} rows: ", how
    if words := config_words(found):
        yield (f"remote configuration: {words}",)
    if found.note is not None:
        yield (f"note: {found.note.text} ({found.note.by}, {when(found.note.at)})",)
    if found.expiries:
        ends = ", ".join(left(what, at) for what, at in sorted(found.expiries.items(), key=lambda item: item[1]))
        yield (f"expires: {ends}",)


def _machine(found: Device) -> str:
    """Returns the machine and the program versions as text; empty if the device has not reported them."""
    told = found.hardware
    return f"{told.machine}, agent {told.agent}, onnxruntime {told.onnxruntime}, " if told is not None else ""


def _faults(found: Device) -> Iterator[str]:
    """Yields failures and refusals, by version and code, with the newest words about each."""
    for model in found.models:
        for each in model.measured:
            counts = dict(sorted(each.refused.items()))
            for code, words in sorted({**dict.fromkeys(counts, ""), **each.faults}.items()):
                times = f", {'once' if counts[code] == 1 else f'{counts[code]} times'}" if code in counts else ""
                yield f"{model.model} v{each.release}: {code}{times}{f': {words}' if words else ''}"
            if each.labels_unusable:
                yield f"{model.model} v{each.release}: {each.labels_unusable} labels were none"
            if each.labels_unknown:
                words = f"{each.labels_unknown} labels of no known class, counted neither way"
                yield f"{model.model} v{each.release}: {words}"


def _metrics(found: Device) -> Iterator[str]:
    """Yields the numbers that the application measures, by version and name."""
    for model in found.models:
        for each in model.measured:
            for name, metric in each.metrics.items():
                words = f"{metric.mean:.6g} on average of {metric.count}, +- {metric.deviation:.3g}"
                yield f"{model.model} v{each.release}: {name} {words}"


_LIFE_COLUMNS = ("name", "model", "state", "rows", "done", "refused", "newest", "error")


def _lives(found: Device) -> list[tuple[object, ...]]:
    """Yields a row for each sensor and each sink: rows that arrived, were answered or delivered, and failed."""
    rows: list[tuple[object, ...]] = [
        (each.name, each.model, each.state, each.rows, each.answered, each.refused, _ago(each.row_age_s), each.error)
        for each in found.sensors
    ]
    rows += [
        (f"sink {each.name}", "", each.state, each.delivered + each.undelivered, each.delivered, each.undelivered,
         _ago(each.delivered_age_s), each.error)
        for each in found.sinks
    ]  # fmt: skip
    return rows


def _ago(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s before"


def _load(found: Device) -> str:
    """Returns memory, CPU load and temperature as text; empty if the device has not reported them."""
    memory = f"{found.rss_mb:.0f} MB resident, " if found.rss_mb is not None else ""
    cpu = f"{found.cpu_ratio:.1%} of a core, " if found.cpu_ratio is not None else ""
    return memory + cpu + (f"{found.temperature_c:.0f} C, " if found.temperature_c is not None else "")


def _sensors(replays: tuple[str, ...], label: str) -> str:
    """Returns a table [[sensor]] for each replayed file. BadInput `request_invalid` for a file or a label that is
    not there, and for two files of one model.
    """
    files = pairs(replays, "MODEL=FILE")
    if len(files) < len(replays):
        raise BadInput(Code.REQUEST_INVALID, "--replay: name each model once")
    for model, path in files.items():
        _check_rows(Path(path), label, f"--replay {model}={path}")
    tables = [
        _REPLAY.format(model=check_name(model, "model"), path=Path(path).resolve(), label=label)
        for model, path in files.items()
    ]
    return "\n".join(tables) or _NO_SENSOR


def _check_rows(file: Path, label: str, option: str) -> None:
    if not file.is_file():
        raise BadInput(Code.REQUEST_INVALID, f"{option}: there is no file {file}")
    if label and file.suffix == ".csv":
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            columns = next(csv.reader(lines), [])
        if label not in columns:
            words = f"--label {label}: {file} has no such column, but {', '.join(columns[:MAX_NAMED_COLUMNS])}"
            raise BadInput(Code.REQUEST_INVALID, words)


def _serving(serve: str) -> str:
    """Returns the table [serving]. BadInput `request_invalid` for an address that is not this device's own."""
    if not serve:
        return ""
    host, _, port = serve.rpartition(":")
    local = host in ("127.0.0.1", "localhost", "[::1]") and port.isdigit() and 0 < int(port) < 65_536
    if not local and not serve.startswith("unix:/"):
        words = "expected 127.0.0.1:PORT or unix:/PATH: requests are not authenticated, so they must be local"
        raise BadInput(Code.REQUEST_INVALID, f"--serve {serve}: {words}")
    return _SERVING.format(listen=serve)


def _check_toml(text: str) -> None:
    """BadInput `request_invalid` if an argument holds a quotation mark or a line end that breaks the file."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        words = f"a path or a label cannot stand in agent.toml: {error}"
        raise BadInput(Code.REQUEST_INVALID, words) from None


def _entry(entry: HistoryEntry) -> tuple[object, ...]:
    state, refusal = entry.report.state, entry.report.refusal
    if refusal is not None:
        return when(entry.at), "refused", None, f"{refusal.code}: {refusal.detail}"
    if state is None:
        return when(entry.at), None, None, None
    outcome = state.outcome
    words = (
        f"v{outcome.version.release} {outcome.result} {outcome.code} {outcome.detail}" if outcome is not None else ""
    )
    return when(entry.at), state.phase, state.generation, f"{state.model} {words} {state.code}".strip()


@device.command()
@click.argument("name")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("claim.json"), show_default=True)
@json_option
def enrol(name: str, out: Path, *, as_json: bool) -> None:
    """Write a claim for the device NAME. With it the device can enrol once, within an hour."""
    if out.exists():
        raise BadInput(Code.CONFIG_INVALID, f"{out} exists: choose another --out, or remove it")
    claim = Client().claim(name)
    write_whole(out, json.dumps(claim.plain), mode=PRIVATE)
    if as_json:
        print_json({"claim": str(out)})
        return
    then = shlex.join(["edgeward-agent", "enrol", out.name, "--out", in_file_name(name)])
    tell(f"wrote {out}; on the device: {then}")


@device.command()
@click.argument("name")
@json_option
def revoke(name: str, *, as_json: bool) -> None:
    """Revoke the certificates of the device NAME and end its session."""
    count = Client().revoke(name)
    words = f"revoked {many(count, 'certificate')} of {name}"
    print_json({"certificates": count}) if as_json else console.print(words)
