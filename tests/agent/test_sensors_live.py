"""Sensors survive every fault of their sources."""

import gzip
import http.server
import json
import os
import pty
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from agent.adapters.kept_lives import KeptLives, load_lives
from agent.adapters.sensors import followed, supervisor
from agent.adapters.sensors.sinks import SinkThread
from agent.adapters.sensors.supervisor import tend
from agent.config import (
    ReplaySensor,
    SerialSensor,
    TopicSensor,
    WebhookSink,
    load_config,
)
from agent.ports import Sample
from agent.serving.lives import SETTLED_S, SensorLife, SinkLife
from agent.serving.metrics import Facts, _of_lives, exposition
from agent.serving.slot import Prediction
from agent.serving.statistics import Statistics
from contract.errors import BadInput
from tests.agent.live_sensors import Hook, NoLink, Sensors, shorten_pauses, taken, until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_pauses(monkeypatch)


def follow(**changes: Any) -> ReplaySensor:
    return ReplaySensor(model="m", path="log.csv", follow=True, **changes)


def test_every_exception_of_a_source_is_counted_and_pauses_before_the_next_open_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    life, pauses, openings, logged = SensorLife("topic-1", "topic", "m"), [], [], []
    faults = [MemoryError("all of it"), OSError(5, "gone"), OSError(5, "gone"), KeyError("x"), UnicodeError("no")]
    monkeypatch.setattr(supervisor._log, "error", lambda *words: logged.append(words))

    def rows() -> Iterator[Sample]:
        openings.append(1)
        if faults:
            raise faults.pop(0)
        yield Sample({})

    def answer(each: Iterable[Sample | BadInput]) -> None:
        for _ in each:
            life.row_came(1.0)

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return False

    tend(life, rows, answer, wait)
    assert len(openings) == 6
    assert [pause for pause in pauses if pause] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert (life.state, life.failures, life.rows, life.error) == ("ended", 5, 1, "UnicodeError: no")
    assert len(logged) == 4, "the second OSError is of a kind that was logged"


def test_a_source_that_is_opened_again_and_reads_well_without_rows_is_up() -> None:
    life, now, openings = SensorLife("serial-1", "serial", "m"), [0.0], []

    def rows() -> Iterator[Sample]:
        openings.append(now[0])
        if len(openings) == 1:
            raise OSError("the port has closed")
        assert life.told(now[0]).state == "waiting", "it may fail at once"
        now[0] += SETTLED_S / 2
        if len(openings) == 2:
            raise OSError("the port has closed")
        assert life.told(now[0]).state == "waiting", "the time before the newest fault does not count"
        now[0] += SETTLED_S
        assert life.told(now[0]).state == "running"
        assert next(_of_lives(((life.told(now[0]),), ())))[2] == 1
        yield from ()

    tend(life, rows, lambda each: [None for _ in each].clear(), lambda _: False, lambda: now[0])
    assert (len(openings), life.rows, life.state) == (3, 0, "ended")


def test_a_missing_file_is_waited_for_and_each_of_its_rows_is_answered_once(tmp_path: Path) -> None:
    device = Sensors(tmp_path, ReplaySensor(model="m", path="rows.csv", rate_hz=10_000.0))
    until(lambda: device.sensor.failures > 2)
    assert device.sensor.state == "waiting"
    assert "rows.csv" in device.sensor.error
    (tmp_path / "new").write_text("x\n1\n2\n3\n")
    (tmp_path / "new").rename(tmp_path / "rows.csv")
    until(lambda: device.sensor.state == "ended")
    assert device.answered == ["1", "2", "3"]
    assert (device.sensor.rows, device.sensor.answered, device.sensor.refused) == (3, 3, 0)


def test_a_cell_of_ten_megabytes_an_undecodable_line_and_nul_bytes_lose_only_their_own_rows(tmp_path: Path) -> None:
    lines = [b"x,y", b"1,a", b"2," + b"z" * 10_000_000, b"3,c", b"4,\xff\xfe", b'5,"' + b"w" * 200_000 + b'"', b"6,f"]
    (tmp_path / "rows.csv").write_bytes(b"\n".join(lines) + b"\n")
    device = Sensors(tmp_path, ReplaySensor(model="m", path="rows.csv", rate_hz=10_000.0))
    until(lambda: device.sensor.state == "ended")
    assert device.answered == ["1", "3", "6"]
    assert (device.sensor.rows, device.sensor.answered, device.sensor.refused, device.sensor.failures) == (6, 3, 3, 0)


def test_a_truncated_compressed_file_gives_its_rows_once_and_continues_when_it_is_complete(tmp_path: Path) -> None:
    text = "x\n" + "".join(f"{number}\n" for number in range(50_000))
    whole = gzip.compress(text.encode(), mtime=0)
    (tmp_path / "rows.csv.gz").write_bytes(whole[: len(whole) // 2])
    device = Sensors(tmp_path, ReplaySensor(model="m", path="rows.csv.gz", rate_hz=100_000.0))
    until(lambda: device.sensor.failures)
    (tmp_path / "new").write_bytes(whole)
    (tmp_path / "new").rename(tmp_path / "rows.csv.gz")
    until(lambda: device.sensor.state == "ended", 60.0)
    assert device.answered == [str(number) for number in range(50_000)]


def test_lines_appended_to_a_file_are_answered_after_rotation_and_truncation(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("x,y\nold,0\n")
    device = Sensors(tmp_path, follow())
    until(lambda: device.sensor.state == "running")
    time.sleep(0.3)
    with log.open("a") as file:
        file.write("1,a\n2,b\n3,")
        file.flush()
        until(lambda: device.answered == ["1", "2"])
        file.write("c\n")
        file.flush()
        until(lambda: device.answered == ["1", "2", "3"])
        log.rename(tmp_path / "log.csv.1")
        file.write("4,d\n")
    log.write_text("y,x\ne,5\n")
    until(lambda: device.answered == ["1", "2", "3", "4", "5"])
    with log.open("r+") as file:  # as `copytruncate` of logrotate does
        file.truncate()
        time.sleep(0.5)
        file.write("x\n6\n")
    until(lambda: device.answered[-1:] == ["6"])
    log.unlink()
    time.sleep(0.3)
    log.write_text('{"x": 7}\nnonsense\n{"x": 8}\n')
    until(lambda: device.answered == ["1", "2", "3", "4", "5", "6", 7, 8])
    assert (device.sensor.rows, device.sensor.answered, device.sensor.refused) == (9, 8, 1)


def test_a_followed_file_may_appear_later_and_the_length_of_a_line_is_limited(tmp_path: Path) -> None:
    device = Sensors(tmp_path, follow())
    until(lambda: device.sensor.failures)
    (tmp_path / "new").write_bytes(b"x\n1\n" + b"9" * 3_000_000 + b"\n2\n")
    (tmp_path / "new").rename(tmp_path / "log.csv")
    until(lambda: device.answered == ["1", "2"])
    assert device.sensor.refused == 1


def test_earlier_rows_are_answered_if_the_configuration_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("x\n1\n2\n3\n")
    device = Sensors(tmp_path, follow(existing=True, start_row=1))
    until(lambda: device.answered == ["2", "3"])


def test_a_log_of_objects_is_read_as_one_for_any_first_line_of_a_new_file(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text('{"x": 0}\n{"x": 1}\n')
    device = Sensors(tmp_path, follow(existing=True, start_row=1))
    until(lambda: device.answered == [1])
    (tmp_path / "new").write_text('nonsense\n{"x": 2}\n{"x": 3}\n')
    (tmp_path / "new").rename(log)
    until(lambda: device.answered == [1, 2, 3])
    assert device.sensor.refused == 1, "rows are skipped of the first file alone"


def count_looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Makes the sensor read a log often and counts the reads."""
    looks, look = [0], followed._left

    def counted(*given: Any) -> str:
        looks[0] += 1
        return look(*given)

    monkeypatch.setattr(followed, "_left", counted)
    monkeypatch.setattr(followed, "LOOK_S", 0.01)
    return looks


def test_an_undecodable_first_line_does_not_prevent_following_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = count_looks(monkeypatch)
    log = tmp_path / "log.csv"
    log.write_bytes(b"\xff\xfe\n")
    device = Sensors(tmp_path, follow())
    until(lambda: looks[0] or device.sensor.failures)
    with log.open("a") as file:
        file.write('{"x": 1}\n')
    until(lambda: device.answered == [1] or device.sensor.failures)
    assert device.sensor.failures == 0


def test_half_a_line_is_counted_and_is_not_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = count_looks(monkeypatch)
    log = tmp_path / "log.csv"
    log.write_text("x\n1\n12")
    device = Sensors(tmp_path, follow(existing=True))
    until(lambda: device.answered == ["1"] and looks[0] > 2)
    os.truncate(log, 0)
    until(lambda: device.sensor.refused == 1)
    assert "cut within a line" in device.sensor.error
    assert device.answered == ["1"]


def test_a_serial_port_that_disappears_is_opened_again(tmp_path: Path) -> None:
    far, near = pty.openpty()
    port = tmp_path / "port"
    port.symlink_to(os.ttyname(near))
    device = Sensors(tmp_path, SerialSensor(model="m", path="port"))
    until(lambda: device.sensor.state == "running")
    time.sleep(0.3)
    os.write(far, b'cut\n{"x": 1}\n')
    until(lambda: device.answered == [1])
    port.unlink()
    os.close(near)
    os.close(far)
    until(lambda: device.sensor.failures > 1)
    assert device.sensor.state == "waiting"
    assert device.sensor.refused == 0, "a port that is gone is no bad row"
    assert device.dropped["lines_cut"] == 1, "what came before the first line end"
    far, near = pty.openpty()
    port.symlink_to(os.ttyname(near))
    until(lambda: device.sensor.error and os.write(far, b'x\n{"x": 2}\n') and device.answered[-1] == 2)
    assert device.sensor.state == "running"


def test_the_counts_of_sensors_are_kept_for_status_and_written_rarely(tmp_path: Path) -> None:
    kept, life = KeptLives(tmp_path), SensorLife("serial-1", "serial", "m")
    kept.keep(((), ()), 0.0, 5.0)
    assert load_lives(tmp_path) is None
    kept.keep(((life.told(0.0),), ()), 0.0, 5.0)
    life.row_came(1.0)
    life.state = "starting"
    kept.keep(((life.told(2.0),), ()), 2.0, 7.0)
    found = load_lives(tmp_path)
    assert found is not None
    assert (found.at, found.sensors[0].rows) == (5.0, 0), "only a count has changed"
    life.failed("the port is gone")
    kept.keep(((life.told(3.0),), ()), 3.0, 8.0)
    found = load_lives(tmp_path)
    assert found is not None
    assert (found.at, found.sensors[0].state, found.sensors[0].error) == (8.0, "waiting", "the port is gone")
    (tmp_path / "sensors.json").write_bytes(b"{")
    assert load_lives(tmp_path) is None


def test_after_a_day_of_chaos_every_thread_runs_and_every_count_is_exact(tmp_path: Path) -> None:
    """Files rotate and vanish, rows are bad, the webhook answers wrongly: 400 turns, each representing minutes of a
    day.
    """
    log = tmp_path / "log.csv"
    log.write_text("x\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.came, server.answers = [], []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = WebhookSink(url=f"http://127.0.0.1:{server.server_port}/x", batch=10, batch_s=0.05)
    device = Sensors(tmp_path, follow(existing=True, sink=hook))
    good = bad = 0
    for turn in range(400):
        if turn % 5 == 4 and not server.answers:  # type: ignore[attr-defined]
            server.answers += [0, 503][: turn % 3]  # type: ignore[attr-defined]
        if turn % 20 == 19:
            log.rename(tmp_path / f"log.{turn}")
            log.write_text("x\n")
        with log.open("a") as file:
            file.write(f"{turn}\n" + ("\n" if turn % 7 else "broken,row\n"))
        good, bad = good + 1, bad + (turn % 7 == 0)
        if turn % 20 == 18:
            until(lambda want=good: len(device.answered) == want)  # type: ignore[misc]
    until(lambda: device.sensor.rows == good + bad)
    until(lambda: sum(taken(device)) == good)
    (sensor,), (sink,) = device.pipelines.lives()
    assert (sensor.answered, sensor.refused, sensor.state) == (good, bad, "running")
    took = [json.loads(body) for _, body, status in server.came if status == 200]  # type: ignore[attr-defined]
    assert sink.delivered == sum(map(len, took))
    assert sink.delivered > 300
    assert sink.failures > 0
    assert {"sensor-replay-1"} <= {thread.name for thread in threading.enumerate()}
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("wrong", ["loop = true", 'path = "x.csv.gz"', 'path = "x.parquet"'])
def test_a_file_that_cannot_grow_is_not_followed(tmp_path: Path, wrong: str) -> None:
    lines = {"kind": 'kind = "replay"', "model": 'model = "m"', "path": 'path = "x.csv"', "follow": "follow = true"}
    lines[wrong.split(" ", maxsplit=1)[0]] = wrong
    (tmp_path / "agent.toml").write_text('[device]\nname = "d"\n[[sensor]]\n' + "\n".join(lines.values()))
    with pytest.raises(BadInput, match="follow"):
        load_config(tmp_path / "agent.toml")


@pytest.mark.parametrize(
    "topics", ['labels_topic = "t"\nmetrics_topic = "t"', 'labels_topic = "rows"', 'metrics_topic = "rows"']
)
def test_rows_labels_and_metrics_need_different_topics(tmp_path: Path, topics: str) -> None:
    sensor = '[[sensor]]\nkind = "topic"\nmodel = "m"\ntopic = "rows"\n'
    (tmp_path / "agent.toml").write_text(f'[device]\nname = "d"\n[feedback]\n{topics}\n{sensor}')
    with pytest.raises(BadInput, match="named twice"):
        load_config(tmp_path / "agent.toml")


def test_a_closed_port_is_reported_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    config = WebhookSink(url=f"http://127.0.0.1:{port}/x")
    sink = SinkThread(config, tmp_path / "agent.toml", NoLink(), Counter())  # type: ignore[arg-type]
    sink.put(Prediction("m", 1, "a", 1.0))
    until(lambda: sink.life.undelivered == 1)
    assert "refused" in sink.life.error
    assert sink.life.state == "failing"


def test_two_sensors_of_one_topic_each_get_every_row(tmp_path: Path) -> None:
    device = Sensors(tmp_path, TopicSensor(model="m", topic="t"), TopicSensor(model="m", topic="t"))
    for number in range(3):
        assert device.pipelines.take("t", b'{"x": %d}' % number)
    until(lambda: len(device.answered) == 6)
    assert [each.answered for each in device.pipelines.lives()[0]] == [3, 3]
    device.pipelines.close()
    until(lambda: all(each.state == "ended" for each in device.pipelines.lives()[0]))


def test_what_was_not_opened_yet_is_neither_up_nor_down() -> None:
    sensor, sink = SensorLife("topic-1", "topic", "m"), SinkLife("webhook-1", "webhook")

    def ups() -> list[bytes]:
        facts = Facts(lives=((sensor.told(0.0),), (sink.told(0.0),)))
        page = exposition(Statistics(lambda: 0, lambda: 0.0, nullcontext()), {}, facts)
        return [
            line.rpartition(b" ")[2] for line in page.split(b"\n") if re.match(rb"edgeward_(sensor|sink)_up\{", line)
        ]

    assert ups() == []
    sensor.failed("gone")
    sink.took(1, 0.0)
    assert ups() == [b"0", b"1"]
