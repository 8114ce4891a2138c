"""What an operator can do with pins: hold a model on devices at one release, and end that.

Decides whether a device may be held there, and that a device on another release is brought to it or refused with the
reason. A device that is refused does not affect the others. Refuses to know HTTP.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.wire import Message
from controller.clock import stamp
from controller.fleet.fit import choose_form, forms_of
from controller.fleet.pin import Pin, pin_words
from controller.fleet.twin import Twin
from controller.reconcile.offers import Order, told
from controller.reconcile.pinning import POLICY, free, needs_order, rollout_that_takes, unpinned
from controller.reconcile.world import holds, put_twin
from controller.registry.version import Version
from controller.state import State
from controller.verbs.device_labels import MAX_AUDIT_CHARS, known_twin
from controller.verbs.rollouts import may_start

MAX_REASON_CHARS = 500
"""The longest reason, which is shown in lists, in plans and in the audit."""


class PinAnswer(Message, frozen=True):
    """The result for one device: where it is held, or why nothing was done."""

    device: str
    release: int = 0
    """The release of the pin; of an ended pin, the one that it had."""
    runs: int = 0
    """The release that the device has confirmed; 0: none."""
    is_moved: bool = False
    """Whether the device got an order to change to the release of the pin."""
    rollout: str = ""
    """The open rollout that brings it another release, now that its pin has ended; empty for none."""
    rollout_release: int = 0
    """The release of that rollout."""
    code: str = ""
    """Why nothing was done; empty if it was done."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request for pins: a model, a release (None: what each device runs), why and until when."""

    model: str
    release: int | None
    reason: str
    until: float
    """Seconds since 1970; 0: until a person ends it."""


def pin(state: State, names: Iterable[str], wanted: Wanted, *, actor: str, dry_run: bool = False) -> list[PinAnswer]:
    """Holds a model on devices at a release; returns the result for each. A second pin replaces the first.

    With `dry_run` it only says what would happen. BadInput `request_invalid` for a long reason or a time that is over,
    `unknown_model` for a model that neither the registry nor one of the devices knows.
    """
    now = time.time()
    _check(wanted, now)
    names = list(names)
    if not any(wanted.model in twin.reported for twin in map(state.world.durable.twins.get, names) if twin):
        state.registry.versions(wanted.model)  # a mistyped model is refused once, and not by each device
    version_of = cache(lambda release: may_start(state, wanted.model, release, again=True))
    answers, twins = [], []
    for device in names:
        try:
            twin, answer = _pinned(state, known_twin(state, device), wanted, actor, now, version_of=version_of)
            answers.append(answer)
            twins.append(twin)
        except BadInput as error:
            answers.append(PinAnswer(device=device[:64], code=error.code, detail=error.detail))
    if not dry_run and twins:
        _keep(state, twins)
        for twin, answer in zip(twins, (each for each in answers if not each.code), strict=True):
            moved = f"; it is sent there from {_version(answer.runs)}" if answer.is_moved else ""
            words = f"{wanted.model} {pin_words(twin.pins[wanted.model])}{moved}"
            state.journal.audit(stamp(), actor, "device pin", twin.device, words[:MAX_AUDIT_CHARS])
            if answer.is_moved:
                state.world.caches.reordered.add(twin.device)
        state.poke()
    return answers


def unpin(state: State, names: Iterable[str], model: str, *, actor: str, dry_run: bool = False) -> list[PinAnswer]:
    """Ends the pins of a model on devices; returns the result for each. Each keeps its version: open rollouts
    include it again, ended ones change nothing.
    """
    answers, twins = [], []
    for device in names:
        try:
            twin = known_twin(state, device)
            held = _held(twin, model)
            answers.append(_freed(state, twin, model, held))
            twins.append((twin, held))
        except BadInput as error:
            answers.append(PinAnswer(device=device[:64], code=error.code, detail=error.detail))
    if not dry_run and twins:
        _keep(state, [unpinned(twin, model) for twin, _ in twins])
        for twin, held in twins:
            freed = free(state.world, twin.device, model)
            state.save_rollouts(*freed.values())
            words = f"{model} was {pin_words(held)}"
            state.journal.audit(stamp(), actor, "device unpin", twin.device, words[:MAX_AUDIT_CHARS])
        state.poke()
    return answers


def _check(wanted: Wanted, now: float) -> None:
    if len(wanted.reason) > MAX_REASON_CHARS:
        words = f"a reason of {len(wanted.reason)} characters, at most {MAX_REASON_CHARS}"
        raise BadInput(Code.REQUEST_INVALID, words)
    if wanted.until and wanted.until <= now:
        raise BadInput(Code.REQUEST_INVALID, "until is in the past: name a later time, or none")


def _pinned(
    state: State, twin: Twin, wanted: Wanted, actor: str, now: float, *, version_of: Callable[[int], Version]
) -> tuple[Twin, PinAnswer]:
    """Returns (the twin with its pin, and with an order if it must change; the answer). BadInput with the reason."""
    model, runs = wanted.model, _runs(twin, wanted.model)
    release = wanted.release or runs
    if not release:
        raise BadInput(Code.UNKNOWN_VERSION, f"it runs no version of {model[:64]}: name one with --release")
    own = twin.pinned.get(model, release)
    if own != release:
        words = f"its own configuration holds {model} at v{own}, and wins: change [[pin]] in its agent.toml"
        raise BadInput(Code.PINNED, words)
    held = Pin(release=release, by=actor, at=stamp(), reason=wanted.reason, until=wanted.until)
    pinned, moves = replace(twin, pins={**twin.pins, model: held}), needs_order(twin, model, release)
    if moves:
        order = Order(release, _digest(state, pinned, model, version_of(release)), POLICY)
        pinned = told(state.world, pinned, model, order, now)
    return pinned, PinAnswer(device=twin.device, release=release, runs=runs, is_moved=moves)


def _freed(state: State, twin: Twin, model: str, held: Pin) -> PinAnswer:
    taken = rollout_that_takes(state.world, twin, model)
    return PinAnswer(
        device=twin.device,
        release=held.release,
        runs=_runs(twin, model),
        rollout=taken.id if taken is not None else "",
        rollout_release=taken.release if taken is not None else 0,
    )


def _digest(state: State, twin: Twin, model: str, version: Version) -> str:
    """Returns the digest of the form that a device gets: the one that it has confirmed, else the first that fits.

    BadInput `nothing_fits` says why none does.
    """
    said = twin.reported.get(model)
    stable = said.stable if said is not None else None
    if stable is not None and stable.release == version.release and holds(state.world, model, stable):
        return stable.digest
    quarantined = state.world.durable.quarantine.get(twin.device, {})
    form, reason = choose_form(twin, model, forms_of(version.manifest), POLICY, quarantined)
    if form is None:
        words = reason.words if reason is not None else "it has no form"
        raise BadInput(Code.NOTHING_FITS, f"it cannot run v{version.release}: {words}")
    return form.digest


def _held(twin: Twin, model: str) -> Pin:
    if (held := twin.pins.get(model)) is not None:
        return held
    others = ", ".join(sorted(twin.pins)) or "none"
    words = f"no pin holds {model[:64]} there; held: {others}"
    if (own := twin.pinned.get(model)) is not None:
        words = f"its own configuration holds {model} at v{own}: change [[pin]] in its agent.toml"
    raise BadInput(Code.REQUEST_INVALID, words)


def _runs(twin: Twin, model: str) -> int:
    """Returns the release of a model that a device has confirmed; 0 for none."""
    said = twin.reported.get(model)
    return said.stable.release if said is not None and said.stable is not None else 0


def _version(release: int) -> str:
    return f"v{release}" if release else "none"


def _keep(state: State, twins: list[Twin]) -> None:
    """Makes twins durable, then shows them to passes."""
    state.records.save_twins(twins)
    for twin in twins:
        put_twin(state.world, twin)
