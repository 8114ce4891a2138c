"""Prints each step of `edgeward demo` as it happens, then a table. Exit code 1 if a step did not end as expected."""

import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from edgeward.cli.render import console, json_option, print_json, ratio, size, table, tell
from edgeward.demo.hanging import Tell, print_hanging
from edgeward.demo.loop.command import loop
from edgeward.demo.processes import Site
from edgeward.demo.story import DEVICES, Story


@click.group(invoke_without_command=True)
@click.option("--keep", is_flag=True, help="Leave controller and devices running at the end.")
@click.option("--broker", default="auto", show_default=True, help="auto, mosquitto, embedded, or mqtt://host:port.")
@json_option
@click.pass_context
def demo(context: click.Context, broker: str, *, keep: bool, as_json: bool) -> None:
    """All steps in 90 seconds: real weather, a real broker, five real devices, three versions of a model.

    `edgeward demo loop` is the second demo: a fleet that recovers from drift without a person.
    """
    if context.invoked_subcommand is not None:
        return
    began = time.monotonic()
    site = Site(Path(tempfile.mkdtemp(prefix="edgeward-demo-")), broker=broker)

    def tell(words: str, *, bold: bool = False) -> None:
        if not as_json:
            print_hanging(f"{time.monotonic() - began:5.1f} s  ", words, bold=bold)

    try:
        story = _tell_story(site, tell)
        summary = _summary(story, time.monotonic() - began)
        print_json(summary) if as_json else _print(story, summary)
        if keep:
            _explain_keep(site)
            site.controller = None
            site.agents.clear()
    finally:
        site.stop()
        if not keep:
            shutil.rmtree(site.directory, ignore_errors=True)
    sys.exit(0 if summary["as_it_must"] else 1)


demo.add_command(loop)


def _tell_story(site: Site, tell: Tell) -> Story:
    tell("starting the controller and its broker")
    client = site.start_controller()
    tell(f"{client.health().broker}")
    roles = len(client.trust().roles)
    tell(f"generated keys for {roles} roles, all on this machine: fine for a demo (docs/guides/go-to-production.md)")
    for number in range(1, DEVICES + 1):
        site.start_agent(number)
    story = Story(site, client, tell)
    story.wait_for_devices()
    tell(f"{DEVICES} devices are online, each replaying {site.rate_hz:.0f} rows of weather a second")
    for heading, chapter in (
        ("v1 to every device", story.install_first),
        ("v2, a better one: canary, then the fleet", story.improve),
        ("v3, a bad one that parity cannot see: canary", story.refuse),
    ):
        tell(heading, bold=True)
        chapter()
    time.sleep(1.5)  # the last telemetry must arrive first
    return story


def _summary(story: Story, took_s: float) -> dict[str, Any]:
    devices = story.client.devices()
    v2, v3 = story.chapters[1], story.chapters[2]
    on_v2, on_v3, failed = story.running(v2.release), story.running(v3.release), story.failed_inferences()
    return {
        "took_s": round(took_s, 1),
        "versions": [vars(chapter) for chapter in story.chapters],
        "devices_on_v2": len(on_v2),
        "devices_on_v3": len(on_v3),
        "inferences": story.inferences(),
        "failed_inferences": failed,
        "bytes_to_devices": sum(entry.bytes_received for entry in devices),
        "bytes_from_devices": sum(entry.bytes_sent for entry in devices),
        "swap_stall_ms_max": max(entry.swap_stall_ms_max or 0.0 for entry in devices),
        "killed_and_back": story.killed,
        "as_it_must": len(on_v2) == DEVICES and not on_v3 and not failed and v3.status == "rolled_back",
    }


def _print(story: Story, summary: dict[str, Any]) -> None:
    rows = []
    for chapter in story.chapters:
        now_on = len(story.running(chapter.release))
        before, after = ratio(chapter.accuracy_before), ratio(chapter.accuracy_after)
        rows.append(
            (f"v{chapter.release}", chapter.title, size(chapter.size_bytes), chapter.status, now_on, before, after)
        )
    columns = ("version", "what it is", "size", "rollout", "devices", "before", "accuracy")
    console.print()
    console.print(table("results", columns, rows))
    failed = (f"{summary['failed_inferences']} failed", "bold")
    rest = (
        f"; longest inference during a swap {summary['swap_stall_ms_max']:.1f} ms\n"
        f"{size(summary['bytes_to_devices'])} sent to devices, {size(summary['bytes_from_devices'])} back\n"
        f"{summary['killed_and_back']} was killed during its update and recovered; {summary['took_s']} s"
    )
    console.print(Text.assemble(f"\n{summary['inferences']} inferences, ", failed, rest), soft_wrap=True)


def _explain_keep(site: Site) -> None:
    tell(
        f"\nstill running: export EDGEWARD_DATA_DIR={shlex.quote(str(site.data_dir))}\n"
        f"then: edgeward device list; stop it with: pkill -f {shlex.quote(str(site.directory))}",
    )
