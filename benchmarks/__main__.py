"""`python -m benchmarks [--only NAME] [--check]`. With --check exit code 1 when a goal is not met."""

import argparse
import sys

from benchmarks import agent, floods, fuzz_scan, rollouts, serving, simulator, store, transport, trees, trust
from benchmarks.table import show

SUITES = {
    "agent": agent.measure,
    "floods": floods.measure,
    "fuzz": fuzz_scan.measure,
    "rollouts": rollouts.measure,
    "serving": serving.measure,
    "simulator": simulator.measure,
    "store": store.measure,
    "trees": trees.measure,
    "transport": transport.measure,
    "trust": trust.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks")
    parser.add_argument("--only", choices=sorted(SUITES))
    parser.add_argument("--check", action="store_true")
    call = parser.parse_args()
    missed = []
    for name, measure in SUITES.items():
        if call.only in (None, name):
            rows = measure()
            show(name, rows)
            missed += [row.what for row in rows if row.met is False]
    if missed:
        print(f"\nnot met: {', '.join(missed)}")
    return 1 if missed and call.check else 0


if __name__ == "__main__":
    sys.exit(main())
