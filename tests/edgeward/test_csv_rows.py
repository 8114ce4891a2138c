"""Rows from a CSV file: codes keep their zeros, and a column that must be text is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from contract.errors import BadInput, Code
from controller.convert.reference_answers import own_answers
from controller.convert.sample_frame import read_sample
from edgeward.cli.automl import _read
from edgeward.cli.pushed_file import load
from edgeward.encode import encode_rows
from edgeward.recording import with_answers

LINES = "plz,size,rooms,note,part\n007,1.5,3,a,0.5\n50667,2.5,4,,0\n,3,5,b,0.25\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "rows.csv"
    made.write_text(LINES)
    (tmp_path / "model.skops").write_bytes(b"")
    return made


def sample_of(file: Path, *texts: str) -> pd.DataFrame:
    return load(file.with_name("model.skops"), file, texts)[1]


def test_a_column_of_codes_keeps_its_leading_zeros_and_numbers_stay_numbers(file: Path) -> None:
    rows = sample_of(file)
    assert rows["plz"].tolist()[:2] == ["007", "50667"]
    assert rows["plz"].isna().tolist() == [False, False, True]
    assert [rows[name].dtype.kind for name in ("size", "rooms", "part")] == ["f", "i", "f"]
    assert _read(file)["plz"].tolist()[0] == "007"


def test_a_named_column_is_read_as_text_and_an_unknown_one_is_refused(file: Path) -> None:
    assert sample_of(file, "rooms")["rooms"].tolist() == ["3", "4", "5"]
    with pytest.raises(BadInput, match="has no column zimmer; it has plz, size"):
        sample_of(file, "zimmer")
    with pytest.raises(BadInput, match=r"--text names columns of a --sample that is a \.csv"):
        load(file.with_name("model.skops"), None, ["plz"])


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()])
def test_a_column_of_numbers_in_place_of_fitted_text_is_named(encoder: Any) -> None:
    codes = np.array(["10115", "50667"] * 40, dtype=object)
    rows = pd.DataFrame({"rooms": np.arange(80.0), "plz": codes})
    parts = ColumnTransformer([("n", "passthrough", ["rooms"]), ("c", encoder, ["plz"])])
    model = make_pipeline(parts, Ridge()).fit(rows, np.arange(80))
    as_read = rows.assign(plz=rows["plz"].astype(int))
    plain = {name: as_read[name].to_numpy() for name in as_read}
    words = r"step 'c' \(O.*Encoder\) was fitted on text such as '10115', and column 'plz' .* add --text 'plz'"
    with pytest.raises(BadInput, match=words) as of_the_controller:
        own_answers(model, read_sample(plain, named=True), plain, "1", named=True)
    with pytest.raises(BadInput, match=words):
        with_answers(model, as_read, encode_rows(as_read), waived=False)
    assert of_the_controller.value.code == Code.SAMPLE_REFUSED
