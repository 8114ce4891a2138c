"""`edgeward device tune`: a remote configuration for devices, within what their own files allow.

Decides how it is written on a command line. Refuses to know what a device does with it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from edgeward.answers.devices import Device, RemoteConfig
from edgeward.cli.key_values import pairs
from edgeward.cli.render import json_option, size
from edgeward.cli.selection import selected, selection_options, show_answers
from edgeward.client import Client


@click.command()
@selection_options
@click.option("--heartbeat-s", type=click.IntRange(1, 86_400), help="Seconds between heartbeats.")
@click.option("--telemetry-s", type=click.IntRange(1, 86_400), help="Seconds between measurements.")
@click.option(
    "--pause", "paused", multiple=True, metavar="SENSOR", help="A name as in `device show`: serial-1; may be repeated."
)
@click.option(
    "--capture", "captured", multiple=True, metavar="MODEL=RATE", help="The fraction of rows to keep, 0 to 1."
)
@click.option("--max-connections", type=click.IntRange(1, 512), help="The most connections of local programs.")
@click.option("--max-body-bytes", type=click.IntRange(1024), help="The largest request of local programs.")
@json_option
def tune(
    names: tuple[str, ...],
    file: Path | None,
    paused: tuple[str, ...],
    captured: tuple[str, ...],
    *,
    heartbeat_s: int | None,
    telemetry_s: int | None,
    max_connections: int | None,
    max_body_bytes: int | None,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Send devices a remote configuration; settings that are not named here stay as in their own files.

    A device tries it for a minute. If its serving or its link breaks, it returns to the earlier one, which
    `device show` reports.
    """
    chosen = selected("tune", names, file, given, yes=yes)
    answers = Client().tune(
        chosen,
        heartbeat_s=heartbeat_s,
        telemetry_s=telemetry_s,
        paused_sensors=paused,
        capture={model: {"rate": rate} for model, rate in pairs(captured).items()},
        max_connections=max_connections,
        max_body_bytes=max_body_bytes,
    )
    show_answers(answers, lambda each: f"sent; edgeward device show {each.device} shows the result", as_json=as_json)


def config_words(found: Device) -> str:
    """Says in words which remote configuration a device has; empty if it never had one."""
    wanted, said = found.config, found.config_said
    if wanted is None:
        return ""
    words = ", ".join(_parts(wanted)) or "nothing beyond its own file"
    if said is None or wanted.version > max(said.confirmed, said.trial, said.refused):
        return f"{words}: sent, the device has not reported about it yet"
    if wanted.version == said.confirmed:
        return f"{words}: confirmed"
    if wanted.version == said.trial:
        return f"{words}: on trial"
    return f"{words}: taken back: {said.code}: {said.detail}"


def _parts(wanted: RemoteConfig) -> Iterator[str]:
    """Returns the settings that replace those of a device's own file, in words."""
    if wanted.heartbeat_s is not None:
        yield f"a heartbeat every {wanted.heartbeat_s} s"
    if wanted.telemetry_s is not None:
        yield f"measurements every {wanted.telemetry_s} s"
    if wanted.paused_sensors:
        yield f"paused: {' and '.join(wanted.paused_sensors)}"
    for model, rates in sorted(wanted.capture.items()):
        below = f", and all below a confidence of {rates.below_confidence}" if float(rates.below_confidence) else ""
        yield f"{float(rates.rate):.0%} of the rows of {model} kept{below}"
    if wanted.max_connections is not None:
        yield f"at most {wanted.max_connections} connections of local programs"
    if wanted.max_body_bytes is not None:
        yield f"requests of at most {size(wanted.max_body_bytes)}"
