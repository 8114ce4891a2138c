"""What each ceremony and each refresh writes: versions, expiries, keys and thresholds."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Targets

from contract.errors import BadInput, Code
from contract.protocol import MAX_ROOTS_IN_TRUST_BUNDLE
from contract.trust import repository
from contract.trust.documents import sign
from contract.trust.repository import LIFE_DAYS, Online
from contract.trust.verified import Trusted, role_expiries
from firmware_sim.fleet_keys import FIRST, KEYS, RELEASE, ROOTS, TARGETS, WORLD_BEGAN, signer, vouched
from firmware_sim.models import make_model

NOW = WORLD_BEGAN
DAY = timedelta(days=1)
AT = int(NOW.timestamp())
DAY_S = 86_400
MANIFESTS = {release: make_model(release, "good").manifest for release in (3, 4)}
FILES = vouched(FIRST, "m", {3: MANIFESTS[3]}, NOW)
CREATED = repository.create(
    ROOTS, 2, TARGETS, {name: signer(name).public_key for name in ("snapshot", "timestamp", "director")}, NOW
)


def signed(text: str) -> Any:
    return Metadata.from_bytes(text.encode()).signed


def signers(text: str) -> set[str]:
    return set(Metadata.from_bytes(text.encode()).signatures)


def keyids(*names: str) -> set[str]:
    return {signer(name).public_key.keyid for name in names}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    return {name for name in after if after[name] != before.get(name)}


def test_each_kind_of_document_has_its_lifetime() -> None:
    assert LIFE_DAYS == {"root": 365, "targets": 365, "models": 180, "snapshot": 30, "timestamp": 2}


def test_a_new_fleet_has_a_first_root_and_first_targets() -> None:
    root, top = signed(CREATED["1.root.json"]), signed(CREATED["targets.json"])
    assert set(CREATED) == {"1.root.json", "targets.json"}
    assert (root.version, root.expires, root.consistent_snapshot) == (1, NOW + 365 * DAY, True)
    assert (root.roles["root"].threshold, root.roles["targets"].threshold) == (2, 1)
    assert {name: set(role.keyids) for name, role in root.roles.items()} == {
        "root": keyids("root-1", "root-2", "root-3"),
        "targets": keyids("targets"),
        "snapshot": keyids("snapshot"),
        "timestamp": keyids("timestamp"),
    }
    assert signers(CREATED["1.root.json"]) == keyids("root-1", "root-2", "root-3")
    assert (top.version, top.expires, signers(CREATED["targets.json"])) == (1, NOW + 365 * DAY, keyids("targets"))


def test_the_director_signs_desired_documents_and_nothing_else() -> None:
    top = signed(CREATED["targets.json"])
    director = top.delegations.roles["director"]
    assert list(top.delegations.roles) == ["director"]
    assert (set(director.keyids), director.threshold) == (keyids("director"), 1)
    assert (director.paths, director.terminating) == (["desired/*"], True)


def test_a_model_is_delegated_to_exactly_the_named_keys() -> None:
    second = signer("second")
    keys = [RELEASE.public_key, second.public_key]
    text = repository.delegate(FILES, "n", keys, threshold=2, targets=TARGETS, now=NOW + DAY)
    top = signed(text)
    role = top.delegations.roles["models-n"]
    assert (role.name, role.threshold, role.terminating, role.paths) == ("models-n", 2, True, ["models/n/*"])
    assert set(role.keyids) == {key.keyid for key in keys}
    assert (top.version, top.expires) == (AT + DAY_S, NOW + DAY + 365 * DAY)
    again = repository.delegate({**FILES, "targets.json": text}, "n", keys[1:], targets=TARGETS, now=NOW)
    assert signed(again).delegations.roles["models-n"].keyids == [second.public_key.keyid]
    assert signed(again).delegations.roles["models-n"].threshold == 1
    assert repository.signers_of({**FILES, "targets.json": text}, "n") == {key.keyid for key in keys}


def test_a_new_role_of_a_model_is_numbered_by_the_clock_and_is_valid_for_half_a_year() -> None:
    first = signed(repository.sign_role(FIRST, "m", MANIFESTS, signers=[RELEASE], now=NOW))
    text = repository.sign_role(FILES, "m", MANIFESTS, min_release=4, signers=[RELEASE], now=NOW + DAY)
    assert (first.version, first.expires) == (AT, NOW + 180 * DAY)
    assert (signed(text).version, signed(text).expires) == (AT + DAY_S, NOW + 181 * DAY)
    assert signers(text) == keyids("release")
    assert repository.signed_releases({**FILES, "models-m.json": text}, "m") == ({3, 4}, 4)
    assert repository.signed_releases(FILES, "m") == ({3}, 0)
    assert repository.signed_releases(FILES, "n") == (frozenset(), 0)


def test_the_first_refresh_writes_a_first_snapshot_and_timestamp() -> None:
    snapshot, timestamp = signed(FILES["snapshot.json"]), signed(FILES["timestamp.json"])
    assert (snapshot.version, snapshot.expires) == (AT, NOW + 30 * DAY)
    assert {name: meta.version for name, meta in snapshot.meta.items()} == {"targets.json": AT, "models-m.json": AT}
    assert (timestamp.version, timestamp.expires, timestamp.snapshot_meta.version) == (AT, NOW + 2 * DAY, AT)
    assert timestamp.unrecognized_fields == {"x-issued": "2026-01-01T00:00:00+00:00"}
    assert signers(FILES["snapshot.json"]) == keyids("snapshot")
    assert signers(FILES["timestamp.json"]) == keyids("timestamp")


def test_each_refresh_writes_the_next_timestamp_and_keeps_a_valid_snapshot() -> None:
    later = repository.refresh(FILES, KEYS, NOW + 15 * DAY)
    assert changed(FILES, later) == {"timestamp.json"}
    timestamp = signed(later["timestamp.json"])
    assert (timestamp.version, timestamp.expires) == (AT + 15 * DAY_S, NOW + 17 * DAY)


def test_a_snapshot_is_written_again_after_half_of_its_lifetime() -> None:
    later = repository.refresh(FILES, KEYS, NOW + 15 * DAY + timedelta(seconds=1))
    snapshot = signed(later["snapshot.json"])
    assert changed(FILES, later) == {"snapshot.json", "timestamp.json"}
    written = AT + 15 * DAY_S + 1
    assert (snapshot.version, snapshot.expires) == (written, NOW + 45 * DAY + timedelta(seconds=1))
    assert signed(later["timestamp.json"]).snapshot_meta.version == written


def test_a_snapshot_is_written_again_when_its_contents_or_signers_have_changed() -> None:
    role = repository.sign_role(FILES, "m", MANIFESTS, signers=[RELEASE], now=NOW)
    named = signed(repository.refresh({**FILES, "models-m.json": role}, KEYS, NOW)["snapshot.json"])
    assert (named.version, named.meta["models-m.json"].version) == (AT + 1, AT + 1), "in the same second one more"
    other = Online(signer("snapshot-2"), KEYS.timestamp, KEYS.director)
    rotated = repository.refresh(FILES, other, NOW)
    assert signed(rotated["snapshot.json"]).version == AT + 1
    assert signers(rotated["snapshot.json"]) == keyids("snapshot-2")


def test_a_timestamp_carries_the_checkpoint_of_the_audit_if_there_is_one() -> None:
    assert repository.audit_witness(FILES) == ""
    assert repository.audit_witness(repository.refresh(FILES, KEYS, NOW, "tree 7")) == "tree 7"
    assert signed(repository.refresh(FILES, KEYS, NOW, "tree 7")["timestamp.json"]).unrecognized_fields == {
        "x-issued": "2026-01-01T00:00:00+00:00",
        "x-audit": "tree 7",
    }


def test_a_timestamp_is_due_after_twelve_hours_and_if_there_is_none() -> None:
    assert repository.due(FIRST, NOW)
    assert not repository.due(FILES, NOW + timedelta(hours=12))
    assert repository.due(FILES, NOW + timedelta(hours=12, seconds=1))


def test_a_root_is_rotated_by_old_and_new_keys() -> None:
    new = signer("root-4")
    swap = {"root": (ROOTS[0].public_key.keyid, new.public_key)}
    files = repository.rotate_root(FILES, NOW + DAY, [*ROOTS, new], replace=swap)
    root = signed(files["2.root.json"])
    assert changed(FILES, files) == {"2.root.json"}
    assert (root.version, root.expires) == (2, NOW + 366 * DAY)
    assert set(root.roles["root"].keyids) == keyids("root-2", "root-3", "root-4")
    assert signers(files["2.root.json"]) == keyids("root-1", "root-2", "root-3", "root-4")
    assert repository.newest_root(files) == 2
    renewed = repository.rotate_root(files, NOW, [*ROOTS, new])
    assert signed(renewed["3.root.json"]).roles == root.roles


def test_the_newest_root_has_the_highest_number() -> None:
    assert repository.newest_root({f"{version}.root.json": "" for version in (9, 10, 2)}) == 10


def test_targets_are_signed_again_by_another_key_with_the_next_version() -> None:
    text = repository.resign_targets(FILES, signer("targets-2"), NOW + DAY)
    before, after = signed(FILES["targets.json"]), signed(text)
    assert (after.version, after.expires) == (before.version + DAY_S, NOW + 366 * DAY)
    assert (after.delegations, signers(text)) == (before.delegations, keyids("targets-2"))


def test_a_new_director_replaces_the_old_one() -> None:
    old, new = KEYS.director.public_key.keyid, signer("director-2").public_key
    text = repository.rotate_director(FILES, old, new, TARGETS, NOW + DAY)
    files = {**FILES, "targets.json": text}
    assert signed(text).version == AT + DAY_S
    assert repository.online_keyids(files)["director"] == (new.keyid,)
    assert repository.signers_of(files, "m") == keyids("release")


def test_a_key_is_listed_with_the_roles_that_name_it() -> None:
    assert repository.online_keyids(FILES) == {
        name: tuple(keyids(name)) for name in ("snapshot", "timestamp", "director")
    }
    assert repository.targets_keyids(FILES) == tuple(keyids("targets"))
    assert repository.signers_of(FILES, "n") == frozenset()
    bare = sign(Targets(version=1, expires=NOW), TARGETS).decode()
    assert repository.signers_of({"targets.json": bare}, "m") == frozenset()


def test_a_bundle_holds_the_newest_roots_in_order_up_to_the_devices_limit() -> None:
    files = dict(FILES)
    for _ in range(MAX_ROOTS_IN_TRUST_BUNDLE):
        files = repository.rotate_root(files, NOW, ROOTS)
    made, small = repository.trust_bundle(files), repository.trust_bundle(FILES)
    newest = MAX_ROOTS_IN_TRUST_BUNDLE + 1
    assert made.roots == tuple(files[f"{version}.root.json"] for version in range(2, newest + 1))
    assert small.roots == (FILES["1.root.json"],)
    assert (small.timestamp, small.snapshot, small.targets) == tuple(
        FILES[f"{name}.json"] for name in ("timestamp", "snapshot", "targets")
    )


def test_a_missing_document_is_reported_with_how_to_create_it() -> None:
    with pytest.raises(BadInput, match="edgeward trust init") as caught:
        repository.current({}, "targets", object)
    assert caught.value.code == Code.TRUST_MISSING


def test_the_description_names_every_role_with_version_expiry_threshold_and_keys() -> None:
    expected = [
        ("root", 1, signed(FILES["1.root.json"]).expires, 2, ("root-1", "root-2", "root-3")),
        ("targets", AT, NOW + 365 * DAY, 1, ("targets",)),
        ("snapshot", AT, NOW + 30 * DAY, 1, ("snapshot",)),
        ("timestamp", AT, NOW + 2 * DAY, 1, ("timestamp",)),
        ("director", None, None, 1, ("director",)),
        ("models-m", AT, NOW + 180 * DAY, 1, ("release",)),
    ]
    assert repository.describe(FILES) == [
        {
            "role": role,
            "version": version,
            "expires": expires.isoformat() if expires else None,
            "threshold": threshold,
            "keyids": sorted(keyids(*names)),
        }
        for role, version, expires, threshold, names in expected
    ]


def test_versions_from_the_clock_put_a_restored_fleet_ahead_of_later_signatures() -> None:
    """Only roots are numbered one by one: a device follows every one of them."""
    lost = FILES
    for step in range(50):
        role = repository.sign_role(lost, "m", MANIFESTS, signers=[RELEASE], now=NOW + timedelta(seconds=step))
        targets = repository.resign_targets(lost, TARGETS, NOW + timedelta(seconds=step))
        changed_ones = {"models-m.json": role, "targets.json": targets}
        lost = repository.refresh({**lost, **changed_ones}, KEYS, NOW + timedelta(seconds=step))
    now = NOW + timedelta(minutes=5)
    again = {
        **FILES,
        "models-m.json": repository.sign_role(FILES, "m", MANIFESTS, signers=[RELEASE], now=now),
        "targets.json": repository.resign_targets(FILES, TARGETS, now),
    }
    restored = repository.refresh(again, KEYS, now)
    for name in ("models-m.json", "targets.json", "snapshot.json", "timestamp.json"):
        assert signed(restored[name]).version > signed(lost[name]).version, name


def test_a_timestamp_is_due_at_the_first_entry_of_the_audit_and_not_at_the_next() -> None:
    witnessed = {each: repository.refresh(FILES, KEYS, NOW, each) for each in ("", "0:empty", "1:tree")}
    for audit, files, due in (
        ("1:tree", "", True),
        ("1:tree", "0:empty", True),
        ("2:tree", "1:tree", False),
        ("0:empty", "", False),
        ("", "", False),
    ):
        assert repository.due(witnessed[files], NOW, audit) is due, (audit, files)


def test_a_document_with_less_than_a_third_of_its_lifetime_left_is_aged() -> None:
    life = {"root": signed(FILES["1.root.json"]).expires - 365 * DAY, "targets": NOW, "models-m": NOW}
    days = {"root": 365, "targets": 365, "models-m": 180}
    for role, began in life.items():
        end = began + 2 * timedelta(days=days[role]) / 3
        assert role not in repository.aged(FILES, end), role
        assert role in repository.aged(FILES, end + timedelta(seconds=1)), role
    assert repository.aged(FILES, NOW) == frozenset()
    assert repository.aged({name: text for name, text in FILES.items() if "targets" not in name}, NOW + 400 * DAY) == {
        "root", "models-m",
    }  # fmt: skip


def test_the_signers_of_a_role_and_their_threshold_are_returned() -> None:
    roots = tuple(signed(FILES["1.root.json"]).roles["root"].keyids)
    assert repository.signers_wanted(FILES, "root") == (roots, 2)
    assert set(roots) == keyids("root-1", "root-2", "root-3")
    assert repository.signers_wanted(FILES, "targets") == (tuple(keyids("targets")), 1)
    assert repository.signers_wanted(FILES, "models-m") == (tuple(keyids("release")), 1)
    assert repository.signers_wanted(FILES, "models-n") == ((), 1)


@pytest.mark.parametrize(
    ("role", "file", "days"),
    [("root", "2.root.json", 365), ("targets", "targets.json", 365), ("models-m", "models-m.json", 180)],
)
def test_a_role_that_is_signed_again_has_the_same_content_and_a_new_lifetime(role: str, file: str, days: int) -> None:
    signing = {"root": ROOTS, "targets": [TARGETS], "models-m": [RELEASE]}[role]
    files = repository.resign(FILES, role, signing, NOW + DAY)
    assert changed(FILES, files) == {file}
    before, after = signed(FILES[file if role != "root" else "1.root.json"]), signed(files[file])
    assert after.version == (2 if role == "root" else before.version + DAY_S)
    assert after.expires == NOW + DAY + timedelta(days=days)
    assert signers(files[file]) == {each.public_key.keyid for each in signing}
    assert (getattr(after, "targets", None), getattr(after, "roles", None)) == (
        getattr(before, "targets", None), getattr(before, "roles", None),
    )  # fmt: skip


def test_each_verified_role_has_its_expiry() -> None:
    parts = {name: FILES[f"{name}.json"] for name in ("targets", "snapshot", "timestamp")}
    trusted = Trusted(root=FILES["1.root.json"], **parts, roles=(("m", FILES["models-m.json"]),))
    ends = {"targets": 365, "snapshot": 30, "timestamp": 2, "models-m": 180}
    assert role_expiries(trusted) == {
        "root": int(signed(FILES["1.root.json"]).expires.timestamp()),
        **{name: AT + days * DAY_S for name, days in ends.items()},
    }
    assert set(role_expiries(Trusted(root=FILES["1.root.json"]))) == {"root"}


def test_every_key_that_has_ever_signed_timestamps_is_known() -> None:
    new = signer("timestamp-2")
    swap = {"timestamp": (KEYS.timestamp.public_key.keyid, new.public_key)}
    files = repository.rotate_root(FILES, NOW, ROOTS, replace=swap)
    assert set(repository.timestamp_keys(FILES)) == keyids("timestamp")
    assert set(repository.timestamp_keys(files)) == keyids("timestamp", "timestamp-2")
    assert repository.models_of({**FILES, "models-a.json": ""}) == ["a", "m"]
