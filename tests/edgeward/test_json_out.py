"""A command that changes something answers with JSON for a script and with words for a person."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from edgeward.cli import backup, certificate, device, device_labels, label, lineage, rollout_looks, stick, token
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


class Written(Answers):
    """A controller whose answers go to files."""

    def __getattr__(self, name: str) -> Any:
        if name == "label":
            return lambda model, labels: len(labels)
        if name in ("export_stick", "import_stick"):
            plain = {"devices": ["a"], "size_bytes": 1000, "missing": {}, "taken": 2, "refused": 0}
            return lambda *_: SimpleNamespace(plain=plain, **plain)
        if name == "export_lineage":
            return lambda *_, **__: 1000
        return super().__getattr__(name)


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (("stick", "export", "--out", "stick"), "size_bytes", "1.0 kB in stick for a"),
        (("stick", "import", "."), "taken", "2 messages taken, 0 refused"),
        (("label", "give", "weather/812", "rain"), "labelled", "1 of 1 rows of weather have a label now"),
        (("lineage", "export", "weather@3", "--out", "proof"), "size_bytes", "1.0 kB of weather@3 in proof"),
        (("trust", "init", "keys"), "threshold", "offline/"),
        (("audit", "verify", "--file", "audit.json"), "entries", "unbroken: 0 entries"),
    ],
)
def test_what_writes_files_says_in_words_or_as_json_what_it_wrote(
    words: tuple[str, ...], key: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in (stick, label, lineage):
        monkeypatch.setattr(module, "Client", Written)
    monkeypatch.chdir(tmp_path)
    Path("audit.json").write_text('{"entries": [], "witness": "", "seal": "", "faults": []}', encoding="utf-8")
    assert said in CliRunner().invoke(cli, words).output
    shutil.rmtree("keys", ignore_errors=True)
    ended = CliRunner().invoke(cli, [*words, "--json"])
    assert ended.exit_code == 0, ended.output
    assert key in json.loads(ended.stdout)


def test_a_backup_is_asked_for_as_json_of_the_program_that_makes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        backup.subprocess, "run", lambda words, check: asked.append(words) or SimpleNamespace(returncode=0)
    )
    for verb in ("backup", "restore"):
        assert CliRunner().invoke(cli, [verb, "b.tar", "--data-dir", "d", "--json"]).exit_code == 0
        assert asked[-1][1:] == [verb, "b.tar", "--data-dir", "d", "--json"]
