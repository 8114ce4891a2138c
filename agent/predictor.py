"""The models of this device inside an application. The whole agent runs in threads of the application's process.

    with Predictor("agent.toml") as predictor:
        plant = predictor.model("plant")
        plant.wait(timeout_s=60)
        label, probabilities = plant.run({"X": rows})

Updates, trials and roll backs continue as in `edgeward-agent run`. The version that serves at the moment of a call
answers it. Decides nothing. Refuses to know updates.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from agent.config import load_config
from agent.daemon import Daemon
from agent.ports import Array, Inputs, Sample
from agent.serving.slot import Asked, ModelSlot, Prediction
from contract.errors import BadInput, Code, EdgewardError, WorldError

LOOK_S = 0.02
"""Seconds between two checks of whether a version serves."""

_log = logging.getLogger("edgeward.agent")


class Model:
    """One model. All methods may be called from any thread."""

    def __init__(self, slot: ModelSlot, fault: Callable[[], EdgewardError | None]) -> None:
        self._slot = slot
        self._fault = fault
        self._run = slot.run

    def run(self, inputs: Inputs, key: str = "") -> list[Array]:
        """Returns the output arrays in the manifest's order; arrays are not copied. WorldError `not_serving`.

        `inputs` are arrays by input name, of the shapes (rows, ...) and dtypes that the manifest names. While a trial
        answers a part of the requests, requests of one `key` go to one version. BadInput `tensors_invalid`,
        `value_range`, `value_missing` for arrays that the model cannot accept; they are counted beside its inferences.
        Raises what onnxruntime raises for other arrays, which counts against the version's health.
        """
        return self._run(inputs, key)

    def predict(self, row: Mapping[str, Any], label: str | float | None = None, key: str = "") -> Prediction:
        """Returns the prediction for one row, given as values by column name; `label` is the truth, if it is known.

        BadInput `sample_invalid` names the column that is wrong; WorldError `not_serving`.
        """
        prediction = self._slot.predict(Sample(_one_row(row), label, key))
        if prediction is None:
            raise WorldError(Code.NOT_SERVING, f"{self._slot.model} has no version yet")
        return prediction

    def predict_rows(self, rows: Any) -> list[Prediction]:
        """Returns the prediction of each row of a DataFrame, or of each of several dicts by column name.

        Each row is answered and counted as by `predict`; `run` answers arrays of many rows at once. Raises what
        `predict` raises for the first row that is wrong.
        """
        each = rows.to_dict("records") if hasattr(rows, "columns") else rows
        if isinstance(each, Mapping | str) or not isinstance(each, Iterable):
            words = f"rows is a {type(rows).__name__}: pass a DataFrame, or a list of dicts by column name"
            raise BadInput(Code.SAMPLE_INVALID, words)
        return [self.predict(row) for row in each]

    def ask(self, inputs: Inputs, key: str = "") -> Asked:
        """Returns what `run` returns, the answer's id and the release that gave it. Raises what `run` raises."""
        return self._slot.ask(inputs, key)

    def feedback(self, id: str, label: str | float | Sequence[str | float | None]) -> int:  # noqa: A002 - the answer's word
        """Counts the label of an answer, named by its id, for the version that gave it; returns the number of rows
        counted.

        `label` is one label, or one for each row of the answer, None if it is missing. It may come minutes or days
        later. BadInput `answer_unknown` for an answer that is not known any more (the newest 131,072 are, until the
        agent ends), `label_repeated` for a second label, `label_invalid`, `label_unknown` for one of no class that a
        version of the model can answer.
        """
        given = label if isinstance(label, str | bytes) or not isinstance(label, Sequence) else list(label)
        return self._slot.feedback(id, given).rows

    def metric(self, name: str, value: float, id: str = "") -> None:  # noqa: A002 - as above
        """Counts a number that the application measures: for the version that gave the answer `id`, or the one that
        serves now.

        BadInput `metric_invalid` for a name or value that cannot be counted, or if two versions answer now and no `id`
        is named; `answer_unknown`; WorldError `not_serving`.
        """
        self._slot.metric(name, value, id)

    @property
    def release(self) -> int | None:
        """The number of the release that answers now; None while no version serves."""
        serving = self._slot.serving
        return serving.assignment.manifest.release if serving is not None else None

    def wait(self, timeout_s: float) -> None:
        """Returns once a version serves; WorldError `not_serving` after `timeout_s`.

        BadInput `config_invalid` if the configuration allows no link to the controller.
        """
        deadline = time.monotonic() + timeout_s
        while self._slot.serving is None:
            if (fault := self._fault()) is not None:
                raise fault
            if time.monotonic() >= deadline:
                raise WorldError(Code.NOT_SERVING, f"{self._slot.model} has no version after {timeout_s:g} s")
            time.sleep(LOOK_S)


def _one_row(row: Any) -> Mapping[str, Any]:
    """Returns a row as values by column name; accepts a Series of pandas. BadInput `sample_invalid` for
    anything else.
    """
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "to_dict") and not hasattr(row, "columns"):
        return dict(row.to_dict())
    words = f"row is a {type(row).__name__}: pass one row as a dict by column name; several: predict_rows, or run"
    raise BadInput(Code.SAMPLE_INVALID, words)


class Predictor:
    """The agent that a configuration file describes. Confirmed versions serve at once, with or without a link.

    Raises BadInput `config_invalid`, and WorldError `disk_failed` if another agent uses the state directory. Settings
    that prevent a link to the controller show in `fault`. The agent tries again; confirmed versions serve.
    """

    def __init__(self, config: str | Path) -> None:
        path = Path(config)
        self._daemon = Daemon(load_config(path), path)
        self._daemon.start()
        self._thread = threading.Thread(target=self._daemon.work, name="agent", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> EdgewardError | None:
        """The error that prevents a link to the controller; None while there is none. The link is tried again."""
        return self._daemon.fault

    def feedback(self, id: str, label: str | float | Sequence[str | float | None]) -> int:  # noqa: A002
        """Counts the label of an answer of any model, by the answer's id, as `Model.feedback` does."""
        return Model(self._daemon.slot_that_answered(id), lambda: self.fault).feedback(id, label)

    def model(self, name: str) -> Model:
        """Returns a model by name, even before a version of it has arrived."""
        return Model(self._daemon.slot(name), lambda: self.fault)

    def hold_updates(self) -> AbstractContextManager[None]:
        """Returns a context that prevents swaps while it lasts, up to each version's `max_hold_s`.

        The agent continues to fetch and probe versions. A roll back does not wait until the context ends.
        """
        return self._daemon.hold_updates()

    def close(self) -> None:
        """Ends the agent. Its models must not be called after this."""
        self._daemon.stop()
        self._thread.join(timeout=10)
        self._daemon.close()

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
