"""Documents, the repository that signs them and the chain that follows them: bytes in, values or coded refusals out."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import Metadata

from contract.desired import DesiredTarget, TrialPolicy
from contract.errors import BadInput, Code, EdgewardError
from contract.trust import chain, repository
from contract.trust.documents import read_desired, sign_desired
from contract.trust.verified import Trusted, Wanted
from contract.wire import encode
from firmware_sim.fleet_keys import FIRST, KEYS, RELEASE, ROOTS, TARGETS, TRUSTED, WORLD_BEGAN, signer, vouched
from firmware_sim.models import make_model

NOW, LATER = WORLD_BEGAN, WORLD_BEGAN + timedelta(days=7)
MODEL = make_model(3, "good")
FILES = vouched(FIRST, "m", {3: MODEL.manifest}, NOW)
FOLLOWED = chain.follow(TRUSTED, encode(repository.trust_bundle(FILES)), NOW)
TOP = chain.targets_of(FOLLOWED)


def wanted(model: str = "m", release: int = 3) -> Wanted:
    custom = DesiredTarget(model=model, generation=4, rollout="r", policy=TrialPolicy())
    return Wanted(model, release, MODEL.manifest.artifact.length, MODEL.manifest.artifact.sha256, custom)


def desired(*wants: Wanted, by: str = "director") -> bytes:
    return sign_desired("cam-1", wants or (wanted(),), version=4, issued=NOW, expires=LATER, signer=signer(by))


def refused(raw: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read_desired(raw, TOP)
    return caught.value.code


def test_a_signed_document_is_read_back_as_it_was_written() -> None:
    document = read_desired(desired(), TOP)
    assert (document.device, document.version, document.wanted, document.expires) == ("cam-1", 4, (wanted(),), LATER)


def test_the_document_is_a_tuf_targets_file_with_x_edge() -> None:
    signed = json.loads(desired())["signed"]
    assert signed["_type"] == "targets"
    assert signed["x-edge"]["device"] == "cam-1"
    assert signed["targets"]["models/m/v3.onnx"]["custom"]["generation"] == 4


def test_a_changed_byte_breaks_the_signature() -> None:
    assert refused(desired().replace(b"cam-1", b"cam-2")) == Code.SIGNATURE_INVALID


@pytest.mark.parametrize("by", ["stranger", "timestamp", "snapshot", "release", "targets", "root-1"])
def test_only_the_directors_key_signs_desired_documents(by: str) -> None:
    assert refused(desired(by=by)) == Code.SIGNATURE_INVALID


def test_a_path_outside_models_is_refused_before_it_is_signed() -> None:
    with pytest.raises(BadInput) as caught:
        desired(wanted(model="../m"))
    assert caught.value.code == Code.NAME_INVALID


def test_more_models_than_a_device_may_hold_are_refused() -> None:
    assert refused(desired(*(wanted(model=f"m{number}") for number in range(17)))) == Code.MESSAGE_MALFORMED


def test_a_role_lists_manifests_by_release() -> None:
    trusted = chain.take_role(FOLLOWED, "m", FILES["models-m.json"].encode(), NOW)
    role = chain.role_of(trusted, "m")
    assert role is not None
    assert role.manifests == {3: MODEL.manifest}
    assert chain.role_of(trusted, "other") is None


def test_a_role_of_one_model_is_not_valid_for_another() -> None:
    both = vouched(FILES, "n", {3: MODEL.manifest}, NOW)
    trusted = chain.follow(TRUSTED, encode(repository.trust_bundle(both)), NOW)
    with pytest.raises(BadInput) as caught:
        chain.take_role(trusted, "n", FILES["models-m.json"].encode(), NOW)
    assert caught.value.code == Code.PATH_INVALID  # refused although both models have one release key here


def test_a_role_is_not_accepted_as_a_desired_document() -> None:
    assert refused(FILES["models-m.json"].encode()) == Code.SIGNATURE_INVALID


def test_a_model_without_a_release_signer_is_in_no_image_repository() -> None:
    with pytest.raises(BadInput) as caught:
        chain.take_role(FOLLOWED, "stranger", FILES["models-m.json"].encode(), NOW)
    assert caught.value.code == Code.NOT_IN_IMAGE_REPO


def test_an_invalid_root_is_a_configuration_error() -> None:
    for text in ("", "{}", FILES["targets.json"], FIRST["1.root.json"].replace('"threshold":2', '"threshold":3')):
        with pytest.raises(BadInput) as caught:
            chain.trust_root(text)
        assert caught.value.code == Code.CONFIG_INVALID


def test_the_same_trust_bundle_again_changes_nothing() -> None:
    assert chain.follow(FOLLOWED, encode(repository.trust_bundle(FILES)), NOW) == FOLLOWED


def test_a_newer_timestamp_leaves_all_other_parts_unchanged() -> None:
    later = repository.refresh(FILES, KEYS, NOW + timedelta(hours=12))
    assert {name for name in later if later[name] != FILES[name]} == {"timestamp.json"}
    followed = chain.follow(FOLLOWED, encode(repository.trust_bundle(later)), NOW + timedelta(hours=12))
    assert (followed.snapshot, followed.targets, followed.root) == (FILES["snapshot.json"], TOPTEXT, FOLLOWED.root)
    assert repository.due(FILES, NOW + timedelta(hours=13))
    assert not repository.due(later, NOW + timedelta(hours=13))


TOPTEXT = FILES["targets.json"]


def test_a_role_stays_trusted_until_the_snapshot_names_a_newer_one() -> None:
    trusted = chain.take_role(FOLLOWED, "m", FILES["models-m.json"].encode(), NOW)
    stamped = repository.refresh(FILES, KEYS, NOW)
    assert chain.follow(trusted, encode(repository.trust_bundle(stamped)), NOW).roles == trusted.roles
    newer = vouched(FILES, "m", {3: MODEL.manifest, 4: make_model(4, "good").manifest}, NOW)
    moved = chain.follow(trusted, encode(repository.trust_bundle(newer)), NOW)
    assert moved.roles == ()
    assert chain.role_of(chain.take_role(moved, "m", newer["models-m.json"].encode(), NOW), "m") is not None
    assert chain.with_roles(moved, {"m": FILES["models-m.json"]}).roles == ()
    assert chain.with_roles(trusted, {"m": FILES["models-m.json"]}).roles == trusted.roles


def rotated(files: dict[str, str], times: int) -> dict[str, str]:
    """All root keys replaced `times` times."""
    before = ROOTS
    for turn in range(times):
        after = tuple(signer(f"root-{turn}-{number}") for number in (1, 2, 3))
        swaps = zip(before, after, strict=True)
        for old, new in swaps:
            change = {"root": (old.public_key.keyid, new.public_key)}
            signers = [*before, *after]
            files = repository.rotate_root(files, NOW, signers, replace=change)
        before = after
    return repository.refresh(files, KEYS, NOW)


def test_a_device_that_was_offline_for_a_hundred_rotations_follows_all_of_them() -> None:
    files = rotated(dict(FILES), 34)
    assert repository.newest_root(files) == 103
    raw = encode(repository.trust_bundle(files))
    trusted = TRUSTED
    while (version := chain.missing_root(trusted, raw)) is not None:
        trusted = chain.take_root(trusted, files[f"{version}.root.json"])
    assert chain.follow(trusted, raw, NOW).root == files["103.root.json"]


def test_an_intermediate_root_cannot_be_skipped() -> None:
    files = rotated(dict(FILES), 1)
    with pytest.raises(BadInput) as caught:
        chain.take_root(TRUSTED, files["3.root.json"])
    assert caught.value.code in (Code.METADATA_ROLLBACK, Code.SIGNATURE_INVALID)


def test_a_second_key_completes_a_threshold_and_the_same_key_twice_does_not() -> None:
    second = signer("second")
    keys = [RELEASE.public_key, second.public_key]
    top = repository.delegate(FILES, "m", keys, threshold=2, targets=TARGETS, now=NOW)
    files = {**FILES, "targets.json": top}
    for signers, enough in (([RELEASE], False), ([RELEASE, RELEASE], False), ([RELEASE, second], True)):
        text = repository.sign_role(files, "m", {3: MODEL.manifest}, signers=signers, now=NOW)
        offered = repository.refresh({**files, "models-m.json": text}, KEYS, NOW)
        trusted = chain.follow(TRUSTED, encode(repository.trust_bundle(offered)), NOW)
        if enough:
            assert chain.take_role(trusted, "m", text.encode(), NOW).roles
            continue
        with pytest.raises(BadInput) as caught:
            chain.take_role(trusted, "m", text.encode(), NOW)
        assert caught.value.code == Code.SIGNATURE_INVALID


def test_the_private_parts_of_python_tuf_still_exist() -> None:
    """`chain` rests on two names that python-tuf does not promise: this fails loudly when a new version drops them."""
    fresh = chain.TrustedMetadataSet(FIRST["1.root.json"].encode(), chain.EnvelopeType.METADATA)
    assert fresh.reference_time is not None
    assert callable(fresh.update_delegated_targets)


def test_the_core_of_python_tuf_is_imported_without_its_http_stack_and_the_package_stays_unchanged() -> None:
    program = (
        "import sys; from contract.trust import chain; assert 'urllib3' not in sys.modules;"
        "from tuf.ngclient import Updater; assert 'urllib3' in sys.modules;"
        "from tuf.ngclient.updater import TrustedMetadataSet as theirs; assert theirs is chain.TrustedMetadataSet"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@given(st.data())
def test_no_changed_document_is_accepted_or_crashes(data: st.DataObject) -> None:
    raw = mutant(data, desired())
    try:
        document = read_desired(raw, TOP)
    except EdgewardError:
        return
    assert document == read_desired(desired(), TOP)  # whitespace or case of hex: nothing that was signed


@given(st.data())
def test_no_changed_trust_bundle_or_role_is_accepted_or_crashes(data: st.DataObject) -> None:
    trust_bundle = mutant(data, encode(repository.trust_bundle(FILES)))
    role = mutant(data, FILES["models-m.json"].encode())
    for verify in (lambda: chain.follow(TRUSTED, trust_bundle, NOW), lambda: chain.take_role(FOLLOWED, "m", role, NOW)):
        try:
            trusted: Trusted = verify()
        except EdgewardError:
            continue
        assert meaning(trusted) == meaning(FOLLOWED)


def meaning(trusted: Trusted) -> list[object]:
    """Returns what was signed: `2026-01-3` and blanks read the same, and the signature covers what was read."""
    texts = (trusted.root, trusted.timestamp, trusted.snapshot, trusted.targets)
    return [Metadata.from_bytes(text.encode()).signed.to_dict() for text in texts]


def mutant(data: st.DataObject, raw: bytes) -> bytes:
    changed = bytearray(raw)
    at = data.draw(st.integers(0, len(raw) - 1))
    changed[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    return bytes(changed)
