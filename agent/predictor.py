"""The models of this device inside an application: the whole agent, in threads beside the application's own.

    with Predictor("agent.toml") as predictor:
        plant = predictor.model("plant")
        plant.wait(timeout_s=60)
        label, probabilities = plant.run({"X": rows})

Updates, trials and roll backs go on as in `edgeward-agent run`; each call is answered by the version of that moment.
Decides nothing. Refuses to know updates.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from agent.config import load_config
from agent.daemon import Daemon
from agent.ports import Array, Inputs, Sample
from agent.serving.slot import ModelSlot, Prediction
from contract.errors import Code, EdgewardError, WorldError

LOOK_S = 0.02

_log = logging.getLogger("edgeward.agent")


class Model:
    """One model. All methods may be called from any thread."""

    def __init__(self, slot: ModelSlot, fault: Callable[[], EdgewardError | None]) -> None:
        self._slot = slot
        self._fault = fault
        self._run = slot.run

    def run(self, inputs: Inputs, key: str = "") -> list[Array]:
        """Returns the outputs in the manifest's order; arrays are not copied. WorldError `not_serving`.

        `inputs` are arrays by input name, of the shapes (rows, ...) and dtypes that the manifest names. While a trial
        answers a share of the requests, requests of one `key` go to one version.
        BadInput `tensors_invalid`, `value_range`, `value_missing` for arrays that the model does not take; they are
        counted beside its inferences. Raises what onnxruntime raises for others, which counts against its health.
        """
        return self._run(inputs, key)

    def predict(self, row: Mapping[str, Any], label: str | float | None = None, key: str = "") -> Prediction:
        """Answers one row by column name. BadInput `sample_invalid` names the column; WorldError `not_serving`."""
        prediction = self._slot.predict(Sample(row, label, key))
        if prediction is None:
            raise WorldError(Code.NOT_SERVING, f"{self._slot.model} has no version yet")
        return prediction

    @property
    def release(self) -> int | None:
        """The release that answers now; None before the first."""
        serving = self._slot.serving
        return serving.assignment.manifest.release if serving is not None else None

    def wait(self, timeout_s: float) -> None:
        """Returns once a version serves; WorldError `not_serving` after `timeout_s`.

        Raises what prevents a link to the controller: BadInput `config_invalid`.
        """
        deadline = time.monotonic() + timeout_s
        while self._slot.serving is None:
            if (fault := self._fault()) is not None:
                raise fault
            if time.monotonic() >= deadline:
                raise WorldError(Code.NOT_SERVING, f"{self._slot.model} has no version after {timeout_s:g} s")
            time.sleep(LOOK_S)


class Predictor:
    """The agent of a configuration file. Confirmed versions serve at once, with or without a link.

    Raises BadInput `config_invalid`, WorldError `disk_failed` if another agent has the state directory. A
    configuration that allows no link is found later (`fault`) and tried again; confirmed versions go on serving.
    """

    def __init__(self, config: str | Path) -> None:
        path = Path(config)
        self._daemon = Daemon(load_config(path), path)
        self._daemon.start()
        self._thread = threading.Thread(target=self._daemon.work, name="agent", daemon=True)
        self._thread.start()

    @property
    def fault(self) -> EdgewardError | None:
        """Why no link to the controller can be made now; None while nothing is wrong. It is tried again."""
        return self._daemon.fault

    def model(self, name: str) -> Model:
        """Returns a model by name, whether a version has come or not."""
        return Model(self._daemon.slot(name), lambda: self.fault)

    def hold_updates(self) -> AbstractContextManager[None]:
        """Prevents swaps while the context lasts, up to each version's `max_hold_s`.

        Versions are fetched and probed meanwhile. A roll back does not wait.
        """
        return self._daemon.hold_updates()

    def close(self) -> None:
        """Ends the agent. Its models need not answer after this."""
        self._daemon.stop()
        self._thread.join(timeout=10)
        self._daemon.close()

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
