"""A removed end of the audit is found from the first entry on, by the seal and the first timestamps."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from contract import audit as chain
from contract.errors import Code, WorldError
from contract.wire import decode, encode
from controller.clock import stamp, today
from controller.config import Config, StorageConfig
from controller.health import findings_of
from controller.registry.journal import Journal
from controller.service import Service
from controller.state import State, open_state
from controller.trust import audit_seal
from controller.trust.audit_seal import Seal
from controller.verbs import audit
from controller.verbs.health import facts_of


def opened(tmp_path: Path) -> State:
    return open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))


def lived(tmp_path: Path, entries: int = 3) -> None:
    """Returns a controller that has started for the first time, was asked for something, and has ended."""
    state = opened(tmp_path)
    audit.begin(state)
    for number in range(entries):
        state.journal.audit(stamp(), "ada", "push", f"m v{number}")
    state.close()


def cut(tmp_path: Path, above: int) -> None:
    """Acts as an attacker with the disk: removes triggers, then the end of the audit."""
    database = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    database.executescript("DROP TRIGGER audit_keeps_all; DROP TRIGGER audit_is_append_only;")
    database.execute("DELETE FROM audit WHERE id > ?", (above,))
    database.close()


def faults_at_start(tmp_path: Path) -> tuple[str, list[str], list[str], list[str]]:
    """Returns (faults at the start, codes of health, later actions of the audit, the verdict of `verify`)."""
    state = opened(tmp_path)
    audit.begin(state)
    codes = [each.code for each in findings_of(facts_of(state))]
    actions = [each["action"] for each in state.journal.whole_audit()]
    found = state.audit_fault, codes, actions, audit.whole(state)[1]
    state.close()
    return found


@pytest.mark.parametrize("left", [0, 1, 3])
def test_an_entry_cut_off_before_any_device_had_a_checkpoint_is_reported(tmp_path: Path, left: int) -> None:
    lived(tmp_path)
    assert faults_at_start(tmp_path)[0] == ""
    cut(tmp_path, left)
    found, codes, actions, verified = faults_at_start(tmp_path)
    assert "cut off" in found
    assert "audit_broken" in codes
    assert actions[left:] == ["audit broken", "controller start"]
    assert found in verified
    again = faults_at_start(tmp_path)
    assert again[0] == "", "from then on entries are sealed anew"
    assert "audit_broken" in again[1], "and it is said until somebody has looked into it"
    (tmp_path / "audit.seal-broken").unlink()
    assert "audit_broken" not in faults_at_start(tmp_path)[1]


def test_a_rewritten_audit_is_reported(tmp_path: Path) -> None:
    lived(tmp_path)
    cut(tmp_path, 0)
    forged = Journal(tmp_path / "journal.sqlite")
    for number in range(9):
        forged.audit(stamp(), "nobody", "push", f"m v{number}")
    forged.close()
    assert "written anew" in faults_at_start(tmp_path)[0]


def test_a_removed_or_foreign_seal_is_reported(tmp_path: Path) -> None:
    lived(tmp_path)
    cut(tmp_path, 2)
    path = tmp_path / "audit.seal"
    seal = decode(path.read_bytes(), Seal)
    journal = Journal(tmp_path / "journal.sqlite")
    path.write_bytes(encode(Seal(checkpoint=journal.checkpoint(), keyid=seal.keyid, signature=seal.signature)))
    journal.close()
    assert "written by somebody else" in faults_at_start(tmp_path)[0]
    for name in ("audit.seal", "audit.seal-broken"):
        (tmp_path / name).unlink()
    assert "removed" in faults_at_start(tmp_path)[0]


def test_an_audit_from_before_seals_is_sealed_without_a_message(tmp_path: Path) -> None:
    state = opened(tmp_path)
    state.journal.seal = lambda _: None
    state.journal.audit(stamp(), "ada", "push", "m v1")
    state.close()
    assert faults_at_start(tmp_path)[0] == ""
    assert (tmp_path / "audit.seal").exists()
    assert faults_at_start(tmp_path)[0] == ""


def test_a_seal_is_valid_after_the_timestamps_key_was_replaced(tmp_path: Path) -> None:
    from contract.trust import repository
    from controller.trust.keys import load_signer, make_next

    lived(tmp_path)
    state = opened(tmp_path)
    made = make_next(tmp_path / "keys", "timestamp", today())
    state.trust_metadata.keys.add(made)
    files = state.trust_metadata.files
    replace = {"timestamp": (repository.online_keyids(files)["timestamp"][0], made.public_key)}
    root = load_signer(tmp_path / "keys" / "root.pem")
    state.trust_metadata.accept(
        {"2.root.json": repository.rotate_root(files, today(), [root], replace=replace)["2.root.json"]}, today()
    )
    state.close()
    assert faults_at_start(tmp_path)[0] == "", "the seal is the old key's"
    lived(tmp_path, 1)
    cut(tmp_path, 2)
    assert "cut off" in faults_at_start(tmp_path)[0], "and the new key's as well"


def test_a_disk_that_accepts_no_seal_keeps_the_entry_and_the_next_one_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = opened(tmp_path)
    audit.begin(state)

    def full(*_: object) -> None:
        raise WorldError(Code.DISK_FULL, "full")

    with monkeypatch.context() as failing:
        failing.setattr(audit_seal, "replace_file", full)
        state.journal.audit(stamp(), "ada", "push", "m v1")
    assert state.audit_seal.checkpoint.startswith("1:")
    assert chain.faults(state.journal.whole_audit(), [state.audit_seal.checkpoint]) == [], "one behind is no fault"
    state.journal.audit(stamp(), "ada", "push", "m v2")
    assert state.audit_seal.checkpoint == state.journal.checkpoint()
    state.close()


def test_timestamps_contain_the_checkpoint_of_the_audit_from_its_first_entry_on(tmp_path: Path) -> None:
    state = opened(tmp_path)
    audit.begin(state)
    asyncio.run(Service(state).one_pass())
    assert state.trust_metadata.audit_witness() == state.journal.checkpoint(), "not twelve hours later"
    state.journal.audit(stamp(), "ada", "push", "m v1")
    asyncio.run(Service(state).one_pass())
    assert state.trust_metadata.audit_witness().startswith("1:"), "and not with each entry: devices keep each on flash"
    state.close()


def test_the_first_download_of_a_root_is_audited_once(tmp_path: Path) -> None:
    for _ in range(2):
        state = opened(tmp_path)
        audit.tell_new_root(state)
        audit.tell_new_root(state)
        found = [each["subject"] for each in state.journal.whole_audit() if each["action"] == "trust publish"]
        assert found == ["root 1"]
        state.close()
