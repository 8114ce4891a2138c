"""Laws that a device's history must keep, whatever happened to it. They read history and flash, never the agent.

End states alone miss faults that heal: every moment is checked.
"""

from firmware_sim.device import Device, Moment
from firmware_sim.scenarios import POLICY, Scenario


class Violation(AssertionError):
    """A law was broken; the message says which, where and when."""


def check(scenario: Scenario, device: Device) -> None:
    """Raise Violation for the first law that the run broke."""
    known = {model.manifest.artifact.sha256 for model in scenario.models}
    for before, after in zip(device.history, device.history[1:], strict=False):
        _serves_only_known(after, known)
        _never_stops_serving(before, after, scenario)
        _record_names_what_is_there(after)
        _generation_never_falls(before, after)
        _stable_changes_only_after_soak(device, before, after)
        _serving_follows_record(after)
    _converges(scenario, device)


def _serves_only_known(moment: Moment, known: set[str]) -> None:
    _law(not moment.serving or moment.serving in known, moment, "serves bytes that no manifest names")


def _never_stops_serving(before: Moment, after: Moment, scenario: Scenario) -> None:
    stopped = before.boots == after.boots and before.serving and not after.serving
    _law(not stopped or scenario.stable_at_end == 0, after, "stopped serving while powered")


def _record_names_what_is_there(moment: Moment) -> None:
    _law(not moment.missing, moment, f"the record on flash names blobs that are not there: {moment.missing}")


def _generation_never_falls(before: Moment, after: Moment) -> None:
    _law(after.record.generation >= before.record.generation, after, "forgot a generation that it had decided")


def _stable_changes_only_after_soak(device: Device, before: Moment, after: Moment) -> None:
    old, new = before.record.stable, after.record.stable
    if new is None or (old is not None and old.digest == new.digest):
        return
    began = None
    for moment in device.history:
        if moment.at > before.at:
            break
        same = moment.boots == before.boots and moment.serving == new.digest
        began = None if not same else (moment.at if began is None else began)
    soaked = began is not None and after.at - began >= float(POLICY.soak_s) - 0.1
    _law(soaked, after, f"v{new.manifest.release} became stable without a whole soak in one boot")


def _serving_follows_record(moment: Moment) -> None:
    slots = {slot.digest for slot in (moment.record.stable, moment.record.trial) if slot is not None}
    _law(not moment.serving or moment.serving in slots, moment, "serves what the record does not name")


def _converges(scenario: Scenario, device: Device) -> None:
    last = device.history[-1]
    stable = last.record.stable.manifest.release if last.record.stable else 0
    _law(stable == scenario.stable_at_end, last, f"ended with v{stable} stable, not v{scenario.stable_at_end}")
    _law(last.record.trial is None, last, "ended in a trial")
    _law(last.serving == (last.record.stable.digest if last.record.stable else ""), last, "does not serve stable")


def _law(kept: bool, moment: Moment, what: str) -> None:
    if not kept:
        raise Violation(f"at {moment.at:.2f} s, boot {moment.boots}: {what}")
