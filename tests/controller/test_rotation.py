"""Keys of a fleet that its controller made itself are replaced by the controller, and every device follows."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract import topics
from contract.errors import BadInput, Code
from contract.trust import chain, repository
from controller.api.app import make_app
from controller.broker.retained import RetainedState
from controller.clock import today
from controller.config import Config, StorageConfig
from controller.fleet.twin import Twin
from controller.state import State, open_state
from controller.trust.rotation import Role
from controller.verbs import trust
from tests.controller.test_operators import Caller, token
from tests.controller.test_retained import Broker
from tests.controller.test_rollout_plan import MANIFEST

ROLES: tuple[Role, ...] = ("director", "timestamp", "snapshot", "targets", "root", "release")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    made.trust_metadata.vouch("m", {1: replace(MANIFEST, release=1)}, today())
    yield made
    made.close()


def keys_of(state: State, role: Role) -> tuple[str, ...]:
    files = state.trust_metadata.files
    match role:
        case "root":
            return repository.signers_wanted(files, "root")[0]
        case "targets":
            return repository.targets_keyids(files)
        case "release":
            return tuple(repository.signers_of(files, "m"))
        case _:
            return repository.online_keyids(files)[role]


@pytest.mark.parametrize("role", ROLES)
def test_a_key_is_replaced_and_a_device_that_knows_the_old_one_accepts_the_new_one(
    state: State, role: Role, tmp_path: Path
) -> None:
    def follow(trusted: chain.Trusted) -> chain.Trusted:
        trust_bundle = state.trust_metadata.trust_bundle()
        while (version := chain.missing_root(trusted, trust_bundle)) is not None:
            trusted = chain.take_root(trusted, state.trust_metadata.files[f"{version}.root.json"])
        found = chain.follow(trusted, trust_bundle, today())
        return chain.take_role(found, "m", state.trust_metadata.role("m") or b"", today())

    known = follow(chain.trust_root(state.trust_metadata.root()))
    before = keys_of(state, role)
    for _ in range(2):
        made = trust.rotate(state, role, actor="ada")
        assert keys_of(state, role) == (made.keyid,) != before
        known = follow(known)
    assert follow(chain.trust_root(state.trust_metadata.files["1.root.json"])).roles == known.roles
    entry = state.journal.audit_entries()[0]
    assert (entry["actor"], entry["action"], entry["subject"]) == ("ada", "trust rotate", role)
    again = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    manifests = {release: replace(MANIFEST, release=release) for release in (1, 2)}
    assert again.trust_metadata.vouch("m", manifests, today()), "the new key is there after a restart"
    assert again.trust_metadata.vouch("n", {1: replace(MANIFEST, release=1)}, today()), "for a new model, too"
    newest = state.trust_metadata.keys.release
    assert newest is not None
    assert repository.signers_of(again.trust_metadata.files, "n") == {newest.public_key.keyid}
    again.close()


def test_a_rotation_that_needs_keys_from_elsewhere_says_so_and_changes_nothing(state: State) -> None:
    files, ring = state.trust_metadata.files, state.trust_metadata.keys
    for keyid in (*repository.signers_wanted(files, "root")[0], *repository.targets_keyids(files)):
        del ring._by_id[keyid]
    for role in ROLES:
        with pytest.raises(BadInput, match="--keys DIRECTORY") as refused:
            trust.rotate(state, role, actor="ada")
        assert refused.value.code == Code.SIGNATURE_INVALID
    assert state.trust_metadata.files == files


async def nothing_lost(_: Any) -> set[Any]:
    return set()


def test_documents_of_another_director_replace_the_old_ones_at_once(state: State) -> None:
    """A device that comes later would refuse what the old key has signed, for half of a document's life."""
    state.world.durable.twins["a"] = Twin("a", document_version=3, issued_at=3)
    made, broker = (
        RetainedState(
            state.world.durable, state.publisher, state.records, state.skipped, state.foreign, lost=nothing_lost
        ),
        Broker(),
    )
    made.link = broker  # type: ignore[assignment]
    asyncio.run(made.restore())
    made.follow_director()
    assert broker.topics.count(topics.desired("a")) == 1
    trust.rotate(state, "director", actor="ada")
    made.follow_director()
    made.follow_director()
    assert broker.topics.count(topics.desired("a")) == 2


def test_only_an_administrator_rotates(state: State) -> None:
    async def talk() -> None:
        async with TestClient(TestServer(make_app(state, "edg_local"))) as client:
            call = Caller(client)
            for role, status in (("operator", 403), ("approver", 403), ("admin", 200)):
                given = token(state, role, role)  # type: ignore[arg-type]
                body = {"json": {"role": "timestamp"}}
                assert (await call(given, "POST", "/v1/trust/rotate", **body))[0] == status

    asyncio.run(talk())
