"""Held-out rows and the user's own gates, for a push; a split by time.

Decides how rows, labels, times and groups are written, and how the verdict of a function is read. Refuses to know how
the controller's gates judge them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contract.errors import BadInput, Code
from contract.tensors import Array, encode_tensors
from edgeward.encode import encode_rows

OwnGate = Callable[[Any, Any], Any]
"""A function of (model, held-out rows or None). It answers a bool, (bool, words), or (bool, words, numbers by name)."""


@dataclass(frozen=True)
class HeldOut:
    """Rows that the model was not trained on, with their labels: the controller answers them with the converted model.

    `rows` as `sample` of a push; `labels` of shape (rows,). `times` are datetimes or seconds of each row, and then
    `trained_until` is the newest time of the training rows. `groups` are values by row, by name of the group: each of
    them is a slice, and fairness is judged between them. They may be columns of `rows`, but need not be. `never_forget`
    are bools: True for rows of a fixed set that no retrained version may answer worse than the champion. They are used
    for nothing else, and may be older than the training rows.

    `answers` come from a backtest: the answers of earlier fits of the same training, each of which has learned only
    rows until `fitted_until` of the row, as `times`. Then the model itself may have learned these rows.
    """

    rows: Any
    labels: Any
    times: Any = None
    trained_until: Any = None
    groups: Mapping[str, Any] = field(default_factory=dict)
    never_forget: Any = None
    answers: Any = None
    fitted_until: Any = None

    def encode(self) -> bytes:
        """Returns the rows as they are sent. BadInput `sample_missing` if lengths differ or labels have gaps."""
        labels = np.asarray(self.labels)
        arrays = {
            "sample": np.frombuffer(encode_rows(self.rows), dtype=np.uint8),
            "labels": _plain_labels(labels),
        }
        if (self.answers is None) != (self.fitted_until is None):
            raise BadInput(
                Code.SAMPLE_MISSING,
                "answers of a backtest need fitted_until: until when the fit behind each answer has learned",
            )
        if self.answers is not None:
            arrays["answers"] = _plain_labels(np.asarray(self.answers))
            arrays["fitted_until"] = seconds(self.fitted_until)
        for name, values in self.groups.items():
            arrays[f"group/{name}"] = np.asarray(values).astype(np.str_)
        if self.never_forget is not None:
            arrays["never_forget"] = np.asarray(self.never_forget, dtype=np.uint8)
        if self.times is not None:
            arrays["times"] = seconds(self.times)
        if self.trained_until is not None:
            arrays["trained_until"] = seconds([self.trained_until])
        until = {"sample", "trained_until"}
        wrong = [name for name, each in arrays.items() if name not in until and each.shape != (len(self.rows),)]
        if wrong:
            words = f"held-out rows: {wrong[0]} has the shape {arrays[wrong[0]].shape}, there are {len(self.rows)} rows"
            raise BadInput(Code.SAMPLE_MISSING, words)
        return encode_tensors(arrays)


def _plain_labels(labels: Array) -> Array:
    """Returns labels as a converted model answers them: objects as text, and bools as 0 and 1."""
    if labels.dtype == bool:
        return labels.astype(np.int64)
    return labels.astype(np.str_) if labels.dtype == object else labels


def split_by_time(frame: Any, time: str, held_out: float = 0.2) -> tuple[Any, Any]:
    """(older rows to train on, the newest fraction `held_out`) of a DataFrame with a column `time`, sorted by it.

    Rows of one moment stay together, so that no held-out row is as old as a training row. ValueError if one part would
    be empty.
    """
    ordered = frame.sort_values(time, kind="stable")
    cut = ordered[time].iloc[max(0, int(len(ordered) * (1 - held_out)) - 1)]
    older, newer = ordered[ordered[time] <= cut], ordered[ordered[time] > cut]
    if not len(older) or not len(newer):
        raise ValueError(f"{len(older)} rows to train on and {len(newer)} held out: choose another fraction")
    return older, newer


def run_gates(gates: Mapping[str, OwnGate], model: Any, held_out: HeldOut | None) -> list[dict[str, Any]]:
    """Runs the user's own gates here; returns their verdicts. A gate that raises has failed, with its error."""
    rows = None if held_out is None else held_out.rows
    return [{"gate": name, **_verdict(gate, model, rows)} for name, gate in gates.items()]


def _verdict(gate: OwnGate, model: Any, rows: Any) -> dict[str, Any]:
    try:
        said = gate(model, rows)
    except Exception as error:  # a gate is the user's code: if it raises any error, the model has not passed
        return {"passed": False, "detail": f"{type(error).__name__}: {error}"[:500]}
    passed, words, numbers = (*said, "", {})[:3] if isinstance(said, tuple) else (said, "", {})
    if not isinstance(passed, bool | np.bool_):
        raise BadInput(Code.REQUEST_INVALID, f"a gate answered {passed!r}: answer True or False, and words if you like")
    evidence = {str(name): float(number) for name, number in (numbers or {}).items()}
    return {"passed": bool(passed), "detail": str(words)[:500], "evidence": evidence}


def seconds(times: Any) -> Array:
    """Datetimes or numbers as float64 seconds since 1970."""
    found = np.asarray(times)
    if found.dtype.kind in "iuf":
        return found.astype(np.float64)
    if found.dtype == object:
        found = np.array([getattr(each, "timestamp", lambda each=each: float(each))() for each in found.tolist()])
        return found.astype(np.float64)
    return found.astype("datetime64[us]").astype(np.int64) / 1e6
