"""State of the fleet is in rows: a wave writes its changes only, old files are migrated once, kills lose nothing."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contract.errors import Code, WorldError
from controller.config import Config, StorageConfig
from controller.fleet.exclusion import Exclusion
from controller.fleet.twin import Assigned, Twin
from controller.reconcile.decisions import reconcile
from controller.reconcile.durable import MOVED_TABLES, TABLES, FleetRecords, rows_of_table
from controller.reconcile.old_words import in_words_of_now
from controller.reconcile.world import Durable, World
from controller.registry import fleet_tables
from controller.registry.fleet_tables import SET_ASIDE, FleetTables
from controller.rollout.model import Rollout
from controller.state import open_state
from controller.verbs.policies import all_policies
from firmware_sim.durable import DurableTables
from tests.controller.rollout_worlds import REFS, rollout, targets

OLD_DIRECTORY = Path(__file__).parents[1] / "data" / "before_sqlite"
"""Made by the controller of the last commit before SQLite: one version, three devices, one of them quarantined."""
FLEET = 10_000
KILLS = 15


def fleet_of(devices: int) -> tuple[World, FleetRecords, DurableTables, Rollout]:
    """A world of so many devices in one rollout that is durable already, and what it is written to."""
    names = [f"d{number:05d}" for number in range(devices)]
    twins = {name: Twin(name, document_version=1, seen_at=0.0, connected=True) for name in names}
    started = rollout(among=targets(names))
    world = World(silent_s=90.0, durable=Durable(twins, {started.id: started}))
    tables = DurableTables()
    records = FleetRecords(tables)
    records.save(world.durable, twins, world.durable.rollouts, [])
    tables.rows_written = tables.bytes_written = 0
    return world, records, tables, started


def test_a_wave_over_ten_thousand_devices_writes_only_the_devices_of_the_wave() -> None:
    world, records, tables, started = fleet_of(FLEET)
    changes = reconcile(world, [], 1.0)
    wave = started.devices_up_to(0)
    assert changes.redesired == set(wave)
    world.durable.rollouts[started.id] = replace(started, wave_done_at=1.0)
    records.save(world.durable, changes.redesired, {started.id}, changes.quarantined)
    assert tables.rows_written == len(wave) + 1 == FLEET // 5 + 1, "a row a device of the wave, one for the rollout"
    per_device = tables.bytes_written / len(wave)
    assert per_device < 1000
    tables.bytes_written = 0
    records.save(world.durable, [], {started.id}, [])
    assert tables.bytes_written < 5000, "where a rollout stands is written without its ten thousand members"


def test_a_late_device_adds_one_row_and_does_not_rewrite_all_members() -> None:
    world, records, tables, started = fleet_of(1000)
    late = replace(started.members[0], device="late", late=True)
    grown = replace(started, members=(*started.members, late), excluded={"small": Exclusion("hardware", "no memory")})
    world.durable.rollouts[started.id] = grown
    records.save(world.durable, [], {started.id}, [])
    assert tables.rows_written == 3
    records.save(world.durable, [], {started.id}, [])
    assert tables.rows_written == 4, "who is a member and who is left out has not changed"
    assert records.load_world({}, 90.0).durable.rollouts[started.id] == grown


def test_the_world_is_read_back_from_its_rows_unchanged(tmp_path: Path) -> None:
    tables = FleetTables(tmp_path / "fleet.sqlite", TABLES)
    records = FleetRecords(tables)
    assigned = Assigned(release=2, generation=7, rollout="r-1", digest=REFS[2].digest, offered_at=5.5)
    durable = Durable(
        {name: Twin(name, document_version=7, issued_at=9, desired={"m": assigned}, answered="n") for name in "zab"},
        {
            name: replace(rollout(), id=name, excluded={"x": Exclusion("hardware", "no memory")})
            for name in ("r-2", "r-1")
        },
        {"a": {"d" * 64: "r-1"}},
    )
    records.save(durable, durable.twins, durable.rollouts, durable.quarantine)
    tables.close()
    again = FleetRecords(FleetTables(tmp_path / "fleet.sqlite", TABLES)).load_world({}, 90.0).durable
    assert again == durable
    assert list(again.rollouts) == ["r-1", "r-2"], "in the order in which they were written first"


def test_a_transaction_that_fails_changes_nothing(tmp_path: Path) -> None:
    tables = FleetTables(tmp_path / "fleet.sqlite", ("a", "b"))
    tables.write({"a": {"k": b"1"}})
    tables._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(WorldError) as caught:
        tables.write({"a": {"k": b"2"}, "b": {"k": b"x" * 100_000}})
    assert caught.value.code == Code.DISK_FULL
    assert (tables.rows("a"), tables.rows("b")) == ({"k": b"1"}, {})
    with pytest.raises(ValueError, match="no table"):
        tables.write({"c": {}})


_WRITER = """
import sys
from pathlib import Path
from controller.registry.fleet_tables import FleetTables
tables = FleetTables(Path(sys.argv[1]), ("devices", "rollouts"))
number = len(tables.rows("rollouts"))
while True:
    body = b"%d" % number
    tables.write({"devices": {f"d{each}": body for each in range(20)}, "rollouts": {str(number): body}})
    print(number, flush=True)
    number += 1
"""


def test_a_kill_leaves_a_pass_completely_written_or_not_at_all(tmp_path: Path) -> None:
    rng, path = Random(7), tmp_path / "fleet.sqlite"
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            first = writer.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.03))
            writer.send_signal(signal.SIGKILL)
            acknowledged = max(int(line) for line in [first, *writer.stdout.read().splitlines()])
        tables = FleetTables(path, ("devices", "rollouts"))
        newest = len(tables.rows("rollouts")) - 1
        assert acknowledged <= newest <= acknowledged + 1
        assert set(tables.rows("devices").values()) == {b"%d" % newest}, "all devices of one pass, or none"
        tables.close()


def old_directory(tmp_path: Path) -> Path:
    shutil.copytree(OLD_DIRECTORY, tmp_path / "data")
    return tmp_path / "data"


def old_documents(table: str) -> dict[str, Any]:
    rows = json.loads((OLD_DIRECTORY / "tables" / f"{table}.json").read_text())["_default"].values()
    return {row["key"]: in_words_of_now(row["doc"]) for row in rows}


def test_a_directory_of_an_older_controller_is_migrated_without_loss(tmp_path: Path) -> None:
    directory = old_directory(tmp_path)
    state = open_state(Config(storage=StorageConfig(data_dir=str(directory))))
    durable = state.world.durable
    devices = old_documents("devices")
    assert {name: twin.document_version for name, twin in durable.twins.items()} == {"a": 1, "b": 1, "c": 1}
    for name, doc in devices.items():
        assert durable.twins[name].desired == msgspec.convert(doc["desired"], dict[str, Assigned])
    old = {name: msgspec.convert(doc, Rollout) for name, doc in old_documents("rollouts").items()}
    assert durable.rollouts == old
    assert durable.quarantine == {name: doc["digests"] for name, doc in old_documents("quarantine").items()} != {}
    assert state.records.encoded() == {tuple(key.split("/")) for key in old_documents("deliveries")}
    assert sum(map(len, durable.deliveries.values())) == 1, "the encoding that saved too little is no delivery"
    assert set(state.records.published()) == set(old_documents("published")) != set()
    assert state.registry.version("m", 1).passed, "what people write stays where it was"
    left = {path.name for path in (directory / "tables").iterdir()}
    assert {f"{table}.json{SET_ASIDE}" for table in MOVED_TABLES} <= left
    assert not {f"{table}.json" for table in MOVED_TABLES} & left
    state.close()


class Killed(BaseException):
    pass


def kills_at(number: int, patch: pytest.MonkeyPatch) -> None:
    """The migration is killed at step `number`: a file is read, rows are committed, a file is set aside."""
    steps = 0

    def cut(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*given: Any) -> Any:
            nonlocal steps
            found = function(*given)
            steps += 1
            if steps == number:
                raise Killed
            return found

        return step

    patch.setattr(fleet_tables, "read_table", cut(fleet_tables.read_table))
    patch.setattr(FleetTables, "_write", cut(FleetTables._write))
    patch.setattr(fleet_tables, "_set_aside", cut(fleet_tables._set_aside))


def test_a_migration_killed_at_any_step_is_correct_when_it_is_repeated(tmp_path: Path) -> None:
    whole = FleetTables(tmp_path / "whole.sqlite", TABLES)
    whole.take_over(old_directory(tmp_path / "whole") / "tables", MOVED_TABLES, rows_of_table)
    for number in range(1, 3 * len(MOVED_TABLES) + 1):
        directory, path = old_directory(tmp_path / str(number)) / "tables", tmp_path / f"{number}.sqlite"
        with pytest.MonkeyPatch.context() as patch:
            kills_at(number, patch)
            killed = FleetTables(path, TABLES)
            with pytest.raises(Killed):
                killed.take_over(directory, MOVED_TABLES, rows_of_table)
            killed.close()
        again = FleetTables(path, TABLES)
        again.take_over(directory, MOVED_TABLES, rows_of_table)
        assert {table: again.rows(table) for table in TABLES} == {table: whole.rows(table) for table in TABLES}
        again.close()


def test_a_migrated_file_never_overwrites_newer_rows(tmp_path: Path) -> None:
    """Killed between the commit and the rename, the old file is still there at the next start."""
    directory = old_directory(tmp_path) / "tables"
    tables = FleetTables(tmp_path / "fleet.sqlite", TABLES)
    tables.take_over(directory, MOVED_TABLES, rows_of_table)
    tables.write({"devices": {"a": b"newer"}})
    aside = directory / f"devices.json{SET_ASIDE}"
    aside.replace(directory / "devices.json")
    tables.take_over(directory, MOVED_TABLES, rows_of_table)
    assert tables.rows("devices")["a"] == b"newer"
    assert aside.exists()


def test_the_database_is_synced_at_every_commit(tmp_path: Path) -> None:
    tables = FleetTables(tmp_path / "fleet.sqlite", TABLES)
    pragmas = {name: tables._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}


def test_a_policy_stored_in_the_old_words_is_still_valid(tmp_path: Path) -> None:
    state = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    strategy = {"name": "s", "waves": [{"percent": 100}], "trial": {"share": "0.5", "window": 50}}
    state.store.put("deployments", {"m": {"strategy": strategy, "selector": {"window": "north"}}})
    policy = all_policies(state)["m"]
    assert (str(policy.strategy.trial.traffic_share), policy.strategy.trial.judged_inferences) == ("0.5", 50)
    assert policy.selector == {"window": "north"}
    state.close()
