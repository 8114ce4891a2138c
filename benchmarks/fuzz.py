"""Mutants of every kind of input from outside, in a table by kind: `python -m benchmarks.fuzz [--mutants N]`.

A mutant may be refused with a code, or may be accepted if it means what the original meant. Anything else ends the run
and prints the seed that repeats it: another exception, an accepted document with another meaning, more than LIMIT_S.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import Metadata

from benchmarks.table import where
from contract.errors import EdgewardError
from contract.messages import Ack, Heartbeat, Presence, Report, Telemetry
from contract.onnx_scan import scan_onnx
from contract.trust import chain
from contract.trust.documents import read_desired
from contract.trust.verified import Trusted
from contract.wire import decode
from firmware_sim.real_models import onnx_bytes

WIRE = Path(__file__).parents[1] / "tests" / "data" / "wire"
WHEN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LIMIT_S = 2.0
KINDS = {"report_state": Report, "heartbeat": Heartbeat, "telemetry": Telemetry, "ack": Ack, "presence": Presence}
JUNK = (b"", b"\0", b"\xff", b"{", b"[", b'"', b"}", b"]", b":", b"1e999", b"NaN", b"null", b"-", b"\\u0000", b"9" * 30)


@dataclass
class Target:
    """A function that reads bytes, and valid inputs for it."""

    name: str
    fraction: float
    originals: list[bytes]
    read: Callable[[bytes], object]
    signed: bool
    """True: an accepted mutant must have the same meaning as one of the originals."""


def targets() -> list[Target]:
    """Returns every kind of input, with its fraction of the mutants."""
    given = chain.trust_root((WIRE / "root.json").read_text())
    trust_bundle = (WIRE / "trust.json").read_bytes()
    trusted = chain.follow(given, trust_bundle, WHEN)
    top = chain.targets_of(trusted)
    models = [onnx_bytes(1, "good"), onnx_bytes(1, "raises")]
    messages = [(WIRE / f"{name}.json").read_bytes() for name in KINDS]
    kinds = list(KINDS.values())
    return [
        Target("model (scan)", 0.4, models, lambda raw: (scan_onnx(raw), 0)[1], signed=False),
        Target("trust bundle", 0.15, [trust_bundle], lambda raw: _followed(given, trusted, raw), signed=True),
        Target(
            "model role",
            0.1,
            [(WIRE / "model_role.json").read_bytes()],
            lambda raw: chain.role_of(chain.take_role(trusted, "weather", raw, WHEN), "weather"),
            signed=True,
        ),
        Target(
            "desired document", 0.15, [(WIRE / "desired.json").read_bytes()], lambda raw: read_desired(raw, top), True
        ),
        Target("message", 0.2, messages, lambda raw: _any_of(raw, kinds), signed=False),
    ]


def _any_of(raw: bytes, kinds: Sequence[type[object]]) -> None:
    """Decodes `raw` as each of these kinds; raises the first refusal if none of them accepts it."""
    refusals = []
    for kind in kinds:
        try:
            decode(raw, kind)
        except EdgewardError as error:
            refusals.append(error)
    if len(refusals) == len(kinds):
        raise refusals[0]


def _followed(given: Trusted, honest: Trusted, raw: bytes) -> list[object]:
    """Returns what is trusted after a trust bundle; the kept parts of a refused one must have been signed as well."""
    try:
        return _meaning(chain.follow(given, raw, WHEN))
    except chain.FollowedInPartError as fault:
        signed = _meaning(honest)
        if not all(part in signed for part in _meaning(fault.verified)):
            raise ValueError("a part that nobody has signed stays") from None
        raise


def _meaning(trusted: Trusted) -> list[object]:
    """Returns the signed content. `2026-01-3` and extra blanks give the same content, and only that is signed."""
    texts = (trusted.root, trusted.timestamp, trusted.snapshot, trusted.targets)
    return [Metadata.from_bytes(text.encode()).signed.to_dict() for text in texts if text]


def mutant(original: bytes, other: bytes, rng: random.Random) -> bytes:
    """Returns `original` with one to four changes: bytes, deletions, repetitions, junk, a piece of another input."""
    raw = bytearray(original)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(6):
            case 0 if raw:
                raw[min(at, len(raw) - 1)] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randint(1, 32)]
            case 2:
                raw[at:at] = raw[at : at + rng.randint(1, 64)]
            case 3:
                raw[at:at] = rng.choice(JUNK)
            case 4:
                start = rng.randrange(len(other))
                raw[at : at + rng.randint(0, 16)] = other[start : start + rng.randint(1, 64)]
            case _:
                raw = raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.2 else raw
    return bytes(raw)


def attack(target: Target, count: int, seed: int) -> tuple[int, int, float]:
    """Returns (mutants refused, mutants accepted, slowest in ms) of `count` mutants.

    SystemExit names the mutant that did anything else, and the seed that repeats it.
    """
    refused = accepted = 0
    slowest_ms = 0.0
    meanings = [target.read(original) for original in target.originals]
    for number in range(count):
        rng = random.Random(f"{seed}/{target.name}/{number}")
        raw = mutant(rng.choice(target.originals), rng.choice(target.originals), rng)
        began = time.perf_counter()
        try:
            meaning = target.read(raw)
        except EdgewardError:
            refused += 1
        except Exception as error:
            sys.exit(f"{target.name}: mutant {number} of seed {seed}: {type(error).__name__}: {error}")
        else:
            accepted += 1
            if target.signed and meaning not in meanings:
                sys.exit(f"{target.name}: mutant {number} of seed {seed} is accepted and has another meaning")
        took_s = time.perf_counter() - began
        slowest_ms = max(slowest_ms, took_s * 1000)
        if took_s > LIMIT_S:
            sys.exit(f"{target.name}: mutant {number} of seed {seed} took {took_s:.1f} s")
    return refused, accepted, slowest_ms


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz")
    parser.add_argument("--mutants", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=1)
    call = parser.parse_args()
    print(f"seed {call.seed}; {where()}\n\n| input | mutants | refused | same meaning or harmless | slowest |")
    print("|---|---|---|---|---|")
    total = 0
    for target in targets():
        count = int(call.mutants * target.fraction)
        refused, accepted, slowest_ms = attack(target, count, call.seed)
        total += count
        print(f"| {target.name} | {count} | {refused} | {accepted} | {slowest_ms:.1f} ms |", flush=True)
    print(f"\n{total} mutants: no crash, no hang, nothing accepted that was not signed")


if __name__ == "__main__":
    main()
