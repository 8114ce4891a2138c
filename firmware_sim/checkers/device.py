"""The laws of a script with one device: which version it must have at the end, and safety at every moment."""

from firmware_sim.checkers.law import hold
from firmware_sim.checkers.safety import check_safety
from firmware_sim.device import Device
from firmware_sim.scripts import POLICY, Script


def check(script: Script, device: Device) -> None:
    """Raises Violation for the first law that the run broke."""
    soaks = {model.manifest.artifact.sha256: float(POLICY.soak_s) for model in script.models}
    check_safety(device.name, device.history, soaks, may_stop=script.stable_at_end == 0)
    last = device.history[-1]
    stable = last.record.stable.manifest.release if last.record.stable else 0
    serves = last.record.stable.digest if last.record.stable else ""
    ended = f"ended with v{stable} stable, not v{script.stable_at_end}"
    hold(stable == script.stable_at_end, "converges", device.name, last.at, ended)
    hold(last.record.trial is None, "converges", device.name, last.at, "ended in a trial")
    hold(last.serving == serves, "converges", device.name, last.at, "does not serve stable")
