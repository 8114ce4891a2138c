"""The bill of materials of a version as CycloneDX 1.6 (ML-BOM): model, training data by digest, libraries, model card.

Decides which facts of a version go into which field; unknown facts are left out. The serial number follows from the
digest, so that the same version gives the same bill. Source: cyclonedx.org/docs/1.6/json. Refuses to know any tool.
"""

import json
import uuid
from typing import Any
from urllib.parse import quote

from contract.manifest import Tensor
from edgeward.exports.exported import DESCRIBED, MODEL, Exported

BOM = "bom.cdx.json"
_MODEL, _DATA = "model", "training-data"


def folder(exported: Exported) -> dict[str, bytes]:
    """Files of the folder by their paths."""
    return {**exported.files, DESCRIBED: exported.described, BOM: json.dumps(bom(exported), indent=1).encode()}


def bom(exported: Exported) -> dict[str, Any]:
    """The bill as plain values."""
    version = exported.version
    packages = version.environment.packages if version.environment is not None else version.lineage.libraries
    parts = [_library(name, number) for name, number in sorted(packages.items())]
    if version.lineage.data is not None:
        parts.insert(0, _training_data(exported))
    depends = {"ref": _MODEL, "dependsOn": [each["bom-ref"] for each in parts]}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{exported.name}:{version.digest}')}",
        "version": 1,
        "metadata": {"timestamp": version.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": _model(exported)},
        "components": parts,
        "dependencies": [depends, *({"ref": each["bom-ref"]} for each in parts)],
    }


def _model(exported: Exported) -> dict[str, Any]:
    version, lineage = exported.version, exported.version.lineage
    told = {
        "file": MODEL, "release": str(version.release), "run": lineage.run,
        "code": lineage.code.revision if lineage.code else "", "parent": str(lineage.parent or ""),
        "golden_sha256": exported.manifest.golden.blob.sha256, "data_sets": ", ".join(lineage.data_sets),
    }  # fmt: skip
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": version.model,
        "version": version.semver or str(version.release),
        "hashes": [{"alg": "SHA-256", "content": version.digest}],
        **({"licenses": [{"expression": version.licence}]} if version.licence else {}),
        "modelCard": _card(exported),
        "properties": [{"name": f"edgeward:{name}", "value": value} for name, value in told.items() if value],
    }


def _card(exported: Exported) -> dict[str, Any]:
    version, manifest = exported.version, exported.manifest
    parameters: dict[str, Any] = {
        "approach": {"type": "supervised"},
        "task": version.task,
        "architectureFamily": version.estimator,
        "inputs": [{"format": _format(each)} for each in manifest.inputs],
        "outputs": [{"format": _format(each)} for each in manifest.outputs],
    }
    if version.lineage.data is not None:
        parameters["datasets"] = [{"ref": _DATA}]
    card: dict[str, Any] = {"modelParameters": parameters}
    if version.metrics:
        measured = [{"type": name, "value": str(number)} for name, number in version.metrics.items()]
        card["quantitativeAnalysis"] = {"performanceMetrics": measured}
    if version.notes.note is not None:
        card["considerations"] = {"useCases": [version.notes.note.text]}
    return card


def _training_data(exported: Exported) -> dict[str, Any]:
    data = exported.version.lineage.data
    assert data is not None
    return {
        "type": "data",
        "bom-ref": _DATA,
        "name": "training data",
        "hashes": [{"alg": "SHA-256", "content": data.sha256}],
        "properties": [{"name": "edgeward:rows", "value": str(data.rows)}],
    }


def _library(name: str, number: str) -> dict[str, str]:
    address = f"pkg:pypi/{quote(name.lower().replace('_', '-'))}@{quote(number)}"
    return {"type": "library", "bom-ref": address, "name": name, "version": number, "purl": address}


def _format(tensor: Tensor) -> str:
    return f"{tensor.name}: {tensor.datatype} {list(tensor.shape)}"
