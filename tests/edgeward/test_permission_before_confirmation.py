"""A missing permission is reported before a command asks for a confirmation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contract.errors import BadInput, Code
from controller.clock import stamp
from controller.config import Config, StorageConfig
from controller.state import State, open_state
from controller.trust.access import Role
from controller.verbs import tokens
from edgeward.cli.main import cli
from edgeward.transport import Transport
from tests.controller.reconcile_worlds import campaign
from tests.controller.test_api import call, meet


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    meet(made, "d0", "d1")
    behind: dict[str, Any] = {"proposers": ("ada",), "created_by": "ada", "created_at": stamp()}
    made.save_rollouts(campaign("d0", "d1", release=1, status="proposed", **behind))
    yield made
    made.close()


def ended(state: State, monkeypatch: pytest.MonkeyPatch, role: Role, *words: str, name: str = "lena") -> Any:
    """Returns (error code, output) of a command of a person with a role."""
    _, token = tokens.create_token(state, name, (role,), days=1, actor="test")

    def answered(method: str, path: str, **options: Any) -> Any:
        status, body = call(state, method, path, headers={"Authorization": f"Bearer {token}"}, **options)
        if status >= 400:
            raise BadInput(Code(body["code"]), body["detail"])
        return body

    monkeypatch.setattr(Transport, "get", lambda self, path, also=(): answered("GET", path))
    monkeypatch.setattr(Transport, "post", lambda self, path, body=None: answered("POST", path, json=body or {}))
    monkeypatch.setenv("EDGEWARD_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("EDGEWARD_TOKEN", token)
    done = CliRunner().invoke(cli, [*words], input="y\n")
    return getattr(done.exception, "code", ""), done.output


def test_a_forbidden_approval_is_refused_before_a_confirmation(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ended(state, monkeypatch, "viewer", "rollout", "approve", "r") == (Code.FORBIDDEN, "")
    assert ended(state, monkeypatch, "approver", "rollout", "approve", "r", name="ada") == (Code.FOUR_EYES, "")
    assert ended(state, monkeypatch, "approver", "rollout", "approve", "gone")[0] == Code.UNKNOWN_ROLLOUT
    code, said = ended(state, monkeypatch, "approver", "rollout", "approve", "r", name="jonas")
    assert "start? [y/N]: y" in said
    assert (code, state.world.durable.rollouts["r"].status) == ("", "running")


@pytest.mark.parametrize("verb", ["retire", "unquarantine"])
def test_a_forbidden_bulk_command_is_refused_before_a_confirmation(
    state: State, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    assert ended(state, monkeypatch, "viewer", "device", verb, "d0", "d1") == (Code.FORBIDDEN, "")
    assert "Type 2 to go on" in ended(state, monkeypatch, "operator", "device", verb, "d0", "d1")[1]
