import gzip
import io
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from agent.adapters.sensors import MAX_WAITING, TopicQueue, from_stdin, parse_row, replay
from agent.config import ReplaySensor, StdinSensor, TopicSensor
from agent.ports import Sample
from contract.errors import BadInput, Code

CSV = "t,h,rain\n1.5,2,1\n2.5,,0\n3.5,4,1\n"


def rows(path: Path, **changes: object) -> list[Sample]:
    config = ReplaySensor(model="m", path=path.name, rate_hz=10_000.0, label="rain", **changes)  # type: ignore[arg-type]
    return list(replay(config, path.parent / "agent.toml", lambda _: False))


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    return path


def test_a_csv_is_replayed_with_labels_apart_and_empty_cells_as_none(csv: Path) -> None:
    assert rows(csv)[:2] == [Sample({"t": "1.5", "h": "2"}, "1"), Sample({"t": "2.5", "h": None}, "0")]


def test_a_compressed_csv_and_a_parquet_file_are_the_same_rows(csv: Path) -> None:
    packed = csv.with_name("rows.csv.gz")
    packed.write_bytes(gzip.compress(CSV.encode()))
    assert rows(packed) == rows(csv)
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra [parquet]")
    import pyarrow

    table = pyarrow.table({"t": [1.5, 2.5], "h": [2.0, None], "rain": [1, 0]})
    parquet.write_table(table, csv.with_name("rows.parquet"))
    assert rows(csv.with_name("rows.parquet"))[1] == Sample({"t": 2.5, "h": None}, 0)


def test_start_row_skips_and_loop_begins_again(csv: Path) -> None:
    assert len(rows(csv, start_row=1)) == 2
    taken: list[Sample] = []
    config = ReplaySensor(model="m", path="rows.csv", rate_hz=10_000.0, start_row=1, loop=True)
    taken.extend(islice(replay(config, csv.parent / "agent.toml", lambda _: False), 5))
    assert len(taken) == 5


def test_the_rate_is_the_pause_between_rows(csv: Path) -> None:
    pauses: list[float] = []
    config = ReplaySensor(model="m", path="rows.csv", rate_hz=20.0)
    list(replay(config, csv.parent / "agent.toml", lambda pause: pauses.append(pause) is not None))
    assert pauses[0] == pytest.approx(0.05, abs=0.02)


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        rows(tmp_path / "none.csv")
    assert caught.value.code == Code.CONFIG_INVALID


@pytest.mark.parametrize("raw", ["{", "[1]", "3", "[" * 100_000])
def test_a_row_that_is_no_json_object_is_a_bad_sample(raw: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_row(raw, "")
    assert caught.value.code == Code.SAMPLE_INVALID


def test_stdin_hands_on_bad_lines_as_errors_and_goes_on() -> None:
    found = list(from_stdin(StdinSensor(model="m", label="y"), io.StringIO('{"x":1,"y":2}\n\nnonsense\n{"x":3}\n')))
    assert found[0] == Sample({"x": 1}, 2)
    assert isinstance(found[1], BadInput)
    assert found[2] == Sample({"x": 3}, None)


def test_a_topic_that_floods_drops_its_oldest_rows_and_counts_them() -> None:
    dropped: Counter[str] = Counter()
    queue = TopicQueue(TopicSensor(model="m", topic="t"), dropped)
    for number in range(MAX_WAITING + 3):
        queue.put(b'{"x":%d}' % number)
    queue.put(None)
    found = list(queue)
    assert found[0] == Sample({"x": 4}, None)
    assert dropped["sensor_rows"] == 4
