"""What a device trusts after each bundle and role: the edges of time, of versions and of what it had stored."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec.structs import replace as but
from tuf.api.metadata import Targets

from contract.errors import BadInput, Code
from contract.protocol import MAX_METADATA_BYTES, MAX_ROOTS_IN_TRUST_BUNDLE
from contract.trust import chain, repository
from contract.trust.documents import load, sign
from contract.trust.verified import Trusted
from contract.wire import encode
from firmware_sim.fleet_keys import FIRST, KEYS, RELEASE, ROOTS, TARGETS, TRUSTED, WORLD_BEGAN, signer, vouched
from firmware_sim.models import make_model

NOW = WORLD_BEGAN
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)
MANIFESTS = {release: make_model(release, "good").manifest for release in (3, 4)}
FILES = vouched(FIRST, "m", {3: MANIFESTS[3]}, NOW)
NEWER = vouched(FILES, "m", MANIFESTS, NOW + HOUR)
ROLE = FILES["models-m.json"]


def trust_bundle(files: Mapping[str, str]) -> bytes:
    return encode(repository.trust_bundle(files))


def follow(trusted: Trusted, files: Mapping[str, str], now: object = NOW) -> Trusted:
    return chain.follow(trusted, trust_bundle(files), now)  # type: ignore[arg-type]


FOLLOWED = follow(TRUSTED, FILES)
WITH_ROLE = chain.take_role(FOLLOWED, "m", ROLE.encode(), NOW)


def code_of(call: Callable[[], object]) -> Code | str:
    with pytest.raises(BadInput) as caught:
        call()
    return caught.value.code


def test_an_accepted_bundle_is_stored_as_it_was_signed() -> None:
    expected = Trusted(
        root=FILES["1.root.json"],
        timestamp=FILES["timestamp.json"],
        snapshot=FILES["snapshot.json"],
        targets=FILES["targets.json"],
    )
    assert expected == FOLLOWED
    assert chain.follow(FOLLOWED, trust_bundle(NEWER), NOW + HOUR).targets == NEWER["targets.json"]


def test_the_newest_root_of_a_bundle_is_stored_for_any_order_of_roots() -> None:
    files = repository.rotate_root(repository.rotate_root(dict(FILES), NOW, ROOTS), NOW, ROOTS)
    made = repository.trust_bundle(files)
    turned = encode(but(made, roots=tuple(reversed(made.roots))))
    assert chain.follow(TRUSTED, turned, NOW).root == files["3.root.json"]
    ahead = chain.take_root(chain.take_root(TRUSTED, files["2.root.json"]), files["3.root.json"])
    assert chain.follow(ahead, trust_bundle(FILES), NOW).root == files["3.root.json"]


@pytest.mark.parametrize("part", ["timestamp", "snapshot", "targets"])
def test_a_bundle_with_a_part_of_another_fleet_is_refused(part: str) -> None:
    stranger = sign(load(FILES[f"{part}.json"].encode(), object, max_bytes=10**6).signed, signer("stranger")).decode()
    made = encode(but(repository.trust_bundle(FILES), **{part: stranger}))
    assert code_of(lambda: chain.follow(TRUSTED, made, NOW)) == Code.SIGNATURE_INVALID


def test_a_bundle_is_valid_until_its_timestamp_expires() -> None:
    assert follow(TRUSTED, FILES, NOW + 2 * DAY - SECOND).complete
    assert code_of(lambda: follow(TRUSTED, FILES, NOW + 2 * DAY)) == Code.METADATA_EXPIRED


def test_a_verified_bundle_is_verified_again_when_a_part_has_expired() -> None:
    assert follow(TRUSTED, FILES, NOW).complete
    assert code_of(lambda: follow(TRUSTED, FILES, NOW + 3 * DAY)) == Code.METADATA_EXPIRED
    assert chain.take_role(FOLLOWED, "m", ROLE.encode(), NOW) == WITH_ROLE
    assert code_of(lambda: chain.take_role(FOLLOWED, "m", ROLE.encode(), NOW + 2 * DAY)) == Code.METADATA_EXPIRED


def test_a_role_that_expires_before_its_snapshot_is_then_verified_again() -> None:
    text = repository.sign_role(FILES, "m", MANIFESTS, signers=[RELEASE], now=NOW - 179 * DAY)
    files = repository.refresh({**FILES, "models-m.json": text}, KEYS, NOW)
    trusted = follow(TRUSTED, files)
    assert chain.take_role(trusted, "m", text.encode(), NOW).roles == (("m", text),)
    late = NOW + DAY + SECOND
    assert code_of(lambda: chain.take_role(trusted, "m", text.encode(), late)) == Code.METADATA_EXPIRED


def test_the_number_of_remembered_verifications_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_memo", {})
    for number in range(chain.MAX_VERIFIED + 3):
        follow(but(TRUSTED, roles=((f"m{number}", ""),)), FILES)
        assert len(chain._memo) <= chain.MAX_VERIFIED
    assert len(chain._memo) == chain.MAX_VERIFIED == 16
    (newest, *_), *_ = list(chain._memo)[-1:]
    assert newest.roles == ((f"m{chain.MAX_VERIFIED + 2}", ""),)


def test_the_same_bundle_on_the_same_trust_state_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "_memo", {})
    first = follow(TRUSTED, FILES)
    monkeypatch.setattr(chain, "_follow", None)
    assert follow(TRUSTED, FILES, NOW + HOUR) is first


def test_an_older_timestamp_or_snapshot_is_a_rollback() -> None:
    ahead = follow(FOLLOWED, NEWER, NOW + HOUR)
    assert code_of(lambda: follow(ahead, FILES, NOW + HOUR)) == Code.METADATA_ROLLBACK
    behind = {**NEWER, "snapshot.json": FILES["snapshot.json"], "targets.json": FILES["targets.json"]}
    behind = {**behind, "timestamp.json": NEWER["timestamp.json"]}
    assert code_of(lambda: follow(FOLLOWED, behind, NOW + HOUR)) == Code.METADATA_ROLLBACK


def test_a_clock_behind_the_newest_signed_time_makes_no_expired_document_valid() -> None:
    later = repository.refresh(FILES, KEYS, NOW + 10 * DAY)
    ahead = follow(FOLLOWED, later, NOW + 10 * DAY)
    assert chain.time_floor(ahead, NOW) == NOW + 10 * DAY
    assert chain.time_floor(ahead, NOW + 11 * DAY) == NOW + 11 * DAY
    assert chain.time_floor(TRUSTED, NOW) == NOW
    old = repository.refresh(later, KEYS, NOW + 5 * DAY)  # a timestamp that expires before the floor
    assert code_of(lambda: follow(ahead, old, NOW)) == Code.METADATA_EXPIRED


def test_replacing_the_key_of_a_time_floor_removes_the_floor() -> None:
    poisoned = repository.refresh(FILES, KEYS, NOW + 300 * DAY)
    ahead = follow(FOLLOWED, poisoned, NOW + 300 * DAY)
    assert chain.time_floor(ahead, NOW) == NOW + 300 * DAY
    new = signer("timestamp-2")
    swap = {"timestamp": (KEYS.timestamp.public_key.keyid, new.public_key)}
    files = repository.rotate_root(FILES, NOW, ROOTS, replace=swap)
    files = repository.refresh(files, replace(KEYS, timestamp=new), NOW)
    healed = follow(ahead, files)
    assert healed.timestamp == files["timestamp.json"]
    assert chain.time_floor(healed, NOW) == NOW


def test_a_bundle_has_a_limit_of_roots_and_no_document_with_repeated_keys() -> None:
    made = repository.trust_bundle(FILES)
    limit = encode(but(made, roots=made.roots * MAX_ROOTS_IN_TRUST_BUNDLE))
    assert len(chain.read_trust_bundle(limit).roots) == MAX_ROOTS_IN_TRUST_BUNDLE
    too_many = encode(but(made, roots=made.roots * (MAX_ROOTS_IN_TRUST_BUNDLE + 1)))
    assert code_of(lambda: chain.read_trust_bundle(too_many)) == Code.MESSAGE_TOO_LARGE
    doubled = '{"signed":1,"signed":2}'
    for part in ({"roots": (doubled,)}, {"timestamp": doubled}, {"snapshot": doubled}, {"targets": doubled}):
        assert code_of(lambda part=part: chain.read_trust_bundle(encode(but(made, **part)))) == Code.MESSAGE_MALFORMED
    assert code_of(lambda: chain.take_root(TRUSTED, doubled)) == Code.MESSAGE_MALFORMED


def test_a_device_requests_the_next_root_when_the_bundle_starts_after_it() -> None:
    files = dict(FILES)
    for _ in range(3):
        files = repository.rotate_root(files, NOW, ROOTS)
    made = repository.trust_bundle(files)

    def missing(first: int) -> int | None:
        return chain.missing_root(TRUSTED, encode(but(made, roots=made.roots[first - 1 :])))

    assert [missing(first) for first in (1, 2, 3, 4, 5)] == [None, None, 2, 2, None]


def test_a_root_that_its_predecessor_did_not_sign_is_refused_by_name() -> None:
    forged = repository.rotate_root(FILES, NOW, [ROOTS[0]])["2.root.json"]
    with pytest.raises(BadInput, match="root: root was signed by 1") as caught:
        chain.take_root(TRUSTED, forged)
    assert caught.value.code == Code.SIGNATURE_INVALID
    after = chain.take_root(FOLLOWED, repository.rotate_root(FILES, NOW, ROOTS)["2.root.json"])
    assert (after.timestamp, after.targets) == (FOLLOWED.timestamp, FOLLOWED.targets)


def test_a_refused_bundle_returns_the_parts_verified_before_the_fault() -> None:
    files = repository.rotate_root(NEWER, NOW, ROOTS)
    made = repository.trust_bundle(files)
    for part in ({"roots": (*made.roots, "?")}, {"timestamp": "?"}, {"snapshot": "?"}, {"targets": "?"}):
        with pytest.raises(chain.FollowedInPartError) as caught:
            chain.follow(FOLLOWED, encode(but(made, **part)), NOW + HOUR)
        assert caught.value.code == Code.MESSAGE_MALFORMED
        assert caught.value.verified == but(FOLLOWED, root=files["2.root.json"]), (
            "all parts are looked at for doubled keys first"
        )
    old = encode(but(made, targets=FILES["targets.json"], snapshot=FILES["snapshot.json"]))
    with pytest.raises(chain.FollowedInPartError) as caught:
        chain.follow(FOLLOWED, old, NOW + HOUR)
    assert caught.value.verified == but(FOLLOWED, root=files["2.root.json"], timestamp=files["timestamp.json"])
    assert not chain.is_vouched(caught.value.verified)


def test_roots_of_a_bundle_are_applied_in_order_and_unreadable_ones_last() -> None:
    files = dict(FILES)
    for _ in range(2):
        files = repository.rotate_root(files, NOW, ROOTS)
    made = repository.trust_bundle(files)
    mixed = encode(but(made, roots=("?", *reversed(made.roots))))
    assert chain.newer_roots(TRUSTED, mixed) == [files["2.root.json"], files["3.root.json"], "?"]
    assert chain.missing_root(TRUSTED, encode(but(made, roots=("?", made.roots[2])))) == 2
    assert chain.missing_root(TRUSTED, encode(but(made, roots=("?",)))) is None


def test_a_role_needs_a_bundle_before_it() -> None:
    assert code_of(lambda: chain.take_role(TRUSTED, "m", ROLE.encode(), NOW)) == Code.TRUST_MISSING
    assert code_of(lambda: chain.targets_of(TRUSTED)) == Code.TRUST_MISSING
    assert code_of(lambda: chain.expires(TRUSTED)) == Code.TRUST_MISSING


def test_a_role_must_have_the_version_named_by_the_snapshot() -> None:
    assert code_of(lambda: chain.take_role(FOLLOWED, "m", NEWER["models-m.json"].encode(), NOW)) == (
        Code.METADATA_ROLLBACK
    )
    ahead = follow(FOLLOWED, NEWER, NOW + HOUR)
    assert code_of(lambda: chain.take_role(ahead, "m", ROLE.encode(), NOW)) == Code.METADATA_ROLLBACK


def test_roles_are_stored_by_model_and_a_newer_one_replaces_the_older() -> None:
    both = vouched(vouched(FILES, "a", {3: MANIFESTS[3]}, NOW), "m", MANIFESTS, NOW)
    trusted = follow(TRUSTED, both)
    for model in ("m", "a"):
        trusted = chain.take_role(trusted, model, both[f"models-{model}.json"].encode(), NOW)
    assert trusted.roles == (("a", both["models-a.json"]), ("m", both["models-m.json"]))
    again = chain.take_role(but(trusted, roles=(("m", ROLE),)), "m", both["models-m.json"].encode(), NOW)
    assert again.roles == (("m", both["models-m.json"]),)
    found = chain.role_of(trusted, "m")
    assert found is not None
    assert set(found.manifests) == {3, 4}


def test_a_role_is_early_when_the_snapshot_names_an_older_version_or_none() -> None:
    assert not chain.is_early(FOLLOWED, "m", ROLE.encode())
    assert chain.is_early(FOLLOWED, "m", NEWER["models-m.json"].encode())
    assert chain.is_early(FOLLOWED, "stranger", ROLE.encode())
    assert chain.is_early(TRUSTED, "m", ROLE.encode())
    ahead = follow(FOLLOWED, NEWER, NOW + HOUR)
    assert not chain.is_early(ahead, "m", ROLE.encode())
    assert code_of(lambda: chain.is_early(FOLLOWED, "m", b"{}")) == Code.MESSAGE_MALFORMED


def test_stored_roles_are_loaded_up_to_the_versions_named_by_the_snapshot() -> None:
    assert chain.with_roles(FOLLOWED, {"m": ROLE}) == WITH_ROLE
    assert chain.with_roles(FOLLOWED, {"n": ROLE}).roles == ()
    assert chain.with_roles(WITH_ROLE, {}) is WITH_ROLE
    assert chain.with_roles(TRUSTED, {"m": ROLE}) is TRUSTED


def test_the_directors_keys_are_those_named_by_targets() -> None:
    assert chain.director_keys(FOLLOWED) == (KEYS.director.public_key.keyid,)
    top = chain.targets_of(FOLLOWED)
    for delegations in (None, repository.Delegations({}, {})):
        bare = Targets(version=top.version, expires=top.expires, delegations=delegations)
        assert chain.director_keys(but(FOLLOWED, targets=sign(bare, TARGETS).decode())) == ()
    key = signer("director-0").public_key
    two = repository.current(FILES, "targets", Targets)
    two.add_key(key, "director")
    both = (KEYS.director.public_key.keyid, key.keyid)
    assert chain.director_keys(but(FOLLOWED, targets=sign(two, TARGETS).decode())) == tuple(sorted(both))


@pytest.mark.parametrize("part", ["root", "timestamp", "snapshot", "targets"])
def test_trust_expires_with_the_first_part_that_expires(part: str) -> None:
    assert chain.expires(FOLLOWED) == NOW + 2 * DAY
    name = "1.root" if part == "root" else part
    signed = load(FILES[f"{name}.json"].encode(), object, max_bytes=10**6).signed
    signed.expires = NOW + DAY
    assert chain.expires(but(FOLLOWED, **{part: sign(signed, TARGETS).decode()})) == NOW + DAY


def test_documents_up_to_the_size_limit_are_accepted_and_larger_ones_are_refused() -> None:
    room = MAX_METADATA_BYTES - len(ROLE)
    padded = ROLE.encode() + b" " * room
    taken = chain.take_role(FOLLOWED, "m", padded, NOW)
    assert taken.roles == (("m", padded.decode()),)
    assert chain.role_of(taken, "m") == chain.role_of(WITH_ROLE, "m")
    assert not chain.is_early(FOLLOWED, "m", padded)
    assert chain.with_roles(FOLLOWED, dict(taken.roles)) == taken
    for refused in (
        lambda: chain.take_role(FOLLOWED, "m", padded + b" ", NOW),
        lambda: chain.is_early(FOLLOWED, "m", padded + b" "),
    ):
        assert code_of(refused) == Code.MESSAGE_TOO_LARGE
    made = repository.trust_bundle(FILES)
    half = MAX_METADATA_BYTES // 2
    large = encode(but(made, targets=made.targets + " " * half))
    assert chain.follow(TRUSTED, large, NOW).targets.rstrip() == FILES["targets.json"]
    over = encode(but(made, targets=made.targets + " " * MAX_METADATA_BYTES))
    assert code_of(lambda: chain.follow(TRUSTED, over, NOW)) == Code.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("part", ["root", "timestamp", "snapshot", "targets"])
def test_stored_documents_are_read_up_to_the_size_limit(part: str) -> None:
    padding = " " * (MAX_METADATA_BYTES // 2 + 1)
    padded = but(FOLLOWED, **{part: getattr(FOLLOWED, part) + padding})
    assert chain.expires(padded) == chain.expires(FOLLOWED)
    if part == "targets":
        assert chain.director_keys(padded) == chain.director_keys(FOLLOWED)
    if part == "snapshot":
        assert not chain.is_early(padded, "m", ROLE.encode())
    if part == "root":
        assert chain.missing_root(padded, trust_bundle(FILES)) is None
