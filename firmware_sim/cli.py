"""`edgeward-sim run | sweep | replay | shrink | certificates | cuts`.

Exit codes: 0 all laws kept, 1 a law broken, 2 wrong arguments.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from contract.errors import BadInput, Code, EdgewardError
from contract.log_lines import add_version
from contract.reader_gone import until_reader_goes
from firmware_sim import cuts
from firmware_sim.certificates import DAYS, run_certificates, sweep_certificates
from firmware_sim.runs import RunResult, resized, run_once, shrink, sweep, trace_lines
from firmware_sim.scenario import Scenario, encode_scenario, load_scenario
from firmware_sim.scripts import SCRIPTS

_PACKAGED = Path(__file__).parent / "scenarios"
SCENARIOS = _PACKAGED if _PACKAGED.exists() else Path(__file__).parents[1] / "configs" / "scenarios"
"""The scenarios are inside the package in a wheel, and in configs/ in a checkout."""
LEGEND = (
    "time, device; stable, trial (version/boots), generation decided, digest that answers, how the last update ended"
)


def main() -> None:
    """Runs the console script."""
    sys.exit(until_reader_goes(lambda: run(sys.argv[1:])))


def run(arguments: list[str]) -> int:
    """Runs one command and returns its exit code."""
    call = _parser().parse_args(arguments)
    try:
        code: int = call.command(call)
    except EdgewardError as error:
        print(f"edgeward-sim: {error}", file=sys.stderr)
        return 2
    return code


def _parser() -> argparse.ArgumentParser:
    words = "The real agent and the real reconcile in a simulated world."
    parser = argparse.ArgumentParser(prog="edgeward-sim", description=words)
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="run | sweep | replay | shrink | certificates | cuts")
    for name, command, words in (
        ("run", _run, "one scenario with one seed"),
        ("replay", _replay, "the same run, with its trace"),
        ("shrink", _shrink, "a smaller scenario that breaks the same law"),
    ):
        one = commands.add_parser(name, help=words, description=words)
        one.add_argument("scenario", help="a name in configs/scenarios, or a TOML file")
        one.add_argument("--seed", type=int, default=1)
        one.add_argument("--devices", type=int)
        one.add_argument("--hours", type=float)
        one.set_defaults(command=command, device=None)
    commands.choices["replay"].add_argument("--device", help="the device to show; default: the one with the broken law")
    many = commands.add_parser("sweep", help="many seeds; stops at the first broken law")
    many.add_argument("scenario", nargs="*", help="names in configs/scenarios, or TOML files")
    many.add_argument(
        "--all", action="store_true", help="every scenario in configs/scenarios, and 400 days of certificates"
    )
    many.add_argument("--seeds", type=int, default=20)
    many.add_argument("--first-seed", type=int, default=1)
    many.add_argument("--devices", type=int)
    many.set_defaults(command=_sweep)
    words = f"{DAYS} days in which certificates expire and are renewed, devices are off, authorities change"
    days = commands.add_parser("certificates", help=words, description=words)
    days.add_argument("--seed", type=int, default=1)
    days.set_defaults(command=_certificates)
    power = commands.add_parser("cuts", help="power cuts at every operation on flash of one device")
    power.add_argument("--script", choices=[script.name for script in SCRIPTS], help="only this one")
    power.add_argument("--seed", type=int, default=1)
    power.add_argument("--pairs", type=int, default=20, help="double cuts sampled for each script")
    power.add_argument("--at", type=int, nargs="+", help="cut at these operations only (needs --script)")
    power.set_defaults(command=_cuts)
    return parser


def _scenario(name: str) -> Scenario:
    named = name.endswith(".toml")
    path = Path(name) if named else SCENARIOS / f"{name}.toml"
    if not path.exists() and not named:
        there = ", ".join(sorted(found.stem for found in SCENARIOS.glob("*.toml")))
        raise BadInput(Code.CONFIG_INVALID, f"no scenario {name!r}; there are {there}, or give a TOML file")
    return load_scenario(path)


def _run(call: argparse.Namespace) -> int:
    began = time.perf_counter()
    scenario = resized(_scenario(call.scenario), call.devices, call.hours)
    result, world = run_once(scenario, call.seed)
    took_s = time.perf_counter() - began
    for line in trace_lines(world, None):
        print(line)
    links = [device.link for device in world.devices.values()]
    down, up = (sum(getattr(link, way) for link in links) // len(links) for way in ("bytes_down", "bytes_up"))
    wear = sum(device.flash.written_bytes for device in world.devices.values()) // len(links)
    print(f"bytes a device: {down} down, {up} up, {wear} written to flash")
    print(
        f"{result.devices} devices, {scenario.hours:g} h, {result.updates} updates, {result.cuts} power cuts, "
        f"{result.events} events in {took_s:.1f} s; trace {result.trace_hash[:16]}"
    )
    return _verdict(result)


def _replay(call: argparse.Namespace) -> int:
    result, world = run_once(resized(_scenario(call.scenario), call.devices, call.hours), call.seed)
    device = call.device or (result.where if result.where in world.devices else next(iter(world.devices)))
    if device not in world.devices:
        first = next(iter(world.devices))
        raise BadInput(Code.UNKNOWN_DEVICE, f"no device {device!r}; they are called {first} and so on")
    print(LEGEND)
    for line in trace_lines(world, device):
        print(line)
    return _verdict(result)


def _shrink(call: argparse.Namespace) -> int:
    scenario = resized(_scenario(call.scenario), call.devices, call.hours)
    result, _ = run_once(scenario, call.seed)
    if not result.law:
        print(f"{scenario.name} with seed {call.seed} breaks no law: nothing to shrink")
        return 0
    smaller, runs = shrink(scenario, call.seed, result.law)
    path = Path(f"{scenario.name}-{result.law}.toml")
    path.write_bytes(encode_scenario(smaller))
    size = (
        f"{smaller.devices} devices, {len(smaller.fault)} faults, {len(smaller.release)} releases, {smaller.hours:g} h"
    )
    print(f"{result.violation}\nafter {runs} runs: {size}")
    print(f"reproduce: edgeward-sim replay {path} --seed {call.seed}")
    return 1


def _sweep(call: argparse.Namespace) -> int:
    names = sorted(path.stem for path in SCENARIOS.glob("*.toml")) if call.all else call.scenario
    if not names:
        raise BadInput(Code.CONFIG_INVALID, "name scenarios, or use --all")
    scenarios = [resized(_scenario(name), call.devices, None) for name in names]
    seeds = range(call.first_seed, call.first_seed + call.seeds)
    total, done, updates, cut = len(scenarios) * len(seeds), 0, 0, 0
    began = time.perf_counter()
    for result in sweep(scenarios, seeds, os.cpu_count() or 1):
        done, updates, cut = done + 1, updates + result.updates, cut + result.cuts
        _progress(done, total, updates, cut)
        if result.law:
            print()
            _verdict(result)
            return 1
    if call.all and not _certificates_kept(seeds):
        return 1
    took_s = time.perf_counter() - began
    print(
        f"\n{total} runs ({len(scenarios)} scenarios x {len(seeds)} seeds from {call.first_seed}), {updates} updates, "
        f"{cut} power cuts, 0 violations, {took_s:.0f} s"
    )
    return 0


def _certificates_kept(seeds: range) -> bool:
    """Runs 400 days of certificates with every seed; returns whether no law was broken."""
    for seed, violation in sweep_certificates(seeds, os.cpu_count() or 1):
        if violation:
            print(f"\nBROKEN {violation}\nreproduce: edgeward-sim certificates --seed {seed}")
            return False
    print(f"\n{len(seeds)} fleets of {DAYS} days of certificates, 0 violations", file=sys.stderr)
    return True


def _certificates(call: argparse.Namespace) -> int:
    violation = run_certificates(call.seed)
    print(f"BROKEN {violation}" if violation else f"{DAYS} days of certificates: all laws kept")
    return 1 if violation else 0


def _progress(done: int, total: int, updates: int, cut: int) -> None:
    """Shows progress: a bar on a terminal, elsewhere a line at every 5 percent."""
    bar = f"[{'#' * (30 * done // total):30}] {done}/{total} runs, {updates} updates, {cut} cuts"
    if sys.stderr.isatty():
        print(f"\r{bar}", end="", file=sys.stderr, flush=True)
    elif done % max(1, total // 20) == 0:
        print(bar, file=sys.stderr, flush=True)


def _verdict(result: RunResult) -> int:
    if not result.law:
        print("all laws kept")
        return 0
    print(f"BROKEN {result.violation}")
    for line in result.trace:
        print(f"    {line}")
    print(f"({LEGEND})")
    print(f"reproduce: {result.reproduce}")
    print(f"look:      {result.reproduce.replace(' run ', ' replay ')}")
    return 1


def _cuts(call: argparse.Namespace) -> int:
    scripts = [cuts.by_name(call.script)] if call.script else list(SCRIPTS)
    failed = 0
    for script in scripts:
        if call.at:
            results = [cuts.run_once(script, call.seed, tuple(call.at))[0]]
        else:
            results = [*cuts.every_cut(script, call.seed), *cuts.sampled_pairs(script, call.seed, call.pairs)]
        broken = [result for result in results if result.violation]
        failed += len(broken)
        made = sum(len(result.operations) for result in results)
        print(f"{script.name:26} {len(results):4} runs {made:5} cuts  {'all recovered' if not broken else 'BROKEN'}")
        for result in broken[:3]:
            print(f"    {result.violation}\n    reproduce: {result.reproduce}")
    return 1 if failed else 0
