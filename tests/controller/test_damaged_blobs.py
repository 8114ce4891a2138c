"""Every route answers with a code, and none with "internal", where a file of the registry is missing or damaged."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace

from contract.blobs import describe
from contract.errors import BadInput, Code
from controller.api.app import make_app
from controller.api.route import Route
from controller.api.routes import ROUTES
from controller.api.version_views import version_detail
from controller.config import Config, StorageConfig
from controller.fleet.twin import Assigned, Twin
from controller.registry.data_sets import Chosen, DataSets
from controller.registry.version import Removal
from controller.rollout.strategies import STRATEGIES
from controller.state import State, open_state
from controller.verbs import drift, erasures, intact, rollouts
from controller.verbs.alerts import alert_facts
from controller.verbs.drift import look
from controller.verbs.gates import stored_form
from controller.verbs.health import facts_of
from tests.controller.registry_worlds import CHUNK_BYTES, version
from tests.controller.test_data_sets import captured, keep, make

AUTH = {"Authorization": "Bearer edg_test"}
MODEL, GOLDEN = b"model", b"golden"
DIGESTS = [describe(data, CHUNK_BYTES).sha256 for data in (MODEL, GOLDEN)]
STREAMS = {"/v1/events", "/v1/live"}
"""Routes that answer for as long as the caller listens."""
NAMES = {
    "model": "m", "version": "1", "release": "1", "before": "1", "after": "2", "device": "cam-1", "other": "2",
    "name": "rows",
}  # fmt: skip
READS_GOLDEN = ("/v1/models/{model}/drift", "/v1/models/{model}/fairness", "/v1/models/{model}/signals")
READS_ROWS = ("/v1/data/{name}/versions/{version}/file", "/v1/data/{name}/compare/{before}/{after}")
EXPECTED = {
    **dict.fromkeys(READS_GOLDEN, (503, Code.STORE_CORRUPT, "the golden set of m v2 cannot be read")),
    **dict.fromkeys(READS_ROWS, (503, Code.STORE_CORRUPT, "the file of rows@1 is")),
}
"""What a route that reads a file answers: status, code, and how its words begin."""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path))))
    golden = version().manifest.golden
    for data in (MODEL, GOLDEN):
        made.blobs.put(data)
    mine = version(golden=replace(golden, blob=describe(GOLDEN, CHUNK_BYTES)))
    made.registry.add(mine)
    made.registry.add(version(2, golden=mine.manifest.golden))
    made.world.durable.twins["cam-1"] = Twin("cam-1")
    keep(made, "cam-1", 1, *map(captured, range(4)))
    make(made)
    made.captures.label("m", {1: "rain"}, 1000.0)
    make(made)
    yield made
    made.close()


def harm(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"?" + path.read_bytes()[1:])


def rows_path(state: State, number: int = 1) -> Path:
    return state.data_sets._path(state.data_sets.find(f"rows@{number}"))


def harm_all(state: State, how: str) -> None:
    for digest in DIGESTS:
        harm(state.blobs.path(digest), how)
    for number in (1, 2):
        harm(rows_path(state, number), how)


def path_of(route: Route) -> str:
    return re.sub(r"\{(\w+)\}", lambda named: NAMES.get(named[1], "x"), route.path)


def answers(state: State, routes: list[Route]) -> dict[str, tuple[int, dict[str, Any]]]:
    async def all_of_them() -> dict[str, tuple[int, dict[str, Any]]]:
        found = {}
        async with TestClient(TestServer(make_app(state, "edg_test"))) as client:
            for route in routes:
                answer = await client.get(path_of(route), headers=AUTH, allow_redirects=False)
                said = await answer.json() if answer.content_type == "application/json" else {}
                found[route.path] = answer.status, said if isinstance(said, dict) else {}
        return found

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_no_route_that_reads_answers_internal_while_every_file_of_the_registry_is_bad(state: State, how: str) -> None:
    harm_all(state, how)
    asked = [route for route in ROUTES if route.method == "GET" and route.path not in STREAMS]
    found = answers(state, asked)
    assert {path: said for path, said in found.items() if said[0] == 500} == {}
    for path, (status, code, words) in EXPECTED.items():
        assert (found[path][0], found[path][1].get("code")) == (status, code), path
        assert found[path][1]["detail"].startswith(words), path
    assert {path for path, said in found.items() if said[1].get("code") == Code.STORE_CORRUPT} == set(EXPECTED)


def test_the_routes_of_the_table_answer_well_where_nothing_is_bad(state: State) -> None:
    found = answers(state, [route for route in ROUTES if route.path in READS_ROWS])
    assert {path: status for path, (status, _) in found.items()} == dict.fromkeys(READS_ROWS, 200)


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_the_address_of_a_bad_blob_and_of_its_chunks(state: State, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device verifies what it receives, so a damaged blob is sent as it is; the list of its chunks is made here."""
    blob = describe(MODEL, CHUNK_BYTES)
    monkeypatch.setattr(state.records, "published", lambda: {blob.sha256: blob})
    harm(state.blobs.path(blob.sha256), how)
    blobs = Route("nothing", "GET", f"/v1/blobs/{blob.sha256}", None, "", bytes)  # type: ignore[arg-type]
    chunks = Route("nothing", "GET", f"/v1/blobs/{blob.sha256}.list", None, "", bytes)  # type: ignore[arg-type]
    found = answers(state, [blobs, chunks])
    assert found[blobs.path][0] == (404 if how == "missing" else 200)
    wanted = (404, Code.UNKNOWN_BLOB) if how == "missing" else (503, Code.STORE_CORRUPT)
    assert (found[chunks.path][0], found[chunks.path][1]["code"]) == wanted


def test_drift_of_a_version_is_shown_despite_a_damaged_version_beside_it(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_only(_: State, model: str, manifest: Any) -> Any:
        if manifest.release == 2:
            raise BadInput(Code.STORE_CORRUPT, "the golden set of m v2 cannot be read")
        return drift.read_reference({}, manifest)

    monkeypatch.setattr(drift, "_reference", first_only)
    assert asyncio.run(look(state, "m", 1, 1e9)).release == 1


def test_drift_of_a_version_whose_blobs_were_deleted_says_by_whom(state: State) -> None:
    state.registry.remove({("m", 1): Removal(by="ada", at="2026-01-02")})
    with pytest.raises(BadInput, match=r"version_removed.*deleted by ada at 2026-01-02"):
        asyncio.run(look(state, "m", 1, 1e9))


def test_a_version_without_a_file_is_refused_and_says_how_it_comes_back(state: State) -> None:
    second = state.registry.version("m", 2)
    assert intact.lost_words(state, second) == ""
    harm(state.blobs.path(DIGESTS[1]), "missing")
    words = (
        f"the golden set of m v2 cannot be read (blob {DIGESTS[1][:12]} is missing): "
        "restore it from a backup, or push that version again"
    )
    state.trust_metadata.signed = lambda _: {1, 2}  # type: ignore[assignment, method-assign, return-value]
    for verb in (
        lambda: rollouts.preview(state, "m", 2, STRATEGIES["all_at_once"], {}),
        lambda: rollouts.start(state, "m", 2, STRATEGIES["all_at_once"], {}, actor="ada"),
    ):
        with pytest.raises(BadInput) as refused:
            verb()
        assert (refused.value.code, refused.value.detail) == (Code.STORE_CORRUPT, words)
    assert version_detail(state, second).lost == words
    state.blobs.path(DIGESTS[0]).write_bytes(b"mode")
    assert intact.lost_words(state, second).startswith(f"the model of m v2 cannot be read (blob {DIGESTS[0][:12]} is d")


def test_a_blob_that_could_not_be_published_is_named_with_its_version_and_its_repair(state: State) -> None:
    name = f"blob {DIGESTS[0]}"
    state.skipped.failed(name, BadInput(Code.STORE_CORRUPT, f"{name[:17]} is damaged; restore it from a backup"), 0.0)
    assert intact.looks(state) == {}, "no device is told to run it"
    state.world.durable.twins["cam-1"] = Twin("cam-1", desired={"m": Assigned(release=2, generation=1, rollout="r-1")})
    ((shown, fault),) = facts_of(state).skipped.items()
    assert shown == f"{name[:17]} of m v2"
    assert fault.endswith(" is damaged: restore it from a backup, or push that version again")
    assert alert_facts(state).looks == {"not_published": "edgeward model show m@2"}
    assert intact.lost_words(state, state.registry.version("m", 2)) == "", "it was mended since"
    harm(state.blobs.path(DIGESTS[0]), "damaged")
    assert "is damaged)" in intact.lost_words(state, state.registry.version("m", 2)), "its size alone does not tell"


def test_a_damaged_champion_is_named_at_a_push(state: State) -> None:
    harm(state.blobs.path(DIGESTS[0]), "damaged")
    with pytest.raises(BadInput, match=r"store_corrupt.*m v1 cannot be read"):
        stored_form(state, state.registry.version("m", 1))


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_deletion_deletes_a_data_set_that_cannot_be_read_and_goes_on(state: State, how: str) -> None:
    harm(rows_path(state), how)
    wanted = erasures.ErasureWanted("a person asked", keys=("person-0",))
    asked = asyncio.run(erasures.request(state, wanted, actor="ada"))
    first, second = state.data_sets.all("rows")
    assert (first.sha256, first.deleted_why) == ("", f"deletion {asked.order.id}: {_words(how)}")
    assert (second.rows, second.erased_rows) == (2, 2)
    assert asked.data_sets == {"rows@1": 4, "rows@2": 2}
    assert not rows_path(state).exists()


def _words(how: str) -> str:
    return f"the file of rows@1 is {how}: restore it from a backup, or delete it with edgeward data delete"


def test_a_deletion_that_is_killed_before_it_replaces_a_file_is_completed_at_the_next_start(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    found = state.data_sets.find("rows@1")
    left = state.data_sets.without(found, Chosen(erasures.Erasure(id="o", keys=("person-0",)), None, frozenset()))
    assert left is not None
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            state.data_sets.put_left(left, at="now", why="x")
    remains = rows_path(state, 2)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            state.data_sets.delete(state.data_sets.find("rows@2"), at="now", why="x")
    assert remains.exists()
    again = DataSets(state.config.data_dir / "data_sets")
    now = again.find("rows@1")
    assert (now.rows, now.erased_rows) == (2, 2)
    assert len(again.content(now)) == now.size_bytes
    assert not remains.exists(), "deleted rows stay in no file"
    again.close()
