"""HTTP requests and sensor rows to one device, one in five bad, with their expected counts."""

import http.client
import json
import os
import pty
import socket
import struct
import tty
from pathlib import Path
from random import Random
from typing import Any

import paho.mqtt.client as mqtt

from contract.errors import Code
from tests.integration.counted_truth import BAD, MACHINES, Truth

INFER = "/v2/models/plant/infer"
HEADER = "Inference-Header-Content-Length"


def tensor(name: str, datatype: str, data: list[Any], **changes: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(data), 1], "datatype": datatype, "data": data} | changes


class Http:
    """Requests over HTTP, as JSON and as raw tensors, of one row and of many."""

    def __init__(self, port: int, rng: Random) -> None:
        self._port = port
        self._rng = rng
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.truth = Truth()
        self.gone = 0
        """Requests whose client disconnected at once: answered or cancelled, which the test cannot know."""

    def one(self) -> None:
        """Sends one request."""
        if self._rng.random() < BAD:
            self._rng.choice((self._bad_json, self._bad_json, self._bad_json, self._bad_binary, self._odd))()
        else:
            self._good()

    def _inputs(self, rows: int) -> list[dict[str, Any]]:
        numbers = [[round(self._rng.gauss(0.0, 1.0), 3) for _ in range(rows)] for _ in range(2)]
        names = [self._rng.choice(MACHINES) for _ in range(rows)]
        return [tensor("t", "FP32", numbers[0]), tensor("v", "FP32", numbers[1]), tensor("machine", "BYTES", names)]

    def _good(self) -> None:
        rows = self._rng.choice((1, 1, 1, 1, 2, 20, 200))
        inputs = self._inputs(rows)
        status, told = self._binary(inputs) if self._rng.random() < 0.5 else self._json({"inputs": inputs})
        assert status == 200, told
        self.truth.answered(int(told["model_version"]), rows)

    def _bad_json(self) -> None:
        inputs = self._inputs(1)
        at, change, code = self._rng.choice(
            [
                (0, {"shape": [1, 2], "data": [0.5, 0.5]}, Code.TENSORS_INVALID),
                (0, {"data": ["warm"]}, Code.TENSORS_INVALID),
                (0, {"data": [None]}, Code.VALUE_MISSING),
                (1, {"data": [float("nan")]}, Code.VALUE_MISSING),
                (0, {"data": [1e39]}, Code.VALUE_RANGE),
                (0, {"datatype": "FP64"}, Code.TENSORS_INVALID),
                (1, {"name": "temperature"}, Code.TENSORS_INVALID),
                (1, {"name": "t"}, Code.TENSORS_INVALID),
                (0, {"shape": [2, 1], "data": [0.5, 0.5]}, Code.TENSORS_INVALID),
                (2, {"data": [3.5]}, Code.TENSORS_INVALID),
                (2, {"data": [None]}, Code.VALUE_MISSING),
            ]
        )
        inputs[at] |= change
        self._refused({"inputs": inputs}, code)

    def _bad_binary(self) -> None:
        raws = self._raws(self._inputs(1))
        change, code = self._rng.choice(
            [
                ({2: struct.pack("<I", 2) + b"\xff\xfe"}, Code.TENSORS_INVALID),
                ({2: struct.pack("<I", 90) + b"lathe"}, Code.TENSORS_INVALID),
                ({0: b"\0\0"}, Code.TENSORS_INVALID),
                ({0: struct.pack("<f", float("nan"))}, Code.VALUE_MISSING),
                ({0: struct.pack("<f", float("inf"))}, Code.VALUE_RANGE),
            ]
        )
        for at, raw in change.items():
            raws[at] = (raws[at][0], raw)
        status, told = self._post(*self._packed(raws))
        assert status == 400, told
        self.truth.refused[code] += 1

    def _odd(self) -> None:
        kinds = (self._cancelled, self._no_json, self._too_large, self._damaged, self._no_model, self._no_output)
        self._rng.choice(kinds)()

    def _cancelled(self) -> None:
        asked = {"inputs": self._inputs(1), "parameters": {"timeout": 1}}
        self._refused(asked, Code.REQUEST_CANCELLED, 503)

    def _no_json(self) -> None:
        status, told = self._post(b'{"inputs": [', {})
        assert status == 400, told
        self.truth.refused[Code.REQUEST_INVALID] += 1

    def _no_output(self) -> None:
        self._refused({"inputs": self._inputs(1), "outputs": [{"name": "colour"}]}, Code.REQUEST_INVALID)

    def _too_large(self) -> None:
        head = f"POST {INFER} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as raw:
            raw.sendall(head.encode())
            assert raw.recv(100).startswith(b"HTTP/1.1 413")
        self.truth.refused[Code.MESSAGE_TOO_LARGE] += 1

    def _damaged(self) -> None:
        status, told = self._post(b"no gzip", {"Content-Encoding": "gzip"})
        assert status == 400, told
        self.truth.refused[Code.REQUEST_INVALID] += 1

    def _no_model(self) -> None:
        status, told = self._post(b"{}", {}, "/v2/models/factory/infer")
        assert status == 404, told
        self.truth.elsewhere += 1

    def leave(self) -> None:
        """Sends a request and disconnects before the answer."""
        body = json.dumps({"inputs": self._inputs(1)}).encode()
        head = f"POST {INFER} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self._port), timeout=30) as raw:
            raw.sendall((head.encode() + body) * 2)
        self.gone += 2

    def _refused(self, asked: Any, code: Code, status: int = 400) -> None:
        found, told = self._json(asked)
        assert found == status, (code, told)
        self.truth.refused[code] += 1

    def _json(self, asked: Any) -> tuple[int, Any]:
        return self._post(json.dumps(asked).encode(), {})

    def _binary(self, inputs: list[dict[str, Any]]) -> tuple[int, Any]:
        return self._post(*self._packed(self._raws(inputs)))

    @staticmethod
    def _raws(inputs: list[dict[str, Any]]) -> list[tuple[dict[str, Any], bytes]]:
        found = []
        for each in inputs:
            cells = each["data"]
            if each["datatype"] == "BYTES":
                raw = b"".join(struct.pack("<I", len(cell)) + cell.encode() for cell in cells)
            else:
                raw = struct.pack(f"<{len(cells)}f", *cells)
            found.append(({name: each[name] for name in ("name", "shape", "datatype")}, raw))
        return found

    @staticmethod
    def _packed(raws: list[tuple[dict[str, Any], bytes]]) -> tuple[bytes, dict[str, str]]:
        inputs = [part | {"parameters": {"binary_data_size": len(raw)}} for part, raw in raws]
        head = json.dumps({"inputs": inputs}).encode()
        return head + b"".join(raw for _, raw in raws), {HEADER: str(len(head))}

    def _post(self, body: bytes, headers: dict[str, str], path: str = INFER) -> tuple[int, Any]:
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())


class Lines:
    """Sensor rows as lines of JSON. Each has a key, and some have a label."""

    def __init__(self, prefix: str, rng: Random) -> None:
        self._prefix = prefix
        self._rng = rng
        self.labels: dict[str, int] = {}
        """The label of each good row by its key."""
        self.good: set[str] = set()
        self.truth = Truth()

    def one(self) -> bytes:
        """Returns the next line without its line end."""
        key = f"{self._prefix}{self.truth.requests + len(self.good)}"
        row: dict[str, Any] = {"t": round(self._rng.gauss(0.0, 1.0), 3), "v": 0.5, "machine": "press", "key": key}
        if self._rng.random() < BAD:
            return self._bad(row)
        self.good.add(key)
        if self._rng.random() < 0.3:
            self.labels[key] = row["scrap"] = self._rng.randrange(2)
        return json.dumps(row).encode()

    def _bad(self, row: dict[str, Any]) -> bytes:
        change, code = self._rng.choice(
            [
                ({"t": "warm"}, Code.SAMPLE_INVALID),
                ({"t": float("nan")}, Code.VALUE_MISSING),
                ({"v": None}, Code.VALUE_MISSING),
                ({"t": 1e39}, Code.VALUE_RANGE),
                ({"machine": "\ud800"}, Code.SAMPLE_INVALID),
                ({"t": [1]}, Code.SAMPLE_INVALID),
                (None, Code.SAMPLE_INVALID),
                (b"\xff\xfe not text", None),
                (b'{"t": 1', None),
                (b"[1, 2]", None),
            ]
        )
        if code is None:
            self.truth.elsewhere += 1
            return bytes(change)  # type: ignore[arg-type]
        self.truth.refused[code] += 1
        if change is None:
            return json.dumps({"t": 0.5, "machine": "press"}).encode()
        return json.dumps(row | change).encode()  # type: ignore[operator]

    @property
    def bad(self) -> int:
        """Rows that get no answer."""
        return self.truth.refused.total() + self.truth.elsewhere


class FollowedFile:
    """A log file to which lines are appended, and which is rotated from time to time."""

    def __init__(self, path: Path, lines: Lines) -> None:
        self.path = path
        self.lines = lines

    def send(self, count: int) -> None:
        with self.path.open("ab") as file:
            file.write(b"".join(self.lines.one() + b"\n" for _ in range(count)))


class Topic:
    """Messages to a topic of the broker. Send fewer at a time than may wait for the model."""

    def __init__(self, client: mqtt.Client, topic: str, lines: Lines) -> None:
        self._client = client
        self._topic = topic
        self.lines = lines

    def send(self, count: int) -> None:
        sent = [self._client.publish(self._topic, self.lines.one(), qos=1) for _ in range(count)]
        for each in sent:
            each.wait_for_publish(30)


class SerialPort:
    """A serial line: a pseudo-terminal whose other end the device reads."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self._end, other = pty.openpty()
        tty.setraw(other)
        self.name = os.ttyname(other)
        self._other = other

    def begin(self) -> None:
        """Ends a possible half line; it is not counted. The device has opened the port and emptied it."""
        os.write(self._end, b"\n")

    def send(self, count: int) -> None:
        for _ in range(count):
            line = self.lines.one() + b"\n"
            while line:
                line = line[os.write(self._end, line) :]

    def close(self) -> None:
        os.close(self._end)
        os.close(self._other)
