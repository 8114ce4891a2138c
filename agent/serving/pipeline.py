"""The data plane of one sensor: row -> slot -> prediction, until the source ends.

Decides nothing about models: the version that the slot serves answers. A bad row is counted and skipped.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from agent.ports import Sample
from agent.serving.lives import SensorLife
from agent.serving.slot import ModelSlot, Prediction
from contract.errors import BadInput


def run_pipeline(
    rows: Iterable[Sample | BadInput],
    slot: ModelSlot,
    dropped: Counter[str],
    on_prediction: Callable[[Prediction], None] | None = None,
    life: SensorLife | None = None,
) -> None:
    """Answers every row. Rows that come while nothing serves are dropped and counted."""
    counted = life or SensorLife("", "", slot.model)
    for row in rows:
        counted.row_came(slot.perf_s())
        if isinstance(row, BadInput):
            dropped["rows_malformed"] += 1
            counted.row_refused(row.detail)
            continue
        try:
            prediction = slot.predict(row)
        except BadInput as error:
            dropped["rows_failed"] += 1
            counted.row_refused(error.detail)
            continue
        except Exception as error:  # only the bad row gets no answer; the sensor's thread must continue
            dropped["rows_broken"] += 1
            counted.row_refused(f"{type(error).__name__}: {error}")
            continue
        if prediction is None:
            dropped["rows_unserved"] += 1
            counted.unserved += 1
            continue
        counted.answered += 1
        if on_prediction is not None:
            on_prediction(prediction)
