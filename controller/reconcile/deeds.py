"""The actions of a pass on rollouts and devices, in words for the audit, each with its cause.

Decides which actions get an entry, and how many entries one pass can cause. Refuses to know how they are read.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from contract.messages import UpdateOutcome
from controller.rollout.endings import Ending, named
from controller.rollout.model import Rollout, Status
from controller.rollout.words import devices_of

MAX_QUARANTINED_NAMED = 20
"""The most devices of one rollout for which one pass makes an entry each. A bad release in a large wave is one fault,
and the audit keeps every entry. Further devices are counted; `device why` and the rollout itself name each."""


class Deed(msgspec.Struct, frozen=True):
    """One entry for the audit: the action, its subject, and its reason."""

    action: str
    subject: str
    detail: str = ""


_ACTIONS: Mapping[Status, str] = {
    "paused": "rollout pause",
    "aborting": "rollout abort",
    "rolling_back": "rollout rollback",
    "completed": "rollout completed",
    "aborted": "rollout aborted",
    "rolled_back": "rollout rolled back",
}
"""An action that a person may take has the same name here."""


def deeds_of(before: Rollout, after: Rollout, endings: Mapping[str, Ending]) -> list[Deed]:
    """Returns what has happened to a rollout between two passes; nothing for internal bookkeeping."""
    found: list[Deed] = []
    if after.status != before.status:
        found.append(Deed(_ACTIONS[after.status], after.id, _cause(after, endings)))
    elif after.wave != before.wave:
        found.append(Deed("rollout wave", after.id, f"wave {after.wave + 1} of {after.final_wave + 1} begins"))
    stopped = [f"kind {each}" for each in after.stopped_strata[len(before.stopped_strata) :]]
    stopped += [f"wave {each + 1}" for each in after.stopped_waves[len(before.stopped_waves) :]]
    return [*found, *(Deed("rollout stop", after.id, f"devices of {each} go back: {after.reason}") for each in stopped)]


def joined(before: Rollout, after: Rollout) -> list[Deed]:
    """Returns an entry for devices that have joined a rollout late."""
    devices = [member.device for member in after.members[len(before.members) :]]
    return [Deed("rollout join", after.id, f"{devices_of(len(devices))}: {named(devices)}")] if devices else []


def quarantines(rollout: Rollout, devices: Iterable[str], endings: Mapping[str, Ending]) -> list[Deed]:
    """Returns an entry for devices that must not get the release any more."""
    what = f"{rollout.model} v{rollout.release} failed there in {rollout.id}"
    ordered = sorted(devices)
    found = [
        Deed("device quarantine", device, f"{what}: {endings[device].label}" if device in endings else what)
        for device in ordered[:MAX_QUARANTINED_NAMED]
    ]
    if rest := ordered[MAX_QUARANTINED_NAMED:]:
        found.append(Deed("device quarantine", f"{len(rest)} more devices", f"{what}: {named(rest)}"))
    return found


def failed_late(device: str, model: str, ended: UpdateOutcome) -> Deed:
    """Returns an entry for a device that must not get a release any more, although no open rollout has asked it to
    run that.
    """
    why = f"{ended.code} {ended.detail}".strip()
    return Deed("device quarantine", device, f"{model} v{ended.version.release} failed there{why and f': {why}'}")


def _cause(rollout: Rollout, endings: Mapping[str, Ending]) -> str:
    what = f"{rollout.model} v{rollout.release}"
    match rollout.status:
        case "completed":
            return f"{what}: {_counts([endings[each.device] for each in rollout.members if each.device in endings])}"
        case _:
            return f"{what}: {rollout.reason}" if rollout.reason else what


def _counts(endings: Sequence[Ending]) -> str:
    have = sum(each.outcome == "succeeded" for each in endings)
    return f"{have} of {len(endings)} devices have it"
