"""What has changed in the last hours, in sentences: actions of people and of the controller, and what devices rolled
back.

Decides which entries of the audit a person wants to read first, and in which words. Refuses to know how they are shown.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from contract.errors import BadInput
from contract.messages import Report
from contract.wire import Message
from controller.fleet.device_health import NO_FAULT
from controller.registry.journal import AuditFilter
from controller.state import State
from controller.verbs.audit import CONTROLLER

MAX_CHANGES = 200
MAX_ENTRIES = 2_000
"""The newest entries of the audit, and reports of devices, that are read for one answer."""
MAX_HOURS = 24 * 31

Look = Literal["good", "busy", "warn", "bad", "ask", "off"]

_SAID: dict[str, tuple[Look, str]] = {
    "push": ("off", "{who} pushed {what}: {detail}"),
    "push again": ("off", "{who} pushed {what} again"),
    "rollout start": ("busy", "{who} started {what}: {detail}"),
    "rollout propose": ("ask", "{who} proposed {what}: {detail}"),
    "rollout approve": ("good", "{who} approved {what}"),
    "rollout pause": ("warn", "{who} paused {what}: {detail}"),
    "rollout resume": ("busy", "{who} let {what} go on"),
    "rollout promote": ("busy", "{who} ended the wave of {what}"),
    "rollout wave": ("busy", "{what}: {detail}"),
    "rollout stop": ("bad", "{what}: {detail}"),
    "rollout abort": ("bad", "{who} stopped {what}: {detail}"),
    "rollout aborted": ("bad", "{what} was stopped: {detail}"),
    "rollout rollback": ("bad", "{who} rolls {what} back: {detail}"),
    "rollout rolled back": ("bad", "{what} was rolled back: {detail}"),
    "rollout completed": ("good", "{what} was completed: {detail}"),
    "device enrolled": ("good", "{what} enrolled"),
    "device claim": ("off", "{who} made a claim for {what}"),
    "device claim refused": ("warn", "{who} was refused a claim for {what}: {detail}"),
    "device adopt refused": ("warn", "{who} was refused a claim for {what}: {detail}"),
    "device revoke": ("bad", "{who} revoked {what}"),
    "device retire": ("off", "{who} retired {what}"),
    "device quarantine": ("warn", "{what} is not offered {detail}"),
    "device unquarantine": ("good", "{who} lifted the quarantine of {what}"),
    "deployment set": ("off", "{who} set the policy of {what}: {detail}"),
    "deployment remove": ("off", "{who} removed the policy of {what}"),
    "deployment refused": ("bad", "the policy of {what} could not start a rollout of {detail}"),
    "version withdraw": ("bad", "{who} withdrew {what}: {detail}"),
    "version reinstate": ("good", "{who} reinstated {what}"),
    "gate waive": ("warn", "{who} waived a gate of {what}: {detail}"),
    "token create": ("off", "{who} made the token {what}"),
    "token revoke": ("warn", "{who} revoked the token {what}"),
    "audit broken": ("bad", "the audit is broken: {detail}"),
    "controller start": ("off", "the controller started: {detail}"),
    "restored": ("warn", "the controller was restored from a backup of {what}"),
    "refused": ("warn", "{who} was refused: {detail}"),
    "enrol refused": ("warn", "an enrolment was refused: {detail}"),
}
_DULL = ("trust publish", "trust sign", "certificates renewed", "certificate renewed")
"""Daily actions of the controller, which are only in the audit."""


class Change(Message, frozen=True):
    """One change, as a sentence."""

    at: str
    look: Look
    text: str
    actor: str
    """Empty for actions of devices."""
    kind: str
    """The subject's kind: rollout | device | model | audit."""
    subject: str
    """Its id or name."""


def recent_changes(state: State, hours: float, now: datetime | None = None) -> list[Change]:
    """Returns the newest changes of so many hours, newest first."""
    since = ((now or datetime.now(UTC)) - timedelta(hours=min(hours, MAX_HOURS))).replace(microsecond=0).isoformat()
    entries = state.journal.audit_entries(MAX_ENTRIES, wanted=AuditFilter(since=since))
    told = [change for entry in entries if (change := change_of(entry)) is not None]
    undone = undone_by_devices(state.journal.newest_history(MAX_ENTRIES, since))
    return sorted([*_joined(told), *undone], key=lambda each: each.at, reverse=True)[:MAX_CHANGES]


def change_of(entry: dict[str, str]) -> Change | None:
    """Returns the sentence of an entry of the audit; None if it is not shown."""
    action, subject = entry["action"], entry["subject"]
    if action in _DULL:
        return None
    look, words = _SAID.get(action, ("off", "{who}: {action} {what}: {detail}"))
    who = "the controller" if entry["actor"] == CONTROLLER else entry["actor"].removeprefix("local:")
    text = words.format(who=who, what=subject, detail=entry["detail"], action=action).rstrip(": ")
    kind, name = _about(action, subject)
    return Change(entry["at"], look, text, entry["actor"], kind, name)


def undone_by_devices(history: Iterable[tuple[str, str, str]]) -> list[Change]:
    """Returns from (at, device, report) what devices rolled back or rejected by themselves: one sentence per version
    and result.
    """
    found: dict[tuple[str, int, str], dict[str, tuple[str, str]]] = {}
    for at, device, body in history:
        try:
            state = msgspec.json.decode(body, type=Report).state
        except (msgspec.MsgspecError, BadInput):
            continue
        ended = state.outcome if state is not None else None
        if state is None or ended is None or state.phase != "steady" or ended.result not in ("rolled_back", "rejected"):
            continue
        if ended.code and ended.code in NO_FAULT:
            continue  # another version was requested: this was not an action of the device itself
        found.setdefault((state.model, ended.version.release, ended.result), {}).setdefault(device, (at, ended.code))
    return [_undone(*key, devices) for key, devices in found.items()]


def _undone(model: str, release: int, result: str, devices: dict[str, tuple[str, str]]) -> Change:
    device, (at, code) = max(devices.items(), key=lambda item: item[1][0])
    version, reason = f"{model} v{release}", f": {code}" if code else ""
    verb = f"rolled {version} back by itself" if result == "rolled_back" else f"rejected {version}"
    if len(devices) > 1:
        verb = verb.replace("itself", "themselves")
        return Change(at, "bad", f"{len(devices)} devices {verb}, {device} last{reason}", "", "device", device)
    return Change(at, "bad", f"{device} {verb}{reason}", "", "device", device)


def _joined(changes: Iterable[Change]) -> list[Change]:
    """Joins devices that enrolled one after another into one sentence."""
    joined: list[Change] = []
    run: list[Change] = []
    for change in [*changes, None]:
        if change is not None and change.text.endswith(" enrolled"):
            run.append(change)
            continue
        if len(run) > 1:
            joined.append(msgspec.structs.replace(run[0], text=f"{len(run)} devices enrolled, {run[0].subject} last"))
        else:
            joined.extend(run)
        run = []
        if change is not None:
            joined.append(change)
    return joined


def _about(action: str, subject: str) -> tuple[str, str]:
    first = action.partition(" ")[0]
    if first == "rollout":
        return "rollout", subject
    if first in ("device", "enrol") and " " not in subject:
        return "device", subject
    if first in ("push", "version", "gate", "gates", "alias", "deployment", "rows"):
        return "model", subject.partition(" ")[0]
    return "audit", ""
