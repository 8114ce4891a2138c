"""A push from within a run: the facts about the run in the version, and those about the version in the run.

Decides that a reproduction pushes nothing. Refuses to know how a version is pushed. Imports runs only if one is
open: a push without a run takes no more time.
"""

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from contract.errors import BadInput, Code
from edgeward.answers.pushes import Pushed

if TYPE_CHECKING:
    from edgeward.runs.run import Run
    from edgeward.transport import Transport

MAX_METRICS = 100
"""Numbers that a version may carry; the run has them all."""


def open_run(run: "Run | None") -> "Run | None":
    """Returns the run that was handed in, else the innermost open one of this process."""
    if run is not None:
        return run
    module = sys.modules.get("edgeward.runs.run")
    return module.current_run() if module is not None else None


def told_by(run: "Run", told: dict[str, Any]) -> dict[str, Any]:
    """Returns the facts about a version for the controller, with the run's id, metrics and data; the caller's values
    come first.
    """
    record = run.record
    sets = sorted({each.data_set for each in record.data if each.data_set})
    found = told | {"run": run.id, "data_sets": sorted({*told["data_sets"], *sets})}
    room = max(MAX_METRICS - len(told["metrics"]), 0)
    found["metrics"] = dict(list(record.metrics.items())[:room]) | told["metrics"]
    if told["data"] is None and record.data:
        first = record.data[0]
        found["data"] = {"sha256": first.sha256, "rows": first.rows, "columns": list(first.columns)}
    return found


def note_push(run: "Run", model: Any, name: str, answer: Pushed, transport: "Transport") -> None:
    """Records in the run the pushed version and the digest of the model, for comparison with a reproduction. Once the
    run has ended, it is sent to the controller that has the version.
    """
    from contract.run_record import PushedVersion
    from edgeward.runs.sent import send_or_say

    run.at_end(transport.url, partial(send_or_say, transport, run.store, run.id))
    run.note_pushed(PushedVersion(name, answer.release, answer.digest, answer.plain))
    _log(run, model, name)


def repeated_push(run: "Run", model: Any, name: str, sample: Any = None) -> Pushed | None:
    """Returns the recorded answer if a run is being reproduced; None: push. BadInput `request_invalid` if none was
    recorded.
    """
    known = run.recorded_push(name)
    if known is None:
        return None
    from edgeward.networks.network import network_of
    from edgeward.pushed_parts import parts_of

    _log(run, model if network_of(model) is None else parts_of(model, sample, {}, waived=True)[1], name)
    if not known.answer:
        words = f"the recorded run pushed no {name}: a reproduction pushes nothing"
        raise BadInput(Code.REQUEST_INVALID, words)
    return Pushed.read(known.answer)


def _log(run: "Run", model: Any, name: str) -> None:
    """A fitted model, the bytes of a file, of a network its ONNX, of two models in a row each; of a folder nothing."""
    from pathlib import Path

    if isinstance(model, list | tuple):
        for number, each in enumerate(model, 1):
            _log(run, each, f"{name}-{number}")
        return
    if isinstance(model, str | Path):
        if Path(model).is_file():
            run.artifact(Path(model), name)
        return
    run.log_model(model.SerializeToString() if hasattr(model, "SerializeToString") else model, name)
