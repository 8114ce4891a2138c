"""The retraining pipeline of the demo: rows with the labels so far, a forest on their last year.

Decides that the newest rows are kept for the gate. Refuses to know whether the candidate will be used.
"""

from pathlib import Path

import pandas as pd

from edgeward.demo.loop.air import held_out_of, inputs_of, labels_of, load_air, never_forget, train_on, with_winter
from edgeward.pipelines.checks import check_time
from edgeward.pipelines.pipeline import Pipeline
from edgeward.pipelines.step import step
from edgeward.retraining.candidate import Candidate

HELD_OUT_ROWS = 400
A_YEAR_OF_ROWS = 8_000


@step(always=True)
def labelled(labels_file: Path) -> pd.DataFrame:
    """Returns all rows with a label: the archive until the stations began, and the stations' labels since."""
    learnt = load_air(labels_file).sort_values("time", kind="stable")
    archive = load_air()
    return pd.concat([archive[archive["time"] < learnt["time"].iloc[0]], learnt], ignore_index=True)


@step
def checked(labelled: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows, after checking that their times never go backwards."""
    return check_time(labelled, "time")


@step
def candidate(checked: pd.DataFrame) -> Candidate:
    """A forest on the last year without its newest rows, which its gate gets."""
    known, newest = checked.iloc[:-HELD_OUT_ROWS], checked.iloc[-HELD_OUT_ROWS:]
    year = known.iloc[-A_YEAR_OF_ROWS:]
    model = train_on(year)
    held_out = with_winter(held_out_of(newest, known["time"].iloc[-1]), never_forget())
    accuracy = float((model.predict(inputs_of(newest)) == labels_of(newest)).mean())
    return Candidate(model, inputs_of(year), held_out, data=year, metrics={"newest_accuracy": accuracy})


pipeline = Pipeline("retrain-air", [labelled, checked, candidate])
