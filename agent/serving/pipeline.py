"""The data plane of one sensor: row -> slot -> prediction, until the source ends.

Decides nothing about models: the version that the slot serves answers. A bad row is counted and skipped.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from agent.ports import Sample
from agent.serving.slot import ModelSlot, Prediction
from contract.errors import BadInput


def run_pipeline(
    rows: Iterable[Sample | BadInput],
    slot: ModelSlot,
    dropped: Counter[str],
    on_prediction: Callable[[Prediction], None] | None = None,
) -> None:
    """Answers every row. Rows that come while nothing serves are dropped and counted."""
    for row in rows:
        if isinstance(row, BadInput):
            dropped["rows_malformed"] += 1
            continue
        try:
            prediction = slot.predict(row)
        except BadInput:
            dropped["rows_failed"] += 1
            continue
        except Exception:  # whatever a row holds, it costs this row alone and never the sensor's thread
            dropped["rows_broken"] += 1
            continue
        if prediction is None:
            dropped["rows_unserved"] += 1
        elif on_prediction is not None:
            on_prediction(prediction)
