"""A long push prints how much of it was sent, on a screen and in a log."""

import http.server
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from contract.errors import Code, WorldError
from edgeward.cli import push_progress
from edgeward.cli.push_progress import LINE_S, QUIET_S, PushProgress
from edgeward.multipart import Multipart
from edgeward.sending import ToldBody
from edgeward.settings import Settings
from edgeward.transport import Transport

MB = 1_000_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_short_push_prints_no_progress() -> None:
    clock, said = Clock(), []
    progress = PushProgress("m.onnx", clock, show=said.append, line=said.append)
    clock.now = QUIET_S - 0.1
    progress.sent(5 * MB, 10 * MB)
    assert said == []


def test_on_a_terminal_the_share_is_drawn_with_each_piece_and_then_the_next_step() -> None:
    clock, drawn, lines = Clock(), [], []
    progress = PushProgress("m.onnx", clock, show=drawn.append, line=lines.append)
    clock.now = QUIET_S
    for sent in (4_200_000, 9_999_999, 10 * MB, 10 * MB):
        progress.sent(sent, 10 * MB)
    converting = "converting m.onnx: parity, golden set, limits"
    assert drawn == [
        "sending m.onnx: 42 % of 10.0 MB", "sending m.onnx: 99 % of 10.0 MB", f"sent 10.0 MB; {converting}",
    ]  # fmt: skip
    assert lines == []


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end() -> None:
    clock, lines = Clock(), []
    progress = PushProgress("m.onnx", clock, show=None, line=lines.append)
    for number in range(31):
        clock.now = float(number)
        progress.sent((number + 1) * MB, 31 * MB)
    assert [line.split(":")[1].split(" %")[0].strip() for line in lines[:-1]] == ["19", "51", "83"]
    assert lines[-1].startswith("sent 31.0 MB; converting")
    assert LINE_S == 10.0


def test_the_share_of_a_conversion_is_said_with_its_step_from_five_seconds_on() -> None:
    clock, drawn, lines = Clock(), [], []
    shown = PushProgress("m.onnx", clock, show=drawn.append, line=drawn.append)
    logged = PushProgress("m.onnx", clock, show=None, line=lines.append)
    for second, (words, ratio) in enumerate([("converting it", 0.2), *[("converting it", 0.3)] * 6, ("judging", 0.9)]):
        clock.now = float(second)
        for each in (shown, logged):
            each.at_step(words, ratio)
    assert drawn == ["m.onnx: 30 % done, converting it"] * 2 + ["m.onnx: 90 % done, judging"]
    assert lines == ["m.onnx: 30 % done, converting it", "m.onnx: 90 % done, judging"], "a log has each step once"


class Controller:
    """Answers which pushes are under way, as a client does, and ends the looking with its last answer."""

    def __init__(self, ended: threading.Event, *answers: Any) -> None:
        self._ended, self._answers = ended, list(answers)

    def pushes(self) -> list[Any]:
        found = self._answers.pop(0)
        if not self._answers:
            self._ended.set()
        if isinstance(found, Exception):
            raise found
        return found


@pytest.mark.parametrize("last", [[], WorldError(Code.CONTROLLER_UNREACHABLE, "gone")])
def test_the_newest_push_of_the_model_is_followed_until_it_ends(monkeypatch: pytest.MonkeyPatch, last: Any) -> None:
    monkeypatch.setattr(push_progress, "LOOK_S", 0.001)
    clock, drawn, ended = Clock(), [], threading.Event()
    progress = PushProgress("m.onnx", clock, show=drawn.append, line=drawn.append)
    progress.sent(1, 1)
    clock.now = 9.0
    others = SimpleNamespace(model="other", step="gates", words="judging", ratio=0.9)
    behind = SimpleNamespace(model="m", step="receive", words="receiving", ratio=0.0)
    mine = SimpleNamespace(model="m", step="convert", words="converting it", ratio=0.25)
    client: Any = Controller(ended, [mine, behind, others], last)
    push_progress.follow(progress, client, "m", ended)
    assert drawn == ["m.onnx: 25 % done, converting it"]


def test_a_body_that_was_read_to_its_end_has_reported_all_bytes() -> None:
    told: list[tuple[int, int]] = []
    body = Multipart({"model": ("m", b"x" * 100, "application/octet-stream")})
    while ToldBody(body, lambda sent, total: told.append((sent, total))).read(64):
        pass
    assert [total for _, total in told] == [body.size_bytes] * len(told)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
    assert told[-1] == (body.size_bytes, body.size_bytes)


@pytest.fixture
def server() -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    made = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}", got
    made.shutdown()
    thread.join()
    made.server_close()


def test_a_push_sends_every_byte_and_reports_each_piece(server: tuple[str, list[bytes]]) -> None:
    url, got = server
    told: list[tuple[int, int]] = []
    parts = {"model": b"m" * 300_000}
    Transport(Settings(url, "t")).push("/v1/x", {}, parts, lambda sent, total: told.append((sent, total)))
    (body,) = got
    assert b"m" * 300_000 in body
    assert told[-1] == (len(body), len(body))
    assert len({sent for sent, _ in told}) > 5
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
