"""`python -m benchmarks.fuzz_scan [--mutants N]`: protobuf checks that files which the scan passes contain nothing
forbidden.

Passed mutants with forbidden content end the run with the seeds that repeat them.
"""

import argparse
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.fuzz import mutant as spoilt
from benchmarks.onnx_models import originals
from benchmarks.onnx_mutants import mutant
from benchmarks.onnx_truth import forbidden, parse
from benchmarks.table import Row, where
from contract.errors import BadInput
from contract.onnx_scan import scan_onnx

MUTANTS = 600_000
SPOILT_FRACTION = 0.25
"""The fraction of mutants that are changed byte by byte; the others keep the structure of protobuf."""


@dataclass
class Found:
    """The results for the mutants."""

    refused: int = 0
    passed: int = 0
    passed_unparsed: int = 0
    """Passed, and refused by protobuf: no runtime loads them."""
    refused_harmless: int = 0
    """Refused although protobuf finds nothing forbidden: unusual spellings of numbers, fields twice, counts."""
    escapes: list[str] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)
    """The forbidden content of refused ones, by kind."""
    slowest_ms: float = 0.0


def hunt(mutants: int, seed: int, *, explain_every: int = 20) -> Found:
    """Scans mutants. All passed ones are parsed, and every `explain_every`th of the refused ones, to see what was
    planted.
    """
    found, models = Found(), originals()
    for index in range(mutants):
        rng = random.Random(f"{seed}/{index}")
        original = rng.choice(models)
        raw = spoilt(original, rng.choice(models), rng) if rng.random() < SPOILT_FRACTION else mutant(original, rng)
        began = time.perf_counter()
        try:
            scan_onnx(raw)
        except BadInput:
            found.refused += 1
            if index % explain_every == 0:
                _explain(found, raw)
        else:
            _judge_passed(found, raw, f"mutant {index} of seed {seed}")
        found.slowest_ms = max(found.slowest_ms, (time.perf_counter() - began) * 1000)
    return found


def _judge_passed(found: Found, raw: bytes, which: str) -> None:
    found.passed += 1
    model = parse(raw)
    if model is None:
        found.passed_unparsed += 1
    elif words := forbidden(model):
        found.escapes.append(f"{which} is passed and holds {words}")


def _explain(found: Found, raw: bytes) -> None:
    model = parse(raw)
    words = "no protobuf" if model is None else forbidden(model)
    found.held[words.split(" ")[0] if words.startswith("domain") else words or "nothing"] += 1


def measure(mutants: int) -> list[Row]:
    """Runs it for `python -m benchmarks`."""
    began = time.perf_counter()
    found = hunt(mutants, seed=2)
    rate = mutants / (time.perf_counter() - began)
    for escape in found.escapes[:20]:
        print(escape)
    return [
        Row("mutants passed that hold something forbidden", len(found.escapes), 0, "", "the goal", goal=0),
        Row("mutants passed by the scan", found.passed, mutants, "", "mutants"),
        Row("passed, and no protobuf", found.passed_unparsed, found.passed, "", "those passed"),
        Row("mutants judged in a second", rate, 0, "/s", "nothing"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz_scan")
    parser.add_argument("--mutants", type=int, default=MUTANTS)
    parser.add_argument("--seed", type=int, default=1)
    call = parser.parse_args()
    began = time.perf_counter()
    found = hunt(call.mutants, call.seed)
    rate = call.mutants / (time.perf_counter() - began)
    print(f"seed {call.seed}; {where()}\n")
    print("| mutants | refused | passed | passed, no protobuf | passed and forbidden | slowest | rate |")
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {call.mutants} | {found.refused} | {found.passed} | {found.passed_unparsed} | {len(found.escapes)} "
        f"| {found.slowest_ms:.1f} ms | {rate:.0f} /s |"
    )
    print("\n| what protobuf finds in refused mutants (a sample) | mutants |\n|---|---|")
    for words, count in found.held.most_common():
        print(f"| {words} | {count} |")
    if found.escapes:
        sys.exit("\n".join(found.escapes[:20]))


if __name__ == "__main__":
    main()
