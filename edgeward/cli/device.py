"""`edgeward device list | show | why | release | config`."""

import json
from pathlib import Path
from typing import Any

import click

from contract.errors import BadInput, Code
from contract.names import check_device_name, check_name
from edgeward.cli.model import pairs
from edgeward.cli.render import console, json_option, microseconds, print_json, ratio, size, table
from edgeward.client import Client

_CONFIG = """\
# Written by `edgeward device config {name}`. Every key: configs/agent.toml.
[device]
name = "{name}"
state_dir = "{state_dir}"

[broker]
url = "{broker_url}"

[trust]
root_file = "root.json"

"""
_SERVING = """\
[serving]
listen = "{listen}"

"""
_NO_SENSOR = """\
# Where rows come from; without a sensor the device only holds the model.
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
    """The fleet."""


@device.command(name="list")
@json_option
def list_(*, as_json: bool) -> None:
    """All devices and what they run."""
    devices = Client().device_list()
    if as_json:
        print_json(devices)
        return
    rows = [row for entry in devices for row in _rows(entry)]
    columns = ("device", "presence", "model", "desired", "phase", "stable", "accuracy", "seen", "why")
    console.print(table(f"{len(devices)} devices", columns, rows))


@device.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """One device: what it runs, what it measured, what it reported."""
    found = Client().device(name)
    if as_json:
        print_json(found)
        return
    hardware = found["hardware"] or {}
    console.print(
        f"[bold]{name}[/] {found['presence']}, {hardware.get('machine')}, agent {hardware.get('agent')}, onnxruntime "
        f"{hardware.get('onnxruntime')}, {found['rss_mb']} MB resident, {_load(found)}"
        f"received {size(found['bytes_received'])}, {size(found['bytes_s'])}/s of late",
        highlight=False,
    )
    measured = [
        (
            m["model"],
            f"v{v['release']}",
            v["inferences"],
            v["errors"],
            ratio(v["accuracy"]),
            microseconds(v["latency_us_p95"]),
        )
        for m in found["models"]
        for v in m["measured"]
    ]
    for each in found["models"]:
        if progress := (each["state"] or {}).get("progress"):
            done, total = progress["done_bytes"], progress["total_bytes"]
            console.print(f"{each['model']}: {size(done)} of {size(total)} are across", highlight=False)
    columns = ("model", "version", "inferences", "errors", "accuracy", "p95 below")
    console.print(table("measured since the controller started", columns, measured))
    console.print(table("history", ("at", "phase", "generation", "what"), [_entry(e) for e in found["history"]]))


@device.command()
@click.argument("name")
@json_option
def why(name: str, *, as_json: bool) -> None:
    """Tell in order why a device runs what it runs."""
    sentences = Client().why(name)
    print_json(sentences) if as_json else console.print("\n".join(sentences), highlight=False)


@device.command()
@click.argument("name")
@json_option
def unquarantine(name: str, *, as_json: bool) -> None:
    """Let a device be offered versions again that have failed there."""
    lifted = Client().unquarantine(name)
    print_json({"versions": lifted}) if as_json else console.print(f"{lifted} versions may be offered to {name} again")


@device.command()
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Where to write.")
@click.option(
    "--replay", metavar="MODEL=FILE", help="Feed a model with the rows of a CSV or Parquet file, ten a second."
)
@click.option("--label", default="", help="Column of the replayed file that holds the truth.")
@click.option("--serve", default="", metavar="HOST:PORT", help="Answer local programs by the Open Inference Protocol.")
@json_option
def config(name: str, out: Path, replay: str | None, label: str, serve: str, *, as_json: bool) -> None:
    """Write agent.toml and root.json for a new device called NAME."""
    check_device_name(name)
    enrolment = Client().enrolment()
    out.mkdir(parents=True, exist_ok=True)
    file = out / "agent.toml"
    if file.exists():
        raise BadInput(Code.CONFIG_INVALID, f"{file} exists: choose another --out, or remove it")
    (out / "root.json").write_text(enrolment["root"], encoding="utf-8")
    state_dir = (out / "state").resolve()
    text = _CONFIG.format(name=name, state_dir=state_dir, broker_url=enrolment["broker_url"])
    file.touch(mode=0o600)  # the broker's address may hold a password
    serving = _SERVING.format(listen=serve) if serve else ""
    file.write_text(text + serving + _sensor(replay, label), encoding="utf-8")
    if as_json:
        print_json({"config": str(file), "root": str(out / "root.json")})
    else:
        console.print(f"wrote {file} and {out / 'root.json'}; next: edgeward-agent run -c {file}", highlight=False)


def _load(found: dict[str, Any]) -> str:
    """CPU and temperature, as far as the device has told them."""
    cpu = f"{found['cpu_ratio']:.1%} of a core, " if found["cpu_ratio"] is not None else ""
    return cpu + (f"{found['temperature_c']:.0f} C, " if found["temperature_c"] is not None else "")


def _sensor(replay: str | None, label: str) -> str:
    if replay is None:
        return _NO_SENSOR
    (model, path), *_ = pairs((replay,)).items()
    return _REPLAY.format(model=check_name(model, "model"), path=Path(path).resolve(), label=label)


def _rows(entry: dict[str, Any]) -> list[tuple[Any, ...]]:
    head = (entry["device"], entry["presence"])
    seen = f"{entry['seen_s_ago']:.0f} s ago" if entry["seen_s_ago"] is not None else None
    rows = [(*head, *_model_cells(model, seen)) for model in entry["models"]]
    return rows or [(*head, None, None, None, None, None, seen, None)]


def _model_cells(model: dict[str, Any], seen: str | None) -> tuple[Any, ...]:
    state = model["state"] or {}
    stable = (state.get("stable") or {}).get("release")
    accuracy = next((m["accuracy"] for m in model["measured"] if m["release"] == stable), None)
    outcome = state.get("outcome") or {}
    why = state.get("code") or outcome.get("code") or None
    desired = model["desired_release"]
    return (
        model["model"],
        desired and f"v{desired}",
        state.get("phase"),
        stable and f"v{stable}",
        ratio(accuracy),
        seen,
        why,
    )


def _entry(entry: dict[str, Any]) -> tuple[Any, ...]:
    report = entry["report"]
    if refusal := report.get("refusal"):
        return entry["at"], "refused", None, f"{refusal['code']}: {refusal['detail']}"
    state = report["state"]
    outcome = state.get("outcome")
    words = f"v{outcome['version']['release']} {outcome['result']} {outcome['code']}" if outcome else ""
    return entry["at"], state["phase"], state["generation"], f"{state['model']} {words} {state['code']}".strip()


@device.command()
@click.argument("name")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("claim.json"), show_default=True)
def enrol(name: str, out: Path) -> None:
    """Write a claim with which the device NAME can enrol, once, within an hour."""
    if out.exists():
        raise BadInput(Code.CONFIG_INVALID, f"{out} exists: choose another --out, or remove it")
    claim = Client().claim(name)
    out.touch(mode=0o600)
    out.write_text(json.dumps(claim), encoding="utf-8")
    console.print(f"wrote {out}; on the device: edgeward-agent enrol {out.name} --out DIRECTORY", highlight=False)


@device.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Take the certificates of the device NAME away and end its session."""
    count = Client().revoke(name)
    console.print(f"revoked {count} certificates of {name}", highlight=False)
