"""Numbers, semantic versions, aliases, notes, waivers, comparisons and the retention rule of versions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from contract.errors import BadInput, Code
from contract.manifest import Tensor
from controller.config import Config, FleetConfig, StorageConfig
from controller.gates.verdict import GateVerdict, Waiver
from controller.registry import registry as registry_room
from controller.registry.aliases import Alias, Aliases
from controller.registry.compare import compare_versions
from controller.registry.notes import MAX_TAGS, NoteStore
from controller.registry.registry import Registry
from controller.registry.retention import retained, unshared
from controller.registry.semver import next_semver
from controller.registry.store import TinyStore
from controller.registry.version import Environment, SourceCode, Told
from controller.state import State, open_state
from controller.verbs import versions as version_verbs
from controller.verbs.push import finish_interrupted
from controller.written import MAX_COMMENTS, Written
from tests.controller.registry_worlds import INPUT, LABEL, converted, data_digest, plant, pushed, version
from tests.controller.test_api import call

__all__ = ["plant"]
FAILED = GateVerdict(gate="size", passed=False, detail="9 MB, limit 8 MB", remedy="a smaller form")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = open_state(Config(storage=StorageConfig(data_dir=str(tmp_path / "data"))))
    yield made
    made.close()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(TinyStore(tmp_path))
    for release in (1, 2, 3):
        made.add(version(release, artifact=b"model %d" % release))
    return made


def refused(act: Any) -> BadInput:
    with pytest.raises(BadInput) as caught:
        act()
    return caught.value


TRAINED = {"data": data_digest("a"), "params": {"depth": "3"}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"columns": ("a", "c", "b")}, "2.0.0"),
        ({}, {"inputs": (replace(INPUT, shape=(-1, 4)),)}, "2.0.0"),
        ({}, {"task": "regression"}, "2.0.0"),
        ({}, {"outputs": ()}, "2.0.0"),
        (TRAINED, {**TRAINED, "outputs": (LABEL, Tensor(name="scores", datatype="FP32", shape=(-1, 2)))}, "1.3.0"),
        (TRAINED, {**TRAINED, "data": data_digest("b")}, "1.3.0"),
        (TRAINED, {**TRAINED, "params": {"depth": "4"}}, "1.3.0"),
        (TRAINED, {**TRAINED, "estimator": "Forest"}, "1.3.0"),
        ({}, {}, "1.3.0"),
        (TRAINED, TRAINED, "1.2.8"),
    ],
    ids=[
        "columns in another order", "another width", "another task", "an output is gone", "an output more",
        "other data", "other parameters", "another estimator", "unknown data", "the same training",
    ],
)  # fmt: skip
def test_a_semantic_version_says_what_callers_must_change(before: Any, after: Any, expected: str) -> None:
    assert next_semver(version(1, semver="1.2.7", **before), version(2, **after)) == expected


def test_the_first_semantic_version_is_1_0_0() -> None:
    assert next_semver(None, version()) == "1.0.0"
    assert next_semver(version(semver=""), version(2)) == "1.0.0"


def test_a_version_is_named_by_number_semantic_version_alias_and_newest(registry: Registry, tmp_path: Path) -> None:
    aliases = Aliases(TinyStore(tmp_path), registry)
    assert aliases.set("m", "champion", Alias(release=2, by="ada", at="t")) is None
    for text in ("2", "v2", "1.2.0", "champion", 2):
        assert aliases.resolve("m", text) == 2
    assert aliases.resolve("m", "newest") == 3
    before = aliases.set("m", "champion", Alias(release=3, by="bob", at="t"))
    assert before is not None
    assert before.release == 2
    assert Aliases(TinyStore(tmp_path), registry).resolve("m", "champion") == 3
    assert aliases.naming("m", 3) == ("champion",)
    aliases.remove("m", "champion")
    unknown = refused(lambda: aliases.resolve("m", "champion"))
    assert (unknown.code, "aliases: none" in unknown.detail) == (Code.UNKNOWN_VERSION, True)
    assert refused(lambda: aliases.resolve("m", "9")).code == Code.UNKNOWN_VERSION
    assert refused(lambda: aliases.resolve("x", "champion")).code == Code.UNKNOWN_MODEL


@pytest.mark.parametrize("name", ["3", "v3", "newest", "Champion", "", "a b", "1.0.0"])
def test_an_alias_that_has_another_meaning_is_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    aliases = Aliases(TinyStore(tmp_path), registry)
    alias = Alias(release=1, by="ada", at="t")
    assert refused(lambda: aliases.set("m", name, alias)).code == Code.NAME_INVALID


def test_versions_are_written_into_tables_of_limited_size_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_room, "VERSIONS_PER_TABLE", 2)
    made = Registry(TinyStore(tmp_path))
    for release in range(1, 6):
        made.add(version(release))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["versions-2.json", "versions-3.json", "versions.json"]
    again = Registry(TinyStore(tmp_path))
    assert [each.release for each in again.versions("m")] == [1, 2, 3, 4, 5]
    assert again.next_release("m") == 6
    with pytest.raises(ValueError, match="exists"):
        again.add(version(1))


def test_tags_a_note_and_comments_are_stored_with_author_and_time(registry: Registry, tmp_path: Path) -> None:
    registry.add(version(4, tags={"site": "oslo"}))
    notes = NoteStore(TinyStore(tmp_path), registry)
    assert notes.of("m", 4).tags == {"site": "oslo"}
    notes.tag("m", 4, {"job": "17", "site": None})
    notes.write_note("m", 4, Written(text="with the new sensor", by="ada", at="t1"))
    notes.comment("m", 4, Written(text="looks good", by="bob", at="t2"))
    found = NoteStore(TinyStore(tmp_path), registry).of("m", 4)
    assert (found.tags, found.note, [each.by for each in found.comments]) == (
        {"job": "17"},
        Written(text="with the new sensor", by="ada", at="t1"),
        ["bob"],
    )
    assert notes.write_note("m", 4, Written(text=" ", by="ada", at="t3")).note is None


def test_notes_have_limits(registry: Registry, tmp_path: Path) -> None:
    notes = NoteStore(TinyStore(tmp_path), registry)
    text = Written(text="x", by="ada", at="t")
    for act in (
        lambda: notes.tag("m", 1, {f"k{number}": "v" for number in range(MAX_TAGS + 1)}),
        lambda: notes.tag("m", 1, {"": "v"}),
        lambda: notes.tag("m", 1, {"k": "v" * 600}),
        lambda: notes.comment("m", 1, replace(text, text=" ")),
        lambda: notes.write_note("m", 1, replace(text, text="x" * 9000)),
    ):
        assert refused(act).code == Code.REQUEST_INVALID
    for number in range(MAX_COMMENTS):
        notes.comment("m", 1, replace(text, by=f"author-{number % 4}"))
    assert refused(lambda: notes.comment("m", 1, replace(text, by="jon"))).code == Code.REQUEST_INVALID
    assert refused(lambda: notes.comment("m", 9, text)).code == Code.UNKNOWN_VERSION


def test_a_waived_gate_lets_a_version_pass_and_stays_visible(registry: Registry, tmp_path: Path) -> None:
    registry.add(version(4, gates=(version().gates[0], FAILED)))
    assert not registry.version("m", 4).passed
    assert registry.newest_passed("m").release == 3
    registry.waive("m", 4, "size", Waiver(by="ada", at="t", reason="the new gateways have room"))
    again = Registry(TinyStore(tmp_path)).version("m", 4)
    assert again.passed
    assert again.gates[1].waiver == Waiver(by="ada", at="t", reason="the new gateways have room")
    assert not again.gates[1].passed, "what the gate has said stays as it was"
    for gate in ("parity", "colour"):
        waiver = Waiver(by="ada", at="t", reason="r")
        assert (
            "failed gates: size"
            in refused(lambda gate=gate, waiver=waiver: registry.waive("m", 4, gate, waiver)).detail
        )  # type: ignore[misc]


def test_a_gate_must_be_waived_by_another_person_if_four_eyes_are_required(tmp_path: Path) -> None:
    config = Config(storage=StorageConfig(data_dir=str(tmp_path)), fleet=FleetConfig(four_eyes=True))
    state = open_state(config)
    state.registry.add(version(gates=(FAILED,), created_by="local:ada"))
    same = refused(lambda: version_verbs.waive(state, "m", 1, "size", reason="r", actor="ada"))
    empty = refused(lambda: version_verbs.waive(state, "m", 1, "size", reason=" ", actor="bob"))
    assert (same.code, empty.code) == (Code.FOUR_EYES, Code.REQUEST_INVALID)
    assert version_verbs.waive(state, "m", 1, "size", reason="r", actor="bob").passed
    entry = state.journal.audit_entries(1, wanted=registry_audit("gate waive"))[0]
    assert (entry["actor"], entry["subject"], entry["detail"]) == ("bob", "m v1", "size: r")
    state.close()


def registry_audit(action: str) -> Any:
    from controller.registry.journal import AuditFilter

    return AuditFilter(action=action)


def test_two_versions_are_compared_by_section() -> None:
    before = version(1, metrics={"f1": 0.8}, params={"depth": "3"}, code=SourceCode(revision="a" * 40, dirty=False))
    after = version(2, artifact=b"longer model", metrics={"f1": 0.9}, params={"depth": "4"}, columns=("a", "c", "b"))
    environments = tuple(Environment(python="3.11", platform="x", packages={"numpy": each}) for each in ("2.3", "2.4"))
    found = compare_versions(before, after, environments)  # type: ignore[arg-type]
    told = {(each.section, each.name): (each.before, each.after) for each in found.differences}
    assert told["metrics", "f1"] == (0.8, 0.9)
    assert told["parameters", "depth"] == ("3", "4")
    assert told["size", "artifact_bytes"] == (5, 12)
    assert told["lineage", "revision"] == ("a" * 40, None)
    assert told["environment", "numpy"] == ("2.3", "2.4")
    assert told["signature", "columns"] == (["a", "b", "c"], ["a", "c", "b"])
    assert found.interface_change == "its columns come in another order"
    assert not found.same_artifact
    assert compare_versions(before, before).differences == ()


def test_the_newest_and_the_needed_versions_keep_their_blobs() -> None:
    known = [version(release, artifact=b"m%d" % release) for release in range(1, 7)]
    known[5] = replace(known[5], gates=(FAILED,))
    rule = retained(known, {2: "edge-1 has it"}, keep_newest=2)
    assert rule.removable == [1, 3]
    assert rule.kept[2] == "edge-1 has it"
    assert set(rule.kept) == {2, 4, 5, 6}, "the newest two that passed, and the newest of all"
    with pytest.raises(ValueError, match="at least the newest"):
        retained(known, {}, keep_newest=0)


def test_a_blob_that_a_kept_version_uses_too_is_kept() -> None:
    one, other = version(1, artifact=b"same"), version(2, artifact=b"same")
    assert unshared([one], [other]) == frozenset()
    assert unshared([one], [version(3, artifact=b"else")]) == one.digests


def test_blobs_are_deleted_a_day_after_they_were_marked_and_a_push_restores_them(
    state: State, plant: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        plant(converted(b"onnx %d" % number))
        pushed(state, tmp_path)
    state.aliases.set("m", "champion", Alias(release=2, by="ada", at="t"))
    first = state.registry.version("m", 1)
    assert version_verbs.clean(state, "m", keep_newest=1, apply=False, actor="ada").marked == [1]
    assert version_verbs.clean(state, "m", keep_newest=1, apply=True, actor="ada").marked == [1]
    again = version_verbs.clean(state, "m", keep_newest=1, apply=True, actor="ada")
    assert (again.marked, again.removed, again.removed_bytes) == ([], [], 0), "a backup may be under way"
    assert all(state.blobs.path(digest).exists() for digest in first.digests)
    status, answer = call(state, "POST", "/v1/rollouts", json={"model": "m", "release": 1})
    assert (status, answer["code"]) == (409, "version_removed")
    monkeypatch.setattr(version_verbs, "stamp", lambda: "2099-01-01T00:00:00+00:00")
    later = version_verbs.clean(state, "m", keep_newest=1, apply=True, actor="ada")
    assert later.removed == [1]
    assert later.removed_bytes == first.manifest.artifact.length + first.manifest.golden.blob.length
    assert not any(state.blobs.path(digest).exists() for digest in first.digests)
    assert state.registry.version("m", 1) == first, "the version and its evidence stay"
    plant(converted(b"onnx 0"))
    back = pushed(state, tmp_path)
    assert (back.version.release, back.new) == (1, False)
    assert all(state.blobs.get(digest) for digest in first.digests)
    assert state.registry.removal("m", 1) is None


def test_the_same_bytes_make_no_new_version(state: State, plant: Any, tmp_path: Path) -> None:
    plant(converted())
    assert (pushed(state, tmp_path).new, pushed(state, tmp_path).new) == (True, False)
    assert [each.release for each in state.registry.versions("m")] == [1]
    entry = state.journal.audit_entries(1)[0]
    assert (entry["action"], entry["detail"]) == ("push again", "the same bytes as v1: no version was made")
    assert "version tag" not in {each["action"] for each in state.journal.audit_entries(10)}
    plant(converted(columns=("a", "b", "x")))
    assert pushed(state, tmp_path).version.semver == "2.0.0"
    assert pushed(state, tmp_path, model="other").new, "another model has versions of its own"


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_push_of_the_same_bytes_mends_blobs_that_are_missing_or_damaged(
    state: State, plant: Any, tmp_path: Path, how: str
) -> None:
    plant(converted())
    digests = pushed(state, tmp_path).version.digests
    for digest in digests:
        path = state.blobs.path(digest)
        path.unlink()
        if how == "damaged":
            path.write_bytes(b"?")
    plant(converted())
    again = pushed(state, tmp_path)
    assert (again.new, again.mended) == (False, True)
    assert all(state.blobs.get(digest) for digest in digests)
    assert state.journal.audit_entries(1)[0]["detail"].endswith(
        "its files were missing or damaged, and are there again"
    )


def test_a_push_of_existing_bytes_sets_its_tags_and_names_what_the_version_does_not_take(
    state: State, plant: Any, tmp_path: Path
) -> None:
    plant(converted())
    pushed(state, tmp_path, tags={"site": "oslo"}, told=Told(metrics={"f1": 0.9}, licence="MIT"))
    told = Told(metrics={"f1": 0.95}, licence="MIT", run="r2")
    again = pushed(state, tmp_path, tags={"site": "oslo", "job": "7"}, told=told)
    assert (again.tags_added, again.tags_replaced, again.not_taken) == ({"job": "7"}, {}, ("metrics", "run"))
    assert not again.mended
    assert state.notes.of("m", 1).tags == {"job": "7", "site": "oslo"}
    assert state.registry.version("m", 1).lineage.metrics == {"f1": 0.9}
    entry = state.journal.audit_entries(1)[0]
    assert (entry["action"], entry["subject"], entry["detail"]) == ("version tag", "m v1", "job=7")
    third = pushed(state, tmp_path, tags={"site": "bergen"})
    assert (third.tags_added, third.tags_replaced) == ({"site": "bergen"}, {"site": "oslo"})
    assert state.journal.audit_entries(1)[0]["detail"] == "site=bergen in place of oslo"


def test_bytes_that_fail_are_refused_again_and_make_no_second_version(state: State, plant: Any, tmp_path: Path) -> None:
    plant(converted(differing=100))
    for _ in range(2):
        assert refused(lambda: pushed(state, tmp_path)).code == Code.PARITY_FAILED
    assert [each.release for each in state.registry.versions("m")] == [1]


def test_lineage_stores_what_was_pushed_and_each_environment_once(state: State, plant: Any, tmp_path: Path) -> None:
    environment = Environment(python="3.11.7", platform="Linux x86_64", packages={"numpy": "2.4"})
    told = Told(
        data=data_digest("a"), code=SourceCode(revision="c" * 40, dirty=True), environment=environment,
        params={"depth": "3"}, metrics={"f1": 0.9}, licence="Apache-2.0",
    )  # fmt: skip
    plant(converted(b"one"))
    first = pushed(state, tmp_path, told=told).version
    plant(converted(b"two"))
    second = pushed(state, tmp_path, told=replace(told, parent="1.0.0")).version
    assert (second.lineage.parent, second.semver) == (1, "1.0.1")
    assert second.lineage.environment_sha256 == first.lineage.environment_sha256
    assert len(state.store.all("environments")) == 1
    shown = call(state, "GET", "/v1/models/m/versions/2")[1]
    assert shown["lineage"]["code"] == {"revision": "c" * 40, "dirty": True}
    assert shown["environment"]["packages"] == {"numpy": "2.4"}
    assert (shown["licence"], shown["metrics"]) == ("Apache-2.0", {"f1": 0.9})
    for wrong in (Told(parent="9"), Told(metrics={"f1": float("inf")}), Told(params={str(n): 0 for n in range(300)})):
        assert refused(lambda wrong=wrong: pushed(state, tmp_path, told=wrong)).code in (  # type: ignore[misc]
            Code.UNKNOWN_VERSION,
            Code.REQUEST_INVALID,
        )


def test_a_push_that_was_killed_after_the_version_was_durable_is_completed_at_the_next_start(
    state: State, plant: Any, tmp_path: Path
) -> None:
    plant(converted())
    pushed(state, tmp_path)
    state.registry.add(version(2, artifact=b"other"))
    assert state.trust_metadata.signed("m") == {1}
    assert finish_interrupted(state) == ["m v2"]
    assert state.trust_metadata.signed("m") == {1, 2}
    state.registry.add(version(3, artifact=b"third"))
    state.journal.audit("t", "ada", "push", "m v3")
    assert finish_interrupted(state) == ["m v3"], "it was in the audit, and the kill came before the signature"
    assert state.trust_metadata.signed("m") == {1, 2, 3}
    assert [each["subject"] for each in state.journal.audit_entries(9, wanted=registry_audit("push"))][1] == "m v2"
    assert finish_interrupted(state) == []


def test_versions_are_named_and_written_about_through_the_api(state: State) -> None:
    state.registry.add(version())
    assert call(state, "PUT", "/v1/models/m/aliases/champion", json={"version": "v1"})[1]["release"] == 1
    one = "/v1/models/m/versions/champion"
    assert call(state, "PUT", f"{one}/tags", json={"tags": {"site": "oslo"}})[1]["tags"] == {"site": "oslo"}
    assert call(state, "PUT", f"{one}/note", json={"text": "for winter"})[1]["note"]["by"] == "local:ada"
    assert len(call(state, "POST", f"{one}/comments", json={"text": "good"})[1]["comments"]) == 1
    shown = call(state, "GET", one)[1]
    assert (shown["release"], shown["aliases"], shown["notes"]["note"]["text"]) == (1, ["champion"], "for winter")
    found = call(state, "GET", "/v1/versions?where=alias.champion = true&where=tag.site = oslo&text=winter")[1]
    assert (found["total"], found["versions"][0]["release"]) == (1, 1)
    assert call(state, "GET", "/v1/models/m/compare/champion/1")[1]["differences"] == []
    assert call(state, "DELETE", "/v1/models/m/aliases/champion")[1] == []
    assert call(state, "GET", "/v1/versions?where=alias.champion = true")[1]["total"] == 0
    actions = [each["action"] for each in state.journal.audit_entries(5)]
    assert actions == ["alias remove", "version comment", "version note", "version tag", "alias set"]


def test_a_withdrawn_or_waived_version_is_found_as_such_at_once(state: State) -> None:
    state.registry.add(version(gates=(FAILED,)))
    state.registry.add(version(2, artifact=b"other"))

    def total(condition: str) -> int:
        return int(call(state, "GET", f"/v1/versions?where={condition}")[1]["total"])

    assert (total("passed = true"), total("withdrawn = yes")) == (1, 0)
    call(state, "POST", "/v1/models/m/versions/2/withdraw", json={"reason": "r"})
    call(state, "POST", "/v1/models/m/versions/1/waive", json={"gate": "size", "reason": "r"})
    assert (total("passed = true"), total("withdrawn = yes")) == (2, 1)
    assert call(state, "GET", "/v1/models")[1] == [
        {"name": "m", "versions": 2, "newest_release": 2, "newest_passed": 1, "devices": 0}
    ]
