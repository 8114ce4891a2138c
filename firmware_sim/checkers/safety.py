"""Safety of one device at every moment of its history, because the end does not show faults that were repaired."""

from collections.abc import Container, Mapping, Sequence

from firmware_sim.checkers.law import hold
from firmware_sim.device import Moment


def check_safety(device: str, history: Sequence[Moment], soaks: Mapping[str, float], *, may_stop: bool = False) -> None:
    """Raises Violation for the first broken law.

    `soaks` gives, by digest of every manifest of the world, the seconds for which it must have served before it may
    become stable. `may_stop`: the script allows that the device stops serving.
    """
    for position, after in enumerate(history):
        _serves_only_known(device, after, soaks)
        _serving_follows_record(device, after)
        _record_names_what_is_there(device, after)
        if position and history[position - 1].card == after.card:
            before = history[position - 1]
            _never_stops_serving(device, before, after, may_stop=may_stop)
            _generation_never_falls(device, before, after)
            _stable_changes_only_after_soak(device, history, position, soaks)


def _serves_only_known(device: str, moment: Moment, known: Container[str]) -> None:
    served = not moment.serving or moment.serving in known
    hold(served, "verified_model", device, moment.at, "serves bytes that no manifest names")


def _serving_follows_record(device: str, moment: Moment) -> None:
    record = moment.record
    kept = {each.digest for each in (record.stable, record.trial) if each is not None}
    named = not moment.serving or moment.serving in kept
    hold(named, "serving_follows_record", device, moment.at, "serves what the record does not name")


def _record_names_what_is_there(device: str, moment: Moment) -> None:
    what = f"the record on flash names blobs that are not there, or not whole: {moment.missing}"
    hold(not moment.missing, "record_is_backed", device, moment.at, what)


def _never_stops_serving(device: str, before: Moment, after: Moment, *, may_stop: bool) -> None:
    stopped = before.boots == after.boots and before.serving and not after.serving
    hold(may_stop or not stopped, "never_stops", device, after.at, "stopped serving while powered")


def _generation_never_falls(device: str, before: Moment, after: Moment) -> None:
    kept = after.record.generation >= before.record.generation
    hold(kept, "generation_monotonic", device, after.at, "forgot a generation that it had decided")


def _stable_changes_only_after_soak(
    device: str, history: Sequence[Moment], position: int, soaks: Mapping[str, float]
) -> None:
    after, before = history[position], history[position - 1]
    new, old = after.record.stable, before.record.stable
    if new is None or (old is not None and old.digest == new.digest):
        return
    began = None
    for moment in reversed(history[:position]):
        if moment.boots != before.boots or moment.serving != new.digest:
            break
        began = moment.at
    soaked = began is not None and after.at - began >= soaks[new.digest] - 0.1
    what = f"v{new.manifest.release} became stable without a whole soak in one boot"
    hold(soaked, "whole_soak", device, after.at, what)
