"""The simulator: simulated device-hours a second on one core, and memory and CPU for each device, for 100 to 10,000
devices.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.table import Row

SIZES = (100, 1_000, 10_000)
GOAL_DEVICE_HOURS_PER_S = 1_000.0


def measure() -> list[Row]:
    """Returns the rows of this benchmark.

    Each size runs in its own process, so that its memory can be measured.
    """
    found = {}
    for devices in SIZES:
        command = [sys.executable, "-m", "benchmarks.simulator", str(devices)]
        found[devices] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    rows = [
        Row(
            f"{devices} devices x 2 h, 20 % loss: device-hours/s",
            found[devices]["rate"],
            GOAL_DEVICE_HOURS_PER_S,
            "1/s",
            "the goal",
            goal=1.0 if devices == SIZES[-1] else None,
            at_least=True,
        )
        for devices in SIZES
    ]
    first, last = found[SIZES[0]], found[SIZES[-1]]
    rows.append(Row("CPU a device, 10,000 devices", last["cpu_ms"], first["cpu_ms"], "ms", "100 devices", goal=1.3))
    rows.append(Row("memory a device, 10,000 devices", last["kb"], found[1_000]["kb"], "kB", "1,000 devices", goal=1.3))
    return rows


def _one(devices: int) -> dict[str, float]:
    import gc

    import msgspec

    from firmware_sim.runs import run_once
    from firmware_sim.scenario import load_scenario

    fleet = load_scenario(Path(__file__).with_name("fleet.toml"))
    scenario = msgspec.structs.replace(fleet, devices=devices)
    gc.disable()  # one world, which ends with this process: a collection would find nothing to free
    before_kb = _rss_kb()
    began_s = time.process_time()
    result, world = run_once(scenario, 1)
    took_s = time.process_time() - began_s
    assert not result.law, result.violation
    assert result.updates == len(world.devices)
    kb = (_rss_kb() - before_kb) / devices
    return {"rate": devices * scenario.hours / took_s, "cpu_ms": took_s * 1000 / devices, "kb": kb}


def _rss_kb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    json.dump(_one(int(sys.argv[1])), sys.stdout)
