import gzip
import io
import itertools
import os
import pty
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from agent.adapters.sensors.image_files import from_images
from agent.adapters.sensors.serial_port import from_serial
from agent.adapters.sensors.streams import MAX_WAITING, TopicQueue, from_stdin, parse_row, replay
from agent.config import ImagesSensor, ReplaySensor, SerialSensor, StdinSensor, TopicSensor
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


def test_a_csv_is_replayed_with_separate_labels_and_empty_cells_as_none(csv: Path) -> None:
    assert rows(csv)[:2] == [Sample({"t": "1.5", "h": "2"}, "1"), Sample({"t": "2.5", "h": None}, "0")]


def test_a_compressed_csv_and_a_parquet_file_give_the_same_rows(csv: Path) -> None:
    packed = csv.with_name("rows.csv.gz")
    packed.write_bytes(gzip.compress(CSV.encode()))
    assert rows(packed) == rows(csv)
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the extra [parquet]")
    import pyarrow

    table = pyarrow.table({"t": [1.5, 2.5], "h": [2.0, None], "rain": [1, 0]})
    parquet.write_table(table, csv.with_name("rows.parquet"))
    assert rows(csv.with_name("rows.parquet"))[1] == Sample({"t": 2.5, "h": None}, 0)


def test_start_row_skips_rows_and_loop_starts_again(csv: Path) -> None:
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
def test_a_row_that_is_not_a_json_object_is_a_bad_sample(raw: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_row(raw, "")
    assert caught.value.code == Code.SAMPLE_INVALID


def test_stdin_returns_bad_lines_as_errors_and_reads_further() -> None:
    found = list(from_stdin(StdinSensor(model="m", label="y"), io.BytesIO(b'{"x":1,"y":2}\n\nnonsense\n{"x":3}\n')))
    assert found[0] == Sample({"x": 1}, 2)
    assert isinstance(found[1], BadInput)
    assert found[2] == Sample({"x": 3}, None)


def test_a_topic_with_too_many_rows_drops_its_oldest_rows_and_counts_them() -> None:
    dropped: Counter[str] = Counter()
    queue = TopicQueue(TopicSensor(model="m", topic="t"), dropped)
    for number in range(MAX_WAITING + 3):
        queue.put(b'{"x":%d}' % number)
    queue.put(None)
    found = list(queue)
    assert found[0] == Sample({"x": 4}, None)
    assert dropped["sensor_rows"] == 4


class Wire:
    """A serial line made of a pseudo-terminal, on which a device at the other end sends the given bytes."""

    def __init__(self, **config: object) -> None:
        self.far, near = pty.openpty()
        self.config = SerialSensor(model="m", path=os.ttyname(near), **config)  # type: ignore[arg-type]
        self.stop = threading.Event()
        self.found = from_serial(self.config, Path("agent.toml"), self.stop.wait)

    def send(self, raw: bytes) -> None:
        threading.Timer(0.2, os.write, (self.far, raw)).start()


def test_a_serial_line_gives_json_objects_and_rows_by_column_and_drops_cut_lines() -> None:
    wire = Wire(columns=("x", "y"), label="y")
    wire.send(b'9,9\n{"x": 1, "y": 2}\n 3 , 4\nnonsense\n5,')
    assert [next(wire.found) for _ in range(2)] == [Sample({"x": 1}, 2), Sample({"x": "3"}, "4")]
    refused = next(wire.found)
    assert isinstance(refused, BadInput)
    assert "nonsense" in refused.detail
    wire.send(b"6\n")
    assert next(wire.found) == Sample({"x": "5"}, "6")
    wire.stop.set()
    assert list(wire.found) == []


def test_a_serial_line_without_line_ends_is_bounded() -> None:
    wire = Wire(columns=("x",))
    wire.send(b"0\n")
    threading.Timer(0.5, lambda: [os.write(wire.far, each) for each in (*[b"1" * 1024] * 140, b"\n2\n")]).start()
    refused = next(wire.found)
    assert isinstance(refused, BadInput)
    assert "65536" in refused.detail
    assert next(wire.found) == Sample({"x": "2"}, None), "it is one bad line, however long"
    wire.stop.set()


def test_a_missing_serial_port_is_a_fault_of_the_source() -> None:
    with pytest.raises(FileNotFoundError):
        next(from_serial(SerialSensor(model="m", path="/dev/none"), Path("agent.toml"), lambda _: False))


def test_the_key_column_becomes_the_routing_key_and_stays_a_feature() -> None:
    config = StdinSensor(model="m", key="customer")
    assert list(from_stdin(config, io.BytesIO(b'{"x":1,"customer":7}\n'))) == [
        Sample({"x": 1, "customer": 7}, None, "7")
    ]


def pictures(directory: Path, looks: int, **config: object) -> Iterator[Sample | BadInput]:
    """Returns the rows that a sensor of 2 x 1 pixels reads from a directory in the given number of passes."""
    left = iter(range(looks))
    made = ImagesSensor(model="m", path=str(directory), width=2, height=1, **config)  # type: ignore[arg-type]
    return from_images(made, Path("agent.toml"), lambda _: next(left, None) is None)


def paint(path: Path, *pixels: int, mode: str = "L") -> None:
    width = len(pixels) // (3 if mode == "RGB" else 1)
    Image.frombytes(mode, (width, 1), bytes(pixels)).save(path)


def test_a_new_picture_becomes_a_row_of_pixels_named_by_its_file(tmp_path: Path) -> None:
    paint(tmp_path / "old.png", 9, 9)
    found = pictures(tmp_path, 9)
    looks = itertools.count()

    def appear() -> None:
        if next(looks) == 0:
            paint(tmp_path / "new.png", 7, 200)

    made = ImagesSensor(model="m", path=str(tmp_path), width=2, height=1)
    left = iter(range(5))
    seen = list(from_images(made, Path("agent.toml"), lambda _: (appear(), next(left, None) is None)[1]))
    assert seen == [Sample({"x0": 7.0, "x1": 200.0}, None, "new.png", "new.png")]
    assert list(found) == [], "both are there at its start"


def test_existing_pictures_and_colours_are_read_and_other_files_are_not(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 1, 2, 3, 4, 5, 6, mode="RGB")
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.txt").write_text("not looked at")
    colour, broken = pictures(tmp_path, 3, existing=True, colours=True)
    assert colour == Sample({f"x{at}": float(at + 1) for at in range(6)}, None, "a.png", "a.png")
    assert isinstance(broken, BadInput)
    assert broken.detail.startswith("b.png: ")


def test_a_picture_is_read_only_once_it_no_longer_grows(tmp_path: Path) -> None:
    path, whole = tmp_path / "a.png", tmp_path / "whole.png"
    paint(whole, 5, 6)
    raw = whole.read_bytes()
    whole.unlink()
    looks = itertools.count(1)

    def grow() -> None:
        path.write_bytes(raw[: len(raw) * min(next(looks), 4) // 4])

    left = iter(range(8))
    made = ImagesSensor(model="m", path=str(tmp_path), width=2, height=1)
    found = list(from_images(made, Path("agent.toml"), lambda _: (grow(), next(left, None) is None)[1]))
    assert found == [Sample({"x0": 5.0, "x1": 6.0}, None, "a.png", "a.png")]


def test_a_directory_that_is_missing_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        list(pictures(tmp_path / "none", 1))
    assert caught.value.code == Code.CONFIG_INVALID
