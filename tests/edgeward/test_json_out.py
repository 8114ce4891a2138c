"""A command that changes something answers with JSON for a script and with words for a person."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from edgeward.cli import certificate, device, device_labels, rollout_looks, token
from edgeward.cli.main import cli

DONE = SimpleNamespace(
    plain={"done": True}, serial="7", subject="cam-1", name="north", labels={"site": "north"}, token="edg_x",
    note=None, ticket="", comments=("a",), reviews=(SimpleNamespace(who="mara", done_at=""),),
)  # fmt: skip


class Answers:
    """A controller that accepts every call."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self if name == "open_rollout" else 1 if name == "revoke" else DONE


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("token", "create", "ci", "--role", "viewer"), "edg_x"),
        (("token", "revoke", "1"), "revoked 1"),
        (("certificate", "revoke", "7"), "revoked 7 of cam-1"),
        (("device", "enrol", "cam-1"), "wrote claim.json"),
        (("device", "revoke", "cam-1"), "revoked 1 certificate of cam-1"),
        (("selector", "delete", "north"), "deleted north: site=north"),
        (("rollout", "note", "r-1", ""), "removed"),
        (("rollout", "ticket", "r-1", ""), "no ticket"),
        (("rollout", "comment", "r-1", "a"), "1 comment"),
        (("rollout", "review", "r-1", "mara"), "waits for the look of mara"),
    ],
)
def test_a_change_is_answered_in_words_or_as_json(
    words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in (certificate, device, device_labels, rollout_looks, token):
        monkeypatch.setattr(module, "Client", Answers)
    monkeypatch.chdir(tmp_path)
    assert said in CliRunner().invoke(cli, words).output
    Path("claim.json").unlink(missing_ok=True)
    ended = CliRunner().invoke(cli, [*words, "--json"])
    assert (ended.exit_code, len(json.loads(ended.stdout))) == (0, 1), ended.output
