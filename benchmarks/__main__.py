"""`python -m benchmarks [--only NAME] [--check] [--mutants N]`. With --check exit code 1 when a goal is not met."""

import argparse
import sys
from collections.abc import Callable

from benchmarks import (
    agent,
    automl,
    big_model,
    conversion,
    drift,
    floods,
    fuzz_scan,
    loop,
    page,
    plan_power,
    registry,
    rollouts,
    serving,
    simulator,
    store,
    telemetry,
    transport,
    trees,
    trust,
    uneven_rollouts,
    verdicts,
    warm_starts,
    watchers,
)
from benchmarks.table import Row, show

SUITES: dict[str, Callable[[], list[Row]]] = {
    "agent": agent.measure,
    "automl": automl.measure,
    "conversion": conversion.measure,
    "drift": drift.measure,
    "floods": floods.measure,
    "loop": loop.measure,
    "page": page.measure,
    "registry": registry.measure,
    "rollouts": rollouts.measure,
    "serving": serving.measure,
    "simulator": simulator.measure,
    "store": store.measure,
    "telemetry": telemetry.measure,
    "trees": trees.measure,
    "transport": transport.measure,
    "trust": trust.measure,
    "plan-power": plan_power.measure,
    "uneven": uneven_rollouts.measure,
    "upload": big_model.measure,
    "verdicts": verdicts.measure,
    "warm_starts": warm_starts.measure,
    "watchers": watchers.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--only", choices=sorted([*SUITES, "fuzz"]))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--mutants", type=int, help="of `fuzz`; all of them if it runs alone, else a tenth")
    call = parser.parse_args()
    missed = []
    mutants = call.mutants or (fuzz_scan.MUTANTS if call.only == "fuzz" else fuzz_scan.MUTANTS // 10)
    suites = SUITES | {"fuzz": lambda: fuzz_scan.measure(mutants)}
    for name, measure in sorted(suites.items()):
        if call.only in (None, name):
            rows = measure()
            show(name, rows)
            missed += [row.what for row in rows if row.met is False]
    if missed:
        print(f"\nnot met: {', '.join(missed)}")
    return 1 if missed and call.check else 0


if __name__ == "__main__":
    sys.exit(main())
