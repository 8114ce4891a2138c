"""A server that sends a byte now and then cannot hold an enrolment, a renewal or a call to MLflow."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.adapters.timely import open_url
from agent.trust import enrol
from contract.enrolment import RenewRequest
from contract.errors import Code, WorldError
from edgeward.exports import mlflow_server
from edgeward.runs import tracking
from edgeward.within import within

WITHIN_S = 0.3
PATIENCE_S = 20.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n"


@pytest.fixture(params=["in its headers", "in its body"])
def slow_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that sends a byte every 20 ms and never comes to the end of its headers, or its body."""
    ended = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.1)

    def serve(caller: socket.socket) -> None:
        with caller:
            try:
                caller.recv(65_536)
                caller.sendall(HEAD + (b"\r\n" if request.param == "in its body" else b"X-Slow: "))
                while not ended.wait(0.02):
                    caller.sendall(b" ")
            except OSError:
                return

    def accept() -> None:
        while not ended.is_set():
            try:
                caller, _ = listening.accept()
            except TimeoutError:
                continue
            threading.Thread(target=serve, args=(caller,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    ended.set()
    thread.join(PATIENCE_S)
    listening.close()


def test_a_renewal_ends_although_bytes_still_come(slow_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrol, "HTTP_S", WITHIN_S)
    began = time.monotonic()
    with pytest.raises(WorldError) as caught:
        enrol.ask_renewal(slow_server, RenewRequest(certificate="c", csr="r", signature="s"), open_url)
    assert caught.value.code == Code.CONTROLLER_UNREACHABLE
    assert time.monotonic() - began < PATIENCE_S


def test_a_model_of_a_slow_mlflow_is_given_up(
    slow_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_server, "ANSWER_S", WITHIN_S)
    with pytest.raises(WorldError, match=r"no whole answer in 0\.3 s"):
        mlflow_server.fetch_model("models:/rain/1", tmp_path, slow_server)


def test_a_run_goes_on_although_mlflow_is_slow(
    slow_server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "ANSWER_S", WITHIN_S)
    run = tracking.open_tracking(slow_server, "rain", "r-1")
    assert run is not None
    run.params({"depth": "3"})
    assert "told nothing more of this run, which goes on: no whole answer in 0.3 s" in capsys.readouterr().err


def test_a_call_in_time_returns_its_result_or_raises_what_it_raises() -> None:
    assert within(PATIENCE_S, lambda: 7) == 7
    assert within(PATIENCE_S, lambda: None) is None
    with pytest.raises(ValueError, match="wrong"):
        within(PATIENCE_S, lambda: int("wrong"))
