"""The effects of a step on a rollout and on its devices, before the step is taken.

Decides the sentences. They come from the same functions that take the step, so that preview and step agree. Refuses to
change anything.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from contract.errors import BadInput
from contract.wire import Message
from controller.reconcile.membership import facts_of
from controller.rollout.decide import Facts, is_held
from controller.rollout.endings import named
from controller.rollout.model import Member, Rollout
from controller.rollout.outcome import MemberOutcome, outcome_of
from controller.rollout.verdict import HOLDS_NOTHING_UP
from controller.rollout.words import devices_of, span
from controller.state import State
from controller.trust.access import Subject
from controller.verbs.rollouts import approvable, find
from controller.verbs.steering import Verb, failed_now, reason_of, steered


class VerbPreview(Message, frozen=True):
    """The effects of a step now."""

    verb: str
    allowed: bool
    refusal: str
    """Why the step is refused, and what to do first; empty if it is allowed."""
    code: str
    """The code of the refusal; empty if it is allowed."""
    status: str
    """The status of the rollout, to which the step can be bound."""
    wave: int
    """Counted from 0; people count from 1."""
    sentences: tuple[str, ...]
    """The effects, the most important first."""
    to_release: dict[str, int]
    """Devices by the release that they would be sent; 0: they would run no version."""
    devices: tuple[str, ...]
    """The first of these devices."""


MAX_DEVICES = 50
"""Devices that a preview names."""


def preview_verb(state: State, name: str, verb: Verb, *, actor: str) -> VerbPreview:
    """Returns the effects of a step; BadInput `unknown_rollout`."""
    rollout, now = find(state, name), time.time()
    try:
        steered(state, rollout, verb, reason_of(state, rollout, verb, actor, ""))
    except BadInput as refused:
        return refused_step(rollout, verb, refused)
    facts = facts_of(state.world, rollout, now)
    words = {each.device: outcome_of(rollout, each, facts[each.device], now) for each in rollout.members}
    match verb:
        case "pause":
            return _view(rollout, verb, _pause(rollout, words), {})
        case "resume":
            return _view(rollout, verb, _resume(failed_now(state, rollout)), {})
        case "promote":
            verdicts = state.world.measured.verdicts.get(name, ())
            undecided = [each.metric for each in verdicts if each.word not in HOLDS_NOTHING_UP]
            told = _next_wave(rollout)
            return _view(rollout, verb, _promote(rollout, undecided, now), dict.fromkeys(told, rollout.release))
        case _:
            back = {each.device: each.previous_release for each in _going_back(rollout, facts, verb)}
            return _view(rollout, verb, _way_back(rollout, facts, words, back, verb), back)


def preview_approval(state: State, name: str, subject: Subject) -> VerbPreview:
    """Returns the effects of an approval by a person; BadInput `unknown_rollout`."""
    try:
        rollout = approvable(state, name, subject)
    except BadInput as refused:
        return refused_step(find(state, name), "approve", refused)
    first = [each.device for each in rollout.members if each.wave == 0]
    words = f"Wave 1 of {len(rollout.strategy.waves)} begins: {devices_of(len(first))} get it."
    return _view(rollout, "approve", [words], dict.fromkeys(first, rollout.release))


def refused_step(rollout: Rollout, verb: str, why: BadInput) -> VerbPreview:
    """Returns the preview of a step that would be refused."""
    return replace(_view(rollout, verb, (), {}), allowed=False, refusal=why.detail, code=why.code)


def _view(rollout: Rollout, verb: str, sentences: Iterable[str], sent: dict[str, int]) -> VerbPreview:
    return VerbPreview(
        verb=verb,
        allowed=True,
        refusal="",
        code="",
        status=rollout.status,
        wave=rollout.wave,
        sentences=tuple(sentences),
        to_release={str(release): count for release, count in sorted(Counter(sent.values()).items())},
        devices=tuple(list(sent)[:MAX_DEVICES]),
    )


def _pause(rollout: Rollout, words: dict[str, MemberOutcome]) -> Iterable[str]:
    yield f"{rollout.model} v{rollout.release} is offered to nobody any more until somebody resumes it."
    under_way = [device for device, word in words.items() if word == "pending"]
    if under_way:
        yield f"{devices_of(len(under_way))} whose turn has come: what has begun goes on and decides by itself."
    yield "No device changes its version because of this, and rules go on judging."


def _resume(failed: list[str]) -> Iterable[str]:
    if failed:
        yield f"{devices_of(len(failed))} known to have failed no longer count: {named(failed)}. New failures do."
    yield "Rules about inferences start anew: they go by what is measured from now on."
    yield "Offers go on at once."


def _next_wave(rollout: Rollout) -> list[str]:
    if rollout.wave >= rollout.final_wave:
        return []
    return [each.device for each in rollout.members if each.wave == rollout.wave + 1 and not rollout.is_stopped(each)]


def _promote(rollout: Rollout, undecided: Sequence[str], now: float) -> Iterable[str]:
    wave, following = rollout.strategy.waves[rollout.wave], _next_wave(rollout)
    if rollout.wave >= rollout.final_wave:
        yield f"It was the last wave: the rollout completes, and v{rollout.release} is judged no longer."
    else:
        yield f"Wave {rollout.wave + 1} ends, and wave {rollout.wave + 2} begins: {devices_of(len(following))} get it."
    left_s = 0.0 if rollout.wave_done_at is None else wave.soak_s - (now - rollout.wave_done_at)
    if left_s > 0 or rollout.wave_done_at is None:
        yield f"Its soak is cut short: {span(left_s if left_s > 0 else wave.soak_s)} of {span(wave.soak_s)} are left."
    if undecided:
        counted = "1 rule" if len(undecided) == 1 else f"{len(undecided)} rules"
        yield f"{counted} cannot say yet: {', '.join(dict.fromkeys(undecided))}."


def _going_back(rollout: Rollout, facts: Facts, verb: Verb) -> list[Member]:
    """Returns members that would be sent back to what they ran before."""
    return [
        each
        for each in rollout.members
        if each.wave <= rollout.wave and is_held(rollout, each, facts[each.device], keeps_confirmed=verb == "abort")
    ]


def _way_back(
    rollout: Rollout, facts: Facts, words: dict[str, MemberOutcome], back: dict[str, int], verb: Verb
) -> Iterable[str]:
    left = [each.device for each in rollout.members if each.lost_digest and each.wave <= rollout.wave]
    if left:
        word = "keeps what it runs" if len(left) == 1 else "keep what they run"
        yield f"{devices_of(len(left))} {word}, because the registry does not hold what ran before: {named(left)}."
    if not back:
        yield "No device has to change its version."
    for release, count in sorted(Counter(back.values()).items(), reverse=True):
        going = [device for device, to in back.items() if to == release]
        where = f"go back to v{release}" if release else "had no version before: they would run none"
        where = where if count > 1 else where.replace("go ", "goes ", 1).replace("they would", "it would")
        yield f"{devices_of(count)} {where}: {named(going)}."
    kept = sum(word == "succeeded" for word in words.values()) if verb == "abort" else 0
    if kept:
        yield (
            f"{devices_of(kept)} confirmed v{rollout.release} and keep it."
            if kept > 1
            else (f"1 device confirmed v{rollout.release} and keeps it.")
        )
    away = [device for device in back if facts[device].presence != "online"]
    if away:
        back_words = "follows when it is" if len(away) == 1 else "follow when they are"
        yield f"{len(away)} of them cannot be reached now and {back_words} back: {named(away)}."
    waiting = sum(word == "waiting" for word in words.values())
    if waiting:
        yield f"{devices_of(waiting)} whose turn has not come: nothing changes there."
    yield "It ends here: to bring this version again, start another rollout."
