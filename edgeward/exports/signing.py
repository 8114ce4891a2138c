"""The OpenSSF model signature (OMS) of a folder: a Sigstore bundle over the digests of all its files.

Decides the form that `model_signing verify key` reads: an in-toto statement in a DSSE envelope, signed with an
elliptic curve key. Source: the OpenSSF Model Signing specification 1.0. The package itself is not used: it also
installs Sigstore's online services, and this form needs one signature.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.dsse import covered
from contract.errors import BadInput, Code

SIGNATURE = "model.sig"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_SIGNATURE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PREDICATE = "https://model_signing/signature/v1.0"
_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512,
}  # fmt: skip
"""The hash that belongs to each curve of the specification."""


def sign_folder(files: Mapping[str, bytes], name: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The bundle of a folder `name` with these files, for the file SIGNATURE in it."""
    payload = json.dumps(_statement(files, name), separators=(",", ":")).encode()
    signed = key.sign(_pre_authentication(payload), ec.ECDSA(_HASHES[key.curve.name]()))
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signed).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": hashlib.sha256(public).hexdigest()}, "tlogEntries": []}
    signature = {"mediaType": _SIGNATURE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(signature, separators=(",", ":")).encode()


def read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A private key on a curve of the specification, from PEM. BadInput `request_invalid` for anything else."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(Code.REQUEST_INVALID, f"{path}: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        how = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
        raise BadInput(Code.REQUEST_INVALID, f"{path}: expected a key on {', '.join(_HASHES)}; make one: {how}")
    return key


def _statement(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    digests = {path: hashlib.sha256(content).digest() for path, content in sorted(files.items())}
    whole = hashlib.sha256(b"".join(digests.values())).hexdigest()
    resources = [{"name": path, "algorithm": "sha256", "digest": digest.hex()} for path, digest in digests.items()]
    serialized = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": serialized, "resources": resources},
    }


def _pre_authentication(payload: bytes) -> bytes:
    """Returns what is signed in place of the payload (DSSE 1.0, protocol.md)."""
    return covered(_PAYLOAD_TYPE.encode(), payload)
