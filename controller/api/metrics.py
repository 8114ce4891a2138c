"""`/metrics` of the controller: its health as Prometheus text, without names of devices or models.

Decides names and labels; docs/reference/metrics.md lists them. Facts are those of `/v1/health`. Source:
https://prometheus.io/docs/practices/naming/.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import get_args

from aiohttp import web

from contract.errors import Code
from contract.messages import Phase
from controller.alerts.muting import NOTHING
from controller.api.state_key import STATE
from controller.fleet import left_out
from controller.fleet.faults import faults_of
from controller.fleet.twin import PresenceWord
from controller.health import CODES, STEPS, Facts, findings_of, nearest_expiry
from controller.reconcile.world import World
from controller.rollout.model import Status
from controller.state import State
from controller.verbs.alerts import fares_of
from controller.verbs.health import DAY_S, facts_of

FAMILIES = {
    "edgeward_controller_healthy": ("gauge", "1 while nothing is wrong, else 0."),
    "edgeward_controller_finding": ("gauge", "1 for what is wrong now, by code; 0 for what is not."),
    "edgeward_controller_pass_age_seconds": ("gauge", "Since the last good pass."),
    "edgeward_controller_broker_connected": ("gauge", "1 while all connections to the broker are up."),
    "edgeward_controller_not_published": ("gauge", "Desired documents and blobs that could not be published."),
    "edgeward_controller_free_bytes": ("gauge", "Free space in the data directory."),
    "edgeward_controller_nearest_expiry_seconds": ("gauge", "Until the first certificate or role expires."),
    "edgeward_controller_pass_seconds": ("summary", "Time that good passes took."),
    "edgeward_controller_pass_failures_total": ("counter", "Passes that failed."),
    "edgeward_controller_step_failures_total": ("counter", "Steps after a pass that failed, by step."),
    "edgeward_controller_devices": ("gauge", "Devices that have reported, by presence."),
    "edgeward_controller_device_models": ("gauge", "Models on devices, by the phase that each is in."),
    "edgeward_controller_device_faults": ("gauge", "Devices with something wrong, by code; `other` for unknown codes."),
    "edgeward_controller_device_sources": ("gauge", "Sensors and sinks of devices, by kind and state."),
    "edgeward_controller_rollouts": ("gauge", "Rollouts, by status."),
    "edgeward_controller_alerts": ("gauge", "Alerts, by state."),
    "edgeward_controller_alert_look_age_seconds": ("gauge", "Since rules of alerts were last judged."),
    "edgeward_controller_alert_rule_faults_total": ("counter", "Times that a rule of alerts could not be judged."),
    "edgeward_controller_notifications_total": ("counter", "Messages to receivers, by receiver and result."),
    "edgeward_controller_messages_dropped_total": ("counter", "Messages that were refused or dropped, by reason."),
    "edgeward_controller_parts_left_out_total": ("counter", "Parts of messages that were left out, by reason."),
    "edgeward_controller_retained_put_right_total": (
        "counter",
        "Times that other clients had retained a message over a topic.",
    ),
}
REASONS = (
    "answers_unasked", "malformed", "overflow", "parts", "retired", "throttled", "unsigned", "wrong_device",
    "wrong_name",
)  # fmt: skip
"""All names of `Inbox.counts`: a series that exists from the start, with 0, can be used in alerts."""
CODES_OF_DEVICES = frozenset(map(str, Code))
"""Any other code may be invented by a device: a series for each would grow with the fleet."""
STATES = {
    "sensor": ("starting", "running", "paused", "waiting", "ended"),
    "sink": ("starting", "running", "failing", "ended"),
}
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(request: web.Request) -> web.Response:
    """All metric families in Prometheus' text format."""
    state = request.app[STATE]
    return web.Response(body=exposition(state, facts_of(state)), headers={"Content-Type": CONTENT_TYPE})


def exposition(state: State, facts: Facts) -> bytes:
    """Every family with its samples."""
    lines = {name: [f"# HELP {name} {words}", f"# TYPE {name} {kind}"] for name, (kind, words) in FAMILIES.items()}
    for name, labels, value in _samples(state, facts):
        family = name if name in FAMILIES else name.rpartition("_")[0]
        lines[family].append(f"{name}{labels} {value:.9g}")
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
    yield "edgeward_controller_pass_seconds_sum", "", state.passes.good_s
    yield "edgeward_controller_pass_seconds_count", "", state.passes.good
    yield "edgeward_controller_pass_failures_total", "", state.passes.failures
    for step in STEPS:
        yield "edgeward_controller_step_failures_total", f'{{step="{step}"}}', state.steps.failures[step]
    yield from _of_fleet(state.world, time.time())
    yield from _of_alerts(state, time.time())
    for reason in REASONS:
        yield "edgeward_controller_messages_dropped_total", f'{{reason="{reason}"}}', state.inbox.counts[reason]
    for reason in left_out.REASONS:
        count = state.world.measured.left_out.counts[reason]
        yield "edgeward_controller_parts_left_out_total", f'{{reason="{reason}"}}', count
    yield "edgeward_controller_retained_put_right_total", "", state.foreign.count


def _of_alerts(state: State, now: float) -> Iterator[tuple[str, str, float]]:
    """Counts of alerts, and the state of receivers: their names come from the configuration, not from devices."""
    kept = state.alerts
    words = Counter(
        kept.muted.get(alert.fingerprint, NOTHING).word(alert.state) for alert in kept.records.active.values()
    )
    for word in ("pending", "firing", "silenced", "inhibited"):
        yield "edgeward_controller_alerts", f'{{state="{word}"}}', words[word]
    yield "edgeward_controller_alert_look_age_seconds", "", now - (kept.looked_at or state.started_at)
    yield "edgeward_controller_alert_rule_faults_total", "", kept.rule_faults
    for name, fare in fares_of(state).items():
        for result in ("sent", "refused", "given_up", "dropped"):
            labels = f'{{receiver="{name}",result="{result}"}}'
            yield "edgeward_controller_notifications_total", labels, getattr(fare, result)


def _of_fleet(world: World, now: float) -> Iterator[tuple[str, str, float]]:
    """Counts over all devices. Every word has its series from the start, and no word comes from a device."""
    twins = list(world.durable.twins.values())
    presence = Counter(twin.presence(now, world.silent_s) for twin in twins)
    for word in get_args(PresenceWord):
        yield "edgeward_controller_devices", f'{{presence="{word}"}}', presence[word]
    phases = Counter(state.phase for twin in twins for state in twin.reported.values())
    for phase in get_args(Phase):
        yield "edgeward_controller_device_models", f'{{phase="{phase}"}}', phases[phase]
    faults = Counter(
        code if code in CODES_OF_DEVICES else "other"
        for twin in twins
        for code in faults_of(twin, world.withdrawn, now)
    )
    for code, count in sorted(faults.items()):
        yield "edgeward_controller_device_faults", f'{{code="{code}"}}', count
    states = Counter(("sensor", each.state) for twin in twins for each in twin.sensors)
    states.update(("sink", each.state) for twin in twins for each in twin.sinks)
    for kind, words in STATES.items():
        for word in words:
            yield "edgeward_controller_device_sources", f'{{kind="{kind}",state="{word}"}}', states[kind, word]
    statuses = Counter(rollout.status for rollout in world.durable.rollouts.values())
    for status in get_args(Status):
        yield "edgeward_controller_rollouts", f'{{status="{status}"}}', statuses[status]
