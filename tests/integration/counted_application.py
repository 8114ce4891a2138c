"""An application that contains the agent. For each line of stdin, a count, it uses every call of `Predictor`.

Prints the expected counts as a line of JSON. Run as `python -m tests.integration.counted_application agent.toml`.
"""

import json
import sys
from random import Random
from typing import Any

import numpy as np

from agent import Predictor
from agent.predictor import Model
from contract.errors import BadInput, Code
from tests.integration.counted_truth import BAD, MACHINES, Truth

ROWS = (1, 1, 1, 2, 50)


def arrays(rng: Random, rows: int) -> dict[str, Any]:
    numbers = {name: np.full((rows, 1), rng.gauss(0.0, 1.0), dtype=np.float32) for name in ("t", "v")}
    return numbers | {"machine": np.full((rows, 1), rng.choice(MACHINES), dtype=object)}


def wrong_arrays(rng: Random, rows: int) -> tuple[Any, Code]:
    """Arrays that the model refuses, with the error code under which each is counted."""
    good, wide = arrays(rng, rows), np.zeros((rows, 2), dtype=np.float32)
    surrogate = np.full((rows, 1), "lathe \ud800", dtype=object)
    return rng.choice(
        [
            (good | {"t": good["t"].astype(np.float64)}, Code.TENSORS_INVALID),
            (good | {"t": wide}, Code.TENSORS_INVALID),
            (good | {"t": np.full((rows + 1, 1), 0.5, dtype=np.float32)}, Code.TENSORS_INVALID),
            (good | {"temperature": good["t"]}, Code.TENSORS_INVALID),
            ({"t": good["t"], "v": good["v"]}, Code.TENSORS_INVALID),
            (good | {"machine": surrogate}, Code.TENSORS_INVALID),
            (good | {"machine": np.full((rows, 1), b"\xff", dtype=object)}, Code.TENSORS_INVALID),
            (good | {"machine": np.full((rows, 1), None, dtype=object)}, Code.VALUE_MISSING),
            ([0.5], Code.TENSORS_INVALID),
            ({}, Code.TENSORS_INVALID),
        ]
    )


def wrong_row(rng: Random) -> tuple[dict[str, Any], Code]:
    good = {"t": rng.gauss(0.0, 1.0), "v": 0.5, "machine": "lathe"}
    change, code = rng.choice(
        [
            ({"t": "warm"}, Code.SAMPLE_INVALID),
            ({"t": [1.0]}, Code.SAMPLE_INVALID),
            ({"machine": b"\xff"}, Code.SAMPLE_INVALID),
            ({"machine": "lathe \ud800"}, Code.SAMPLE_INVALID),
            ({"t": float("nan")}, Code.VALUE_MISSING),
            ({"v": None}, Code.VALUE_MISSING),
            ({"t": 1e39}, Code.VALUE_RANGE),
            ({"t": float("-inf")}, Code.VALUE_RANGE),
        ]
    )
    if rng.random() < 0.1:
        return {"t": 0.5, "machine": "lathe"}, Code.SAMPLE_INVALID
    return good | change, code


class Calls:
    """Calls of one model, and their expected counts."""

    def __init__(self, model: Model, rng: Random) -> None:
        self._model = model
        self._rng = rng
        self.truth = Truth()

    def one(self) -> None:
        bad = self._rng.random() < BAD
        self._rng.choice((self._row, self._ask))(bad)

    def _row(self, bad: bool) -> None:
        rng = self._rng
        row, code = wrong_row(rng) if bad else ({"t": rng.gauss(0.0, 1.0), "v": 0.5, "machine": "mill"}, None)
        label = rng.choice(("", None, 0, 1, 1))
        try:
            found = self._model.predict(row, label)
        except BadInput:
            assert code is not None, row
            self.truth.refused[code] += 1
            return
        assert code is None, row
        self.truth.answered(found.release, 1)
        if label in (0, 1):
            self.truth.labelled[found.release] += 1
            self.truth.correct[found.release] += found.value == str(label)

    def _ask(self, bad: bool) -> None:
        rows = self._rng.choice(ROWS)
        if bad and self._rng.random() < 0.3:
            self._nan(rows)
            return
        given, code = wrong_arrays(self._rng, rows) if bad else (arrays(self._rng, rows), None)
        try:
            asked = self._model.ask(given)
        except BadInput:
            assert code is not None, given
            self.truth.refused[code] += 1
            return
        assert code is None, given
        self.truth.answered(asked.release, rows)

    def _nan(self, rows: int) -> None:
        """Arrays are looked at when a run fails or its answer is NaN: NaN is answered, and counted as refused.

        Of infinity the model is as sure as of any large number: that is an answer.
        """
        given, infinite = arrays(self._rng, rows), self._rng.random() < 0.5
        given["t"][-1] = np.inf if infinite else np.nan
        asked = self._model.ask(given)
        if infinite:
            self.truth.answered(asked.release, rows)
        else:
            self.truth.refused[Code.VALUE_RANGE] += 1


def main() -> None:
    with Predictor(sys.argv[1]) as predictor:
        model, rng = predictor.model("plant"), Random(11)
        for line in sys.stdin:
            calls = Calls(model, rng)
            for _ in range(int(line)):
                calls.one()
            print(json.dumps(calls.truth.plain), flush=True)


if __name__ == "__main__":
    main()
