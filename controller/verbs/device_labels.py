"""What people write about devices: labels, which selectors use, and a note. Each step is durable and in the audit.

Decides which labels a device may be given. A device that is refused does not affect the others. Refuses to know HTTP.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.protocol import MAX_LABELS
from controller.clock import stamp
from controller.fleet.twin import Twin, with_given_labels
from controller.fleet.unmatched import unknown_device
from controller.reconcile.world import put_twin
from controller.state import State
from controller.verbs.device_lives import MAX_DEVICES, DeviceAnswer, refused
from controller.written import Written

Changes = Mapping[str, str | None]
"""label -> value; None: the given label is removed, and the device's own label of that key is used again."""
MAX_KEY_CHARS, MAX_VALUE_CHARS = 64, 128
MAX_NOTE_CHARS = 2_000
"""The longest note: people read a page, but not a book."""
MAX_AUDIT_CHARS = 500


def label(state: State, changes: Mapping[str, Changes], *, actor: str) -> list[DeviceAnswer]:
    """Gives labels to devices, and removes some; returns the result for each. BadInput `request_invalid` for a bad
    label.
    """
    if not 0 < len(changes) <= MAX_DEVICES:
        raise BadInput(Code.REQUEST_INVALID, f"{len(changes)} devices: label 1 to {MAX_DEVICES} at once")
    for each in {tuple(sorted(asked.items(), key=str)) for asked in changes.values()}:
        _check(dict(each))
    answers, twins = [], []
    for device, asked in changes.items():
        try:
            twins.append(_labelled(state, device, asked))
            answers.append(DeviceAnswer(device=device))
        except BadInput as error:
            answers.append(refused(device, error))
    _keep(state, twins)
    for twin in twins:
        words = ", ".join(f"{key}={value}" if value is not None else f"{key}-" for key, value in _sorted(changes, twin))
        state.journal.audit(stamp(), actor, "device label", twin.device, words[:MAX_AUDIT_CHARS])
    return answers


def write_note(state: State, device: str, text: str, *, actor: str) -> Twin:
    """Replaces the note of a device; an empty text removes it. BadInput `unknown_device`, `request_invalid`."""
    if len(text) > MAX_NOTE_CHARS:
        raise BadInput(Code.REQUEST_INVALID, f"a note of {len(text)} characters: at most {MAX_NOTE_CHARS}")
    at = stamp()
    note = Written(text=text, by=actor, at=at) if text else None
    twin = replace(known_twin(state, device), note=note)
    _keep(state, [twin])
    state.journal.audit(at, actor, "device note", device, text[:MAX_AUDIT_CHARS])
    return twin


def known_twin(state: State, device: str) -> Twin:
    """Returns the twin of a device of this fleet. BadInput `unknown_device`, `device_retired`."""
    durable = state.world.durable
    if device in durable.retired:
        raise BadInput(Code.DEVICE_RETIRED, f"{device} was retired")
    twin = durable.twins.get(device)
    if twin is None:
        raise unknown_device(device, durable.twins)
    return twin


def _labelled(state: State, device: str, asked: Changes) -> Twin:
    twin = known_twin(state, device)
    given = {key: value for key, value in {**twin.given_labels, **asked}.items() if value is not None}
    if len(given) > MAX_LABELS:
        raise BadInput(Code.REQUEST_INVALID, f"{device} would have {len(given)} labels, limit {MAX_LABELS}")
    return with_given_labels(twin, given)


def _keep(state: State, twins: list[Twin]) -> None:
    """Makes twins durable, then shows them to passes: a rollout may match a device now."""
    if not twins:
        return
    state.records.save_twins(twins)
    for twin in twins:
        if twin.labels != state.world.durable.twins[twin.device].labels:
            state.world.caches.joining.add(twin.device)
        put_twin(state.world, twin)
    state.poke()


def _check(asked: Changes) -> None:
    if not asked:
        raise BadInput(Code.REQUEST_INVALID, "no label: expected KEY=VALUE to give one, KEY- to take one back")
    for key, value in asked.items():
        check_label(key, value or "")


def check_label(key: str, value: str) -> None:
    """Raises BadInput `request_invalid` for what cannot be a label."""
    plain = key.isprintable() and value.isprintable() and not set(key) & set("=, ") and not key.endswith("-")
    if not plain or not 0 < len(key) <= MAX_KEY_CHARS or len(value) > MAX_VALUE_CHARS:
        limits = f"a key has 1 to {MAX_KEY_CHARS} characters without spaces, commas and =, a value {MAX_VALUE_CHARS}"
        raise BadInput(Code.REQUEST_INVALID, f"label {key[:64]!r}={value[:64]!r}: {limits}")


def _sorted(changes: Mapping[str, Changes], twin: Twin) -> list[tuple[str, str | None]]:
    return sorted(changes[twin.device].items())
