import json
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from contract.desired import DesiredTarget, TrialPolicy
from contract.errors import BadInput, Code, EdgewardError
from contract.trust import TrustAnchor, Wanted, anchor_of, read_desired, read_model_role, sign_desired, sign_model_role
from firmware_sim.models import SIGNER, make_model

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 8, tzinfo=UTC)
ANCHOR = anchor_of(SIGNER)
MODEL = make_model(3, "good")


def wanted(model: str = "m", release: int = 3) -> Wanted:
    custom = DesiredTarget(slot=model, generation=4, rollout="r", policy=TrialPolicy())
    return Wanted(model, release, MODEL.manifest.artifact.length, MODEL.manifest.artifact.sha256, custom)


def desired(*wants: Wanted, signer: CryptoSigner = SIGNER) -> bytes:
    return sign_desired("cam-1", wants or (wanted(),), version=4, issued=NOW, expires=LATER, signer=signer)


def refused(raw: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read_desired(raw, ANCHOR)
    return caught.value.code


def test_a_signed_document_reads_back_as_it_was_written() -> None:
    document = read_desired(desired(), ANCHOR)
    assert (document.device, document.version, document.wanted, document.expires) == ("cam-1", 4, (wanted(),), LATER)


def test_the_document_is_a_tuf_targets_file_with_x_edge() -> None:
    signed = json.loads(desired())["signed"]
    assert signed["_type"] == "targets"
    assert signed["x-edge"]["device"] == "cam-1"
    assert signed["targets"]["models/m/v3.onnx"]["custom"]["generation"] == 4


def test_a_changed_byte_breaks_the_signature() -> None:
    assert refused(desired().replace(b"cam-1", b"cam-2")) == Code.SIGNATURE_INVALID


def test_another_key_is_not_believed() -> None:
    stranger = CryptoSigner(Ed25519PrivateKey.from_private_bytes(b"another key of 32 bytes, not ours"[:32]))
    assert refused(desired(signer=stranger)) == Code.SIGNATURE_INVALID


def test_a_path_outside_models_is_refused_even_when_signed() -> None:
    raw = desired().replace(b"models/m/v3.onnx", b"models/../v3.onnx")
    assert refused(raw) == Code.SIGNATURE_INVALID
    with pytest.raises(BadInput) as caught:
        desired(wanted(model="../m"))
    assert caught.value.code == Code.NAME_INVALID


def test_more_models_than_a_device_may_hold_are_refused() -> None:
    assert refused(desired(*(wanted(model=f"m{number}") for number in range(17)))) == Code.MESSAGE_MALFORMED


def test_a_role_lists_manifests_by_release() -> None:
    raw = sign_model_role("m", {3: MODEL.manifest}, version=3, expires=LATER, signer=SIGNER)
    assert read_model_role(raw, "m", ANCHOR) == {3: MODEL.manifest}


def test_a_role_of_one_model_does_not_speak_for_another() -> None:
    raw = sign_model_role("m", {3: MODEL.manifest}, version=3, expires=LATER, signer=SIGNER)
    with pytest.raises(BadInput) as caught:
        read_model_role(raw, "other", ANCHOR)
    assert caught.value.code == Code.PATH_INVALID


def test_a_desired_document_is_no_role_and_a_role_no_desired_document() -> None:
    role = sign_model_role("m", {3: MODEL.manifest}, version=3, expires=LATER, signer=SIGNER)
    assert refused(role) == Code.MESSAGE_MALFORMED
    with pytest.raises(BadInput):
        read_model_role(desired(), "m", ANCHOR)


def test_an_anchor_that_is_no_key_is_a_configuration_error() -> None:
    with pytest.raises(BadInput) as caught:
        TrustAnchor(keyid="00", key={"keytype": "ed25519"}).public_key()
    assert caught.value.code == Code.CONFIG_INVALID


@given(st.data())
def test_no_mutant_of_a_document_is_believed_or_crashes(data: st.DataObject) -> None:
    raw = bytearray(desired())
    at = data.draw(st.integers(0, len(raw) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    raw[at] = value
    try:
        document = read_desired(bytes(raw), ANCHOR)
    except EdgewardError:
        return
    assert document == read_desired(desired(), ANCHOR)  # whitespace or case of hex: nothing that was signed
