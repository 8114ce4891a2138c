"""A version as an OCI image layout on disk, which registries for containers carry: an artifact with one layer a file.

Decides media types and annotations. Source: the image specification 1.1 (image-layout.md, manifest.md). Every blob is
read back only by its digest.
"""

import json
from collections.abc import Callable
from typing import Any

from contract.blobs import sha256_hex
from contract.errors import BadInput, Code
from edgeward.exports.exported import DESCRIBED, Exported

ARTIFACT_TYPE = "application/vnd.edgeward.model.v1"
INDEX, LAYOUT = "index.json", "oci-layout"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_TITLE = "org.opencontainers.image.title"
MAX_JSON_BYTES = 4 << 20
"""The largest index or manifest: registries refuse larger ones."""


def folder(exported: Exported) -> dict[str, bytes]:
    """Files of the layout by their paths."""
    version = exported.version
    blobs: dict[str, bytes] = {}
    layers = [
        {**_put(blobs, content, _media_type(name)), "annotations": {_TITLE: name}}
        for name, content in {**exported.files, DESCRIBED: exported.described}.items()
    ]
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": _put(blobs, _EMPTY, _EMPTY_TYPE),
        "layers": layers,
        "annotations": {
            "org.opencontainers.image.created": version.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "org.opencontainers.image.version": version.semver or str(version.release),
            _TITLE: version.model,
            **({"org.opencontainers.image.licenses": version.licence} if version.licence else {}),
        },
    }
    named = _put(blobs, _json(manifest), _MANIFEST_TYPE)
    tag = {"org.opencontainers.image.ref.name": version.semver or f"v{version.release}"}
    index = {"schemaVersion": 2, "manifests": [{**named, "artifactType": ARTIFACT_TYPE, "annotations": tag}]}
    layout = {LAYOUT: _json({"imageLayoutVersion": "1.0.0"}), INDEX: _json(index)}
    return {**{f"blobs/sha256/{digest}": content for digest, content in blobs.items()}, **layout}


def files_of(read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The files that a layout carries, by title; `read` gives the bytes at a path.

    BadInput `request_invalid` for a layout without a model of Edgeward, `digest_mismatch` for a damaged blob.
    """
    index = _read_json(read(INDEX))
    found = [each for each in index.get("manifests", []) if each.get("mediaType") == _MANIFEST_TYPE]
    if len(found) != 1:
        raise BadInput(Code.REQUEST_INVALID, f"{INDEX} names {len(found)} manifests: expected one model")
    manifest = _read_json(_get(read, found[0]))
    layers = {each.get("annotations", {}).get(_TITLE, ""): each for each in manifest.get("layers", [])}
    return {title: _get(read, layer) for title, layer in layers.items() if title}


def _put(blobs: dict[str, bytes], content: bytes, media_type: str) -> dict[str, Any]:
    digest = sha256_hex(content)
    blobs[digest] = content
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _get(read: Callable[[str], bytes], named: dict[str, Any]) -> bytes:
    digest = str(named.get("digest", "")).removeprefix("sha256:")
    content = read(f"blobs/sha256/{digest}") if digest.isalnum() else b""
    if sha256_hex(content) != digest:
        raise BadInput(Code.DIGEST_MISMATCH, f"blob {digest[:12]} of the layout is damaged")
    return content


def _media_type(name: str) -> str:
    kinds = {"onnx": "application/vnd.edgeward.onnx.v1", "npz": "application/vnd.edgeward.rows.v1+npz"}
    return kinds.get(name.rpartition(".")[2], "application/vnd.edgeward.version.v1+json")


def _json(found: dict[str, Any]) -> bytes:
    return json.dumps(found, separators=(",", ":"), sort_keys=True).encode()


def _read_json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw) if len(raw) <= MAX_JSON_BYTES else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise BadInput(Code.REQUEST_INVALID, "this is no OCI image layout: its JSON cannot be read")
    return found
