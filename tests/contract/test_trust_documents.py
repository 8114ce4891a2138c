"""Signed documents, field by field: what is written and read back, and which code each fault has."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from msgspec.structs import replace
from securesystemslib.signer import Signer
from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Delegations, Metadata, TargetFile, Targets
from tuf.api.serialization import DeserializationError

from contract.desired import DesiredTarget, TrialPolicy
from contract.errors import BadInput, Code
from contract.inquiries import Inquiry
from contract.protocol import MAX_MODELS_PER_DEVICE, PROTOCOL
from contract.trust import chain, repository
from contract.trust.documents import load, model_role, read_desired, read_model_role, refusal, sign, sign_desired, when
from contract.trust.inquiries import check_inquiry, sign_inquiry
from contract.trust.verified import Trusted, Wanted
from contract.wire import encode
from firmware_sim.fleet_keys import FIRST, KEYS, TRUSTED, WORLD_BEGAN, vouched
from firmware_sim.models import make_model

NOW, LATER = WORLD_BEGAN, WORLD_BEGAN + timedelta(days=7)
FOUR, THREE = make_model(4, "good").manifest, make_model(3, "good").manifest
FILES = vouched(FIRST, "m", {3: THREE}, NOW)
TOP = chain.targets_of(chain.follow(TRUSTED, encode(repository.trust_bundle(FILES)), NOW))


def code_of(call: Callable[[], object]) -> Code | str:
    with pytest.raises(BadInput) as caught:
        call()
    return caught.value.code


def wanted(model: str = "m", **changes: Any) -> Wanted:
    custom = DesiredTarget(model=changes.pop("custom_model", model), generation=4, rollout="r", policy=TrialPolicy())
    return Wanted(model, changes.pop("release", 3), THREE.artifact.length, THREE.artifact.sha256, custom)


def desired(*wants: Wanted, nonce: str = "") -> bytes:
    return sign_desired("cam-1", wants, version=4, issued=NOW, expires=LATER, signer=KEYS.director, nonce=nonce)


def resigned(change: Callable[[Targets], object], signer: Signer = KEYS.director) -> bytes:
    """A desired document that the director signed after `change`."""
    signed = load(desired(wanted()), Targets, max_bytes=100_000).signed
    change(signed)
    return sign(signed, signer)


# The role of a release signer.


def role(**changes: Any) -> Targets:
    manifests = changes.pop("manifests", {4: FOUR, 3: THREE})
    return model_role("m", manifests, version=9, expires=LATER, **changes)


def test_a_role_names_length_digest_and_manifest_of_every_release() -> None:
    made = role(min_release=3)
    assert (made.version, made.expires) == (9, LATER)
    assert list(made.targets) == ["models/m/v3.onnx", "models/m/v4.onnx"]
    target = made.targets["models/m/v4.onnx"]
    assert (target.length, target.hashes) == (FOUR.artifact.length, {"sha256": FOUR.artifact.sha256})
    assert made.unrecognized_fields == {"x-min-release": 3}
    read = read_model_role(made, "m")
    assert (dict(read.manifests), read.min_release) == ({3: THREE, 4: FOUR}, 3)


def test_without_a_floor_every_release_may_run() -> None:
    assert read_model_role(role(), "m").min_release == 0
    bare = role()
    bare.unrecognized_fields.clear()
    assert read_model_role(bare, "m").min_release == 0


@pytest.mark.parametrize("floor", [-1, "3", 1.0, True, None])
def test_a_floor_that_is_not_a_release_number_is_malformed(floor: object) -> None:
    made = role()
    made.unrecognized_fields["x-min-release"] = floor
    assert code_of(lambda: read_model_role(made, "m")) == Code.MESSAGE_MALFORMED


def test_a_release_under_another_name_or_number_is_refused() -> None:
    assert code_of(lambda: read_model_role(role(), "n")) == Code.PATH_INVALID
    assert code_of(lambda: read_model_role(role(manifests={5: FOUR}), "m")) == Code.PATH_INVALID


@pytest.mark.parametrize("change", [{"length": 1}, {"hashes": {"sha256": "0" * 64}}, {"hashes": {"sha512": "0" * 128}}])
def test_target_and_manifest_must_name_the_same_bytes(change: dict[str, Any]) -> None:
    made = role()
    for name, value in change.items():
        setattr(made.targets["models/m/v3.onnx"], name, value)
    assert code_of(lambda: read_model_role(made, "m")) == Code.IMAGE_MISMATCH


def test_a_target_without_a_manifest_is_malformed() -> None:
    made = role()
    made.targets["models/m/v3.onnx"].unrecognized_fields.clear()
    assert code_of(lambda: read_model_role(made, "m")) == Code.MESSAGE_MALFORMED


# The desired document.


def test_every_field_of_a_desired_document_is_read_back() -> None:
    found = read_desired(desired(wanted("n"), wanted("m"), nonce="boot-7"), TOP)
    assert (found.device, found.version, found.issued, found.expires) == ("cam-1", 4, NOW, LATER)
    assert (found.nonce, found.wanted) == ("boot-7", (wanted("m"), wanted("n")))
    assert read_desired(desired(), TOP).nonce == ""


def test_the_digest_covers_the_signed_part_and_not_the_signature() -> None:
    first, second = desired(wanted()), desired(wanted())
    other = desired(wanted(), nonce="n")
    assert read_desired(first, TOP).digest == read_desired(second, TOP).digest
    assert read_desired(first, TOP).digest != read_desired(other, TOP).digest


def test_exactly_the_maximum_number_of_models_is_accepted() -> None:
    names = [f"m{number}" for number in range(MAX_MODELS_PER_DEVICE + 1)]
    assert len(read_desired(desired(*map(wanted, names[:-1])), TOP).wanted) == MAX_MODELS_PER_DEVICE
    assert code_of(lambda: read_desired(desired(*map(wanted, names)), TOP)) == Code.MESSAGE_MALFORMED


def test_a_model_named_twice_is_malformed() -> None:
    assert code_of(lambda: read_desired(desired(wanted(), wanted(release=4)), TOP)) == Code.MESSAGE_MALFORMED


def test_a_path_and_its_slot_must_name_the_same_model() -> None:
    assert code_of(lambda: read_desired(desired(wanted(custom_model="n")), TOP)) == Code.PATH_INVALID


def test_a_target_without_a_digest_has_none() -> None:
    raw = resigned(lambda signed: setattr(signed.targets["models/m/v3.onnx"], "hashes", {"sha512": "0" * 128}))
    assert [want.sha256 for want in read_desired(raw, TOP).wanted] == [""]


def test_a_document_with_delegations_is_no_desired_document() -> None:
    raw = resigned(lambda signed: setattr(signed, "delegations", Delegations({}, {})))
    assert code_of(lambda: read_desired(raw, TOP)) == Code.MESSAGE_MALFORMED


def test_a_document_of_another_protocol_is_refused_with_that_reason() -> None:
    def newer(signed: Targets) -> None:
        signed.unrecognized_fields["x-edge"]["protocol"] = PROTOCOL + 1

    assert code_of(lambda: read_desired(resigned(newer), TOP)) == Code.PROTOCOL_UNKNOWN


@pytest.mark.parametrize("issued", ["2026-01-01T00:00:00", "yesterday", ""])
def test_a_document_must_name_the_time_zone_of_its_issue(issued: str) -> None:
    def undated(signed: Targets) -> None:
        signed.unrecognized_fields["x-edge"]["issued"] = issued

    assert code_of(lambda: read_desired(resigned(undated), TOP)) == Code.MESSAGE_MALFORMED


def test_a_document_without_edge_fields_is_malformed() -> None:
    assert code_of(lambda: read_desired(resigned(lambda signed: signed.unrecognized_fields.clear()), TOP)) == (
        Code.MESSAGE_MALFORMED
    )


def test_top_level_targets_without_a_director_accept_no_key() -> None:
    bare = Targets(version=1, expires=LATER)
    assert code_of(lambda: read_desired(desired(wanted()), bare)) == Code.SIGNATURE_INVALID


# What all of them have in common.


def test_every_signer_adds_a_signature() -> None:
    metadata = Metadata.from_bytes(sign(role(), KEYS.snapshot, KEYS.timestamp))
    assert set(metadata.signatures) == {KEYS.snapshot.public_key.keyid, KEYS.timestamp.public_key.keyid}
    assert b"\n" not in sign(role(), KEYS.snapshot)


def test_metadata_of_another_type_size_or_shape_is_refused() -> None:
    raw = desired(wanted())
    assert load(raw, Targets, max_bytes=len(raw)).signed.version == 4
    assert code_of(lambda: load(raw, Targets, max_bytes=len(raw) - 1)) == Code.MESSAGE_TOO_LARGE
    assert code_of(lambda: load(FILES["snapshot.json"].encode(), Targets, max_bytes=100_000)) == Code.MESSAGE_MALFORMED
    assert code_of(lambda: load(b'{"signed": 3}', Targets, max_bytes=100_000)) == Code.MESSAGE_MALFORMED


def test_a_date_keeps_its_time_zone() -> None:
    assert when("2026-01-02T03:04:05+02:00") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    assert when("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnsignedMetadataError("x"), Code.SIGNATURE_INVALID),
        (ExpiredMetadataError("x"), Code.METADATA_EXPIRED),
        (BadVersionNumberError("x"), Code.METADATA_ROLLBACK),
        (DeserializationError("x"), Code.MESSAGE_MALFORMED),
        (LengthOrHashMismatchError("x"), Code.METADATA_MISMATCH),
    ],
)
def test_each_kind_of_refusal_has_a_code_and_names_its_document(error: Exception, code: Code) -> None:
    found = refusal("role of m", error)
    assert (found.code, "role of m: x" in str(found)) == (code, True)


def test_trust_is_complete_once_it_has_targets() -> None:
    assert not Trusted(root="r", timestamp="t", snapshot="s").complete
    assert Trusted(root="r", targets="t").complete


def test_a_target_file_names_its_path() -> None:
    target: TargetFile = role().targets["models/m/v3.onnx"]
    assert target.path == "models/m/v3.onnx"


def test_a_signed_inquiry_names_the_key_of_the_director_that_signed_it() -> None:
    asked = Inquiry(protocol=PROTOCOL, device="cam-1", id="q-1", what="logs", lines=10, issued=1, keyid="of another")
    signed = sign_inquiry(asked, KEYS.director)
    assert signed.keyid == KEYS.director.public_key.keyid
    check_inquiry(signed, TOP)
    assert code_of(lambda: check_inquiry(replace(signed, lines=11), TOP)) == Code.SIGNATURE_INVALID
