"""A stick is written and read part by part: missing or damaged parts are named, and all others are complete."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contract.blobs import Blob as Described
from contract.blobs import describe
from contract.errors import BadInput, Code, WorldError
from edgeward import Client
from edgeward.cli.main import cli
from edgeward.demo.processes import wait_for

GOOD, DAMAGED, LOST = (describe(data, 1024) for data in (b"good", b"damaged", b"lost"))


def plain(blob: Described) -> dict[str, Any]:
    return {name: getattr(blob, name) for name in blob.__struct_fields__}


class Controller:
    """Answers in place of the transport: one blob is complete, one is damaged, one is missing."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.fetched = {GOOD.sha256: b"good", DAMAGED.sha256: b"DAMAGED"}
        self.away = False

    def get(self, path: str, **_: Any) -> Any:
        assert path.startswith("/v1/stick")
        blobs = [plain(blob) for blob in (DAMAGED, LOST, GOOD)]
        return {"documents": {"t": "text"}, "blobs": blobs, "devices": ["a"], "missing": {"b": "unknown_version"}}

    def fetch(self, path: str) -> bytes:
        if self.away:
            raise WorldError(Code.CONTROLLER_UNREACHABLE, "it is away")
        found = self.fetched.get(path.rpartition("/")[2])
        if found is None:
            raise BadInput(Code.UNKNOWN_BLOB, "no such blob")
        return found

    def post(self, path: str, body: Any = None) -> Any:
        self.taken.append(body)
        return {"taken": len(body["messages"]), "refused": 0}


@pytest.fixture
def controller() -> Controller:
    return Controller()


@pytest.fixture
def client(controller: Controller) -> Client:
    made = Client("http://127.0.0.1:1", "token")
    made._transport = controller  # type: ignore[assignment]
    return made


def test_damaged_and_missing_blobs_are_named_and_all_others_are_copied(client: Client, tmp_path: Path) -> None:
    found = client.export_stick([], tmp_path)
    assert found.devices == ("a",)
    assert found.size_bytes == len(b"good")
    assert (tmp_path / GOOD.sha256).read_bytes() == b"good"
    assert not (tmp_path / DAMAGED.sha256).exists()
    assert json.loads((tmp_path / "documents.json").read_text()) == {"documents": {"t": "text"}}
    assert set(found.missing) == {"b", f"blob {DAMAGED.sha256[:12]}", f"blob {LOST.sha256[:12]}"}
    assert "unknown_blob" in found.missing[f"blob {LOST.sha256[:12]}"]


def test_an_unreachable_controller_is_not_a_missing_blob(
    client: Client, controller: Controller, tmp_path: Path
) -> None:
    controller.away = True
    with pytest.raises(WorldError, match="it is away"):
        client.export_stick([], tmp_path)


def test_the_command_names_missing_blobs_and_fails(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeward.cli.stick.Client", lambda: client)
    done = CliRunner().invoke(cli, ["stick", "export", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "missing b: unknown_version" in done.output
    assert "for a" in done.output


def test_an_unreadable_file_does_not_stop_the_others(client: Client, controller: Controller, tmp_path: Path) -> None:
    (tmp_path / "from-a.json").write_text("{")
    (tmp_path / "from-b.json").write_text('{"messages":[{"topic":"t","text":"{}"}]}')
    with pytest.raises(BadInput, match=r"from-a\.json"):
        client.import_stick(tmp_path)
    assert len(controller.taken) == 1


def test_an_empty_answer_does_not_end_a_wait() -> None:
    answers: list[Any] = [None, False, [], (), "", 0, ["found"]]
    assert wait_for("something", lambda: answers.pop(0), within_s=5) == ["found"]
    with pytest.raises(WorldError):
        wait_for("something", list, within_s=0.2)
