"""What is wrong with a device, by stable codes: the faults that it reports, and those that only the controller can see.

Decides which codes a device is shown with. Refuses to know how they are shown.
"""

from collections.abc import Mapping

from contract.errors import Code
from contract.messages import ModelState
from controller.fleet.twin import Twin

CLOCK_OFF_S = 120.0
"""Seconds. A larger difference of a clock is a fault. Measurements are compared within intervals of 60 s, and a
heartbeat may take some time on a bad link; a clock with NTP differs by less than a second."""
DISK_CODES = frozenset({str(Code.DISK_FULL), str(Code.DISK_FAILED)})


def faults_of(twin: Twin, withdrawn: Mapping[tuple[str, int], str], now: float) -> dict[str, str]:
    """Returns faults by code, in words; empty for a device without faults. `withdrawn`: (model, release) -> why."""
    found = {}
    if abs(twin.clock_off_s) > CLOCK_OFF_S:
        side = "ahead of" if twin.clock_off_s > 0 else "behind"
        found[str(Code.CLOCK_WRONG)] = f"its clock is {_duration(abs(twin.clock_off_s))} {side} the controller's"
    if twin.boots.is_taken(now):
        found[str(Code.IDENTITY_TAKEN)] = "two devices use this name: stop the copy, or give it another name"
    for model, state in sorted(twin.reported.items()):
        if state.code in DISK_CODES:
            found[state.code] = f"{model}: {state.detail}"
        if state.golden is not None and not state.golden.passed:
            found[str(Code.GOLDEN_MISMATCH)] = golden_words(model, state)
        kept = (each for each in (state.stable, state.trial) if each is not None)
        for release in sorted({each.release for each in kept if (model, each.release) in withdrawn}):
            found[str(Code.VERSION_WITHDRAWN)] = f"{model} v{release} is withdrawn: {withdrawn[model, release]}"
    if (refusal := refused_config(twin)) is not None:
        found[str(Code.CONFIG_TAKEN_BACK)] = refusal
    return found | twin.faults


def refused_config(twin: Twin) -> str | None:
    """Why the configuration for the device is not in force there, in words; None if none was refused."""
    said, wanted = twin.config_said, twin.config
    if said is None or wanted is None or said.refused < wanted.version:
        return None
    return f"configuration {said.refused} was refused: {said.code}: {said.detail}"


def golden_words(model: str, state: ModelState) -> str:
    """Says how the newest golden probe of a model ended; empty without one."""
    if state.golden is None:
        return ""
    release = f" v{state.stable.release}" if state.stable is not None else ""
    words = f"{state.golden.missed} of {state.golden.rows} golden rows beyond tolerance"
    return f"{model}{release} answers {words}, golden set {state.golden.golden[:12]}"


def _duration(seconds: float) -> str:
    for size_s, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
