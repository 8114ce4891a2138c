"""`/metrics` of the controller: its health as Prometheus text, without names of devices or models.

Decides names and labels; docs/reference/metrics.md lists them. Open as `/v1/health` is, with the same facts. Source:
https://prometheus.io/docs/practices/naming/.
"""

from collections.abc import Iterator

from aiohttp import web

from controller.api.state_key import STATE
from controller.health import CODES, Facts, findings_of, nearest_expiry
from controller.state import State
from controller.verbs.health import DAY_S, facts_of

FAMILIES = {
    "edgeward_controller_healthy": ("gauge", "1 while nothing is wrong, else 0."),
    "edgeward_controller_finding": ("gauge", "1 for what is wrong now, by code; 0 for what is not."),
    "edgeward_controller_pass_age_seconds": ("gauge", "Since the last good pass."),
    "edgeward_controller_broker_connected": ("gauge", "1 while all connections to the broker are up."),
    "edgeward_controller_not_published": ("gauge", "Desired documents and blobs that could not be published."),
    "edgeward_controller_free_bytes": ("gauge", "Free space in the data directory."),
    "edgeward_controller_nearest_expiry_seconds": ("gauge", "Until the first certificate or role expires."),
    "edgeward_controller_devices": ("gauge", "Devices that have reported."),
    "edgeward_controller_messages_dropped_total": ("counter", "Messages that were refused or dropped, by reason."),
    "edgeward_controller_retained_put_right_total": ("counter", "Times that others had retained over a topic."),
}
REASONS = ("malformed", "overflow", "parts", "retired", "throttled", "unsigned", "wrong_device", "wrong_name")
"""All of `Inbox.counts`: a series that is there from the start, with 0, can be alarmed on."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(request: web.Request) -> web.Response:
    """All metric families in Prometheus' text format."""
    state = request.app[STATE]
    return web.Response(body=exposition(state, facts_of(state)), headers={"Content-Type": CONTENT_TYPE})


def exposition(state: State, facts: Facts) -> bytes:
    """Every family with its samples."""
    lines = {name: [f"# HELP {name} {words}", f"# TYPE {name} {kind}"] for name, (kind, words) in FAMILIES.items()}
    for name, labels, value in _samples(state, facts):
        lines[name].append(f"{name}{labels} {value:.9g}")
    return "".join(f"{line}\n" for family in lines.values() for line in family).encode()


def _samples(state: State, facts: Facts) -> Iterator[tuple[str, str, float]]:
    found = {each.code for each in findings_of(facts)}
    yield "edgeward_controller_healthy", "", not found
    for code in CODES:
        yield "edgeward_controller_finding", f'{{code="{code}"}}', code in found
    yield "edgeward_controller_pass_age_seconds", "", facts.pass_age_s
    yield "edgeward_controller_broker_connected", "", facts.broker_connected
    yield "edgeward_controller_not_published", "", len(facts.skipped)
    yield "edgeward_controller_free_bytes", "", facts.free_bytes
    yield "edgeward_controller_nearest_expiry_seconds", "", nearest_expiry(facts)[1] * DAY_S
    yield "edgeward_controller_devices", "", len(state.world.durable.twins)
    for reason in REASONS:
        yield "edgeward_controller_messages_dropped_total", f'{{reason="{reason}"}}', state.inbox.counts[reason]
    yield "edgeward_controller_retained_put_right_total", "", state.foreign.count
