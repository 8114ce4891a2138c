"""Deletes captured rows everywhere: here, in data sets, on devices; and names the models that were trained on them.

Decides the order: the request is durable first, then rows are deleted here, then devices are ordered by their signed
documents, and the request is done when the last of them has reported it. Each step may be repeated. Refuses to know
HTTP.
"""

import asyncio
import logging
import secrets
import time

import msgspec
from msgspec.structs import replace

from contract.erasure import Erasure
from contract.errors import BadInput, Code, EdgewardError
from controller.clock import stamp
from controller.reconcile.world import put_twin
from controller.registry.data_sets import Chosen, DataSet
from controller.registry.erasures import PENDING, Request, Trained
from controller.registry.version import Version
from controller.state import State
from controller.verbs.audit import CONTROLLER

_log = logging.getLogger("edgeward.erasures")
MAX_REASON_CHARS = 500
ROWS_AT_ONCE = 5_000
"""Captured rows that are deleted before other requests are answered: 50 ms."""


class ErasureWanted(msgspec.Struct, frozen=True):
    """Which rows to delete, and why."""

    reason: str
    model: str = ""
    keys: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    since: int = 0
    before: int = 0


async def request(state: State, wanted: ErasureWanted, *, actor: str) -> Request:
    """Deletes rows here, orders every affected device to do the same, and names the models trained on them.

    Files are read and written in a thread, so that the controller answers other requests at the same time.

    BadInput `request_invalid` for a request for all rows, or without a reason; `unknown_device`.
    """
    made = Request(
        order=_order(wanted),
        by=actor,
        reason=wanted.reason[:MAX_REASON_CHARS],
        asked_at=time.time(),
        only_devices=wanted.devices,
        devices=dict.fromkeys(_concerned(state, wanted), PENDING),
    )
    state.erasures.save(made)
    state.open_erasures = True
    made = await _perform(state, made)
    state.journal.audit(stamp(), actor, "rows delete", made.order.id, _words(made))
    state.poke()
    return made


def _order(wanted: ErasureWanted) -> Erasure:
    if not wanted.reason.strip():
        raise BadInput(Code.REQUEST_INVALID, "say why the rows are deleted: the audit keeps it")
    if not any((wanted.keys, wanted.answers, wanted.devices, wanted.since, wanted.before)):
        words = "this would delete every row: name keys, answers, devices, or a time (--since, --before)"
        raise BadInput(Code.REQUEST_INVALID, words)
    try:
        plain = {
            "id": f"del-{secrets.token_hex(4)}", "model": wanted.model, "keys": wanted.keys, "answers": wanted.answers,
            "since": wanted.since, "before": wanted.before,
        }  # fmt: skip
        return msgspec.convert(plain, Erasure)
    except msgspec.ValidationError as error:
        raise BadInput(Code.REQUEST_INVALID, f"{error}; delete in several requests") from None


def _concerned(state: State, wanted: ErasureWanted) -> list[str]:
    known = state.world.durable.twins
    if strange := [each for each in wanted.devices if each not in known and each not in state.world.durable.retired]:
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {strange[0][:64]!r}; `edgeward device list` shows all")
    return [device for device in known if not wanted.devices or device in wanted.devices]


async def _perform(state: State, made: Request) -> Request:
    """Deletes rows here and orders devices to do so. One after the other: two changes of one file would undo each
    other.
    """
    state.erasing.add(made.order.id)
    state.captures.refused = state.erasures.in_force(time.time())
    async with state.erasing_turn:
        made = await _erased_here(state, made)
    made = replace(made, trained=_trained_on(state, made))
    state.erasures.save(made)
    state.erasing.discard(made.order.id)
    _tell_devices(state, made)
    return made


async def _erased_here(state: State, made: Request) -> Request:
    """Returns the request once its rows are in no file of the controller. Each finished step is durable."""
    devices = frozenset(made.only_devices) or None
    numbers = await asyncio.to_thread(state.captures.concerned, made.order, devices)
    chosen = Chosen(made.order, devices, frozenset(numbers))
    for each in state.data_sets.all():
        try:
            left = await asyncio.to_thread(state.data_sets.without, each, chosen) if each.sha256 else None
        except BadInput as error:  # what cannot be read may hold these rows, so all of it is deleted
            made = _without_unreadable(state, made, each, error)
            continue
        if left is not None:
            lost = left.erased_rows - each.erased_rows
            made = replace(made, data_sets=made.data_sets | {each.reference: lost})
            state.erasures.save(made)  # first: after a kill, nobody can count the rows that are gone
            state.data_sets.put_left(left, at=stamp(), why=f"deletion {made.order.id}: no row was left")
    for first in range(0, len(numbers), ROWS_AT_ONCE):
        state.captures.erase(numbers[first : first + ROWS_AT_ONCE])
        await asyncio.sleep(0)
    state.captures.erase_waiting(made.order, devices)
    return replace(made, captured_rows=made.captured_rows + len(numbers))


def _without_unreadable(state: State, made: Request, unreadable: DataSet, error: BadInput) -> Request:
    """Deletes a version whose file cannot be read; returns the request with its rows."""
    if not state.data_sets.find(unreadable.reference).sha256:
        return made  # it was deleted while it was read
    made = replace(made, data_sets=made.data_sets | {unreadable.reference: unreadable.rows})
    state.erasures.save(made)
    state.data_sets.delete(unreadable, at=stamp(), why=f"deletion {made.order.id}: {error.detail}")
    return made


def _tell_devices(state: State, made: Request) -> None:
    for device in made.waiting:
        twin = state.world.durable.twins[device]
        if made.order not in twin.erasures:
            put_twin(state.world, replace(twin, erasures=(*twin.erasures, made.order)))
    state.records.save(state.world.durable, made.waiting, (), ())
    state.world.caches.reordered |= set(made.waiting)


def _trained_on(state: State, made: Request) -> tuple[Trained, ...]:
    """Versions whose lineage names a data set that has lost rows."""
    found: list[Trained] = []
    for model in state.registry.models():
        for version in state.registry.versions(model):
            used = sorted(set(version.lineage.data_sets) & made.data_sets.keys())
            found += [Trained(model, version.release, name, version.lineage.run) for name in used]
    return tuple(found)


def note_version(state: State, version: Version) -> None:
    """Adds a version that was pushed after deletions to those that it was trained before them: it names a data set
    that has lost rows, and it is unknown whether it was read before.
    """
    for each in state.erasures.all() if version.lineage.data_sets else ():
        used = sorted(set(version.lineage.data_sets) & each.data_sets.keys())
        found = [Trained(version.model, version.release, name, version.lineage.run) for name in used]
        if new := [trained for trained in found if trained not in each.trained]:
            state.erasures.save(replace(each, trained=(*each.trained, *new)))
            words = f"{version.model} v{version.release} names {', '.join(used)}, which has lost rows"
            state.journal.audit(stamp(), CONTROLLER, "rows deleted", each.order.id, words)


async def resume(state: State) -> None:
    """Continues requests that were open when the controller ended. A request that fails stays open, and the controller
    starts.
    """
    for each in state.erasures.all():
        if not each.done_at:
            known = {device: rows for device, rows in each.devices.items() if device in state.world.durable.twins}
            try:
                await _perform(state, replace(each, devices=known))
            except EdgewardError as error:
                _log.error("deletion %s could not go on: %s: %s", each.order.id, error.code, error.detail)
    state.captures.refused = state.erasures.in_force(time.time())
    state.open_erasures = any(not each.done_at for each in state.erasures.all())


def follow(state: State) -> None:
    """Takes over the devices' reports about open requests, and ends those that all have answered."""
    if not state.open_erasures:
        return
    still_open = False
    for each in state.erasures.all():
        if each.done_at or each.order.id in state.erasing:
            still_open |= not each.done_at
            continue
        now_known = _answered(state, each)
        if not now_known.waiting:
            now_known = replace(now_known, done_at=time.time())
            took_s = now_known.done_at - now_known.asked_at
            words = f"done after {took_s:.1f} s: {_words(now_known)}"
            state.journal.audit(stamp(), CONTROLLER, "rows deleted", each.order.id, words)
        if now_known != each:
            state.erasures.save(now_known)
            state.captures.refused = state.erasures.in_force(time.time())
        still_open |= not now_known.done_at
    state.open_erasures = still_open


def _answered(state: State, made: Request) -> Request:
    """Returns the request with the devices' reports since. It does not wait for a device that has left the fleet."""
    devices, changed = dict(made.devices), []
    for device in made.waiting:
        twin = state.world.durable.twins.get(device)
        if twin is None:
            del devices[device]
        elif made.order.id in twin.erased:
            devices[device] = twin.erased[made.order.id]
            left = tuple(each for each in twin.erasures if each.id != made.order.id)
            put_twin(state.world, replace(twin, erasures=left))
            changed.append(device)
    if changed:
        state.records.save(state.world.durable, changed, (), ())
        state.world.caches.reordered |= set(changed)
    return replace(made, devices=devices) if devices != made.devices else made


def _words(made: Request) -> str:
    on_devices = sum(rows for rows in made.devices.values() if rows > 0)
    models = sorted({f"{each.model} v{each.release}" for each in made.trained})
    named = ", ".join(models) or "no model"
    return (
        f"{made.captured_rows} captured rows, {sum(made.data_sets.values())} in {len(made.data_sets)} data sets, "
        f"{on_devices} on {len(made.devices)} devices; trained on them: {named}; {made.reason}"
    )[:2_000]
