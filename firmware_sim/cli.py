"""`edgeward-sim cuts`: power cuts against the agent that ships. Exit code 1 when a law is broken."""

import argparse
import sys

from firmware_sim.cuts import CutResult, by_name, every_cut, run_once, sampled_pairs
from firmware_sim.scenarios import SCENARIOS


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="edgeward-sim", description="The real agent in a simulated world.")
    commands = parser.add_subparsers(required=True, metavar="cuts")
    cuts = commands.add_parser("cuts", help="cut power at every operation on flash, and check that the device recovers")
    cuts.add_argument("--scenario", choices=[scenario.name for scenario in SCENARIOS], help="only this one")
    cuts.add_argument("--seed", type=int, default=1)
    cuts.add_argument("--pairs", type=int, default=20, help="double cuts sampled for each scenario")
    cuts.add_argument("--at", type=int, nargs="+", help="cut at these operations only (needs --scenario)")
    return _cuts(parser.parse_args(arguments))


def _cuts(call: argparse.Namespace) -> int:
    scenarios = [by_name(call.scenario)] if call.scenario else list(SCENARIOS)
    failed = 0
    for scenario in scenarios:
        if call.at:
            results = [run_once(scenario, call.seed, tuple(call.at))[0]]
        else:
            results = [*every_cut(scenario, call.seed), *sampled_pairs(scenario, call.seed, call.pairs)]
        broken = [result for result in results if result.violation]
        failed += len(broken)
        cuts = sum(len(result.operations) for result in results)
        print(f"{scenario.name:26} {len(results):4} runs {cuts:5} cuts  {'all recovered' if not broken else 'BROKEN'}")
        for result in broken[:3]:
            _explain(result)
    return 1 if failed else 0


def _explain(result: CutResult) -> None:
    print(f"    {result.violation}\n    reproduce: {result.reproduce}")
