"""The model card of a version for Hugging Face: YAML metadata, then words for people.

Decides what a card says: its purpose, how to call it, how it was judged, its origin, its limits. Unknown facts are
named as unknown. Source of the metadata: huggingface.co/docs/hub/model-cards.
"""

from collections.abc import Sequence
from typing import Any

import yaml

from edgeward.exports.exported import Exported

_TASKS = {"classification": "tabular-classification", "regression": "tabular-regression"}


def card(exported: Exported) -> str:
    """README.md of a folder for Hugging Face."""
    head = yaml.safe_dump(metadata(exported), sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n\n{_words(exported)}"


def metadata(exported: Exported) -> dict[str, Any]:
    """The front matter of a card; metrics as `model-index`, which leaderboards read."""
    version = exported.version
    task = _TASKS.get(version.task, "other")
    found: dict[str, Any] = {"library_name": "onnx", "tags": ["onnx", "edgeward", *_tags(version.tags)]}
    found |= {"pipeline_tag": task} if version.task in _TASKS else {}
    found |= _licence(version.licence)
    if version.metrics:
        measured = [{"type": name, "name": name, "value": number} for name, number in version.metrics.items()]
        data = version.lineage.data
        dataset = {"name": "training data", "type": f"sha256:{data.sha256}" if data else "unknown"}
        results = [{"task": {"type": task}, "dataset": dataset, "metrics": measured}]
        found |= {"metrics": list(version.metrics), "model-index": [{"name": exported.name, "results": results}]}
    return found


def _licence(licence: str) -> dict[str, str]:
    """Returns the licence for Hugging Face: SPDX identifiers in lower case, or `other` with a name."""
    if not licence:
        return {"license": "unknown"}
    known = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "gpl-3.0")
    if licence.lower() in known:
        return {"license": licence.lower()}
    return {"license": "other", "license_name": licence}


def _tags(tags: dict[str, str]) -> list[str]:
    return [f"{key}:{value}" for key, value in tags.items()]


def _words(exported: Exported) -> str:
    version, manifest = exported.version, exported.manifest
    lineage, notes = version.lineage, version.notes
    inputs = [(each.name, each.datatype, str(list(each.shape))) for each in manifest.inputs]
    outputs = [(each.name, each.datatype, str(list(each.shape))) for each in manifest.outputs]
    gates = [
        (each.gate, _verdict(passed=each.passed, waived=each.waiver is not None), each.detail, each.power)
        for each in version.gates
    ]
    code, data, environment = lineage.code, lineage.data, version.environment
    origin = [
        ("pushed", f"{lineage.created_at.isoformat()} by {lineage.created_by}"),
        ("estimator", version.estimator),
        ("parameters", ", ".join(f"{name}={value}" for name, value in lineage.params.items()) or "unknown"),
        ("training data", f"{data.rows} rows, sha256 {data.sha256}" if data else "unknown"),
        ("code", f"commit {code.revision}{' with changes' if code.dirty else ''}" if code else "unknown"),
        ("environment", f"Python {environment.python} on {environment.platform}" if environment else "unknown"),
        ("follows version", str(lineage.parent) if lineage.parent else "none"),
    ]
    parts = [
        f"# {version.model} {version.semver or version.release}",
        notes.note.text if notes.note else "Nobody has written a note about this version.",
        f"## How it is called\n\nA {version.task} model as ONNX, for devices. Columns: {', '.join(manifest.columns)}.",
        _table(("input", "type", "shape"), inputs),
        _table(("output", "type", "shape"), outputs),
        "## How it was judged",
        _table(("gate", "verdict", "evidence", "power"), gates),
        "## Where it comes from",
        _table(("what", "known"), origin),
        "## Limits\n\n"
        + f"A missing number is {'answered' if manifest.nan == 'accept' else 'refused'}. "
        + "It was compared with its estimator on the rows in golden.npz and on rows at decision boundaries; "
        + "what lies far from those rows was not tried.",
    ]
    return "\n\n".join(parts) + "\n"


def _verdict(*, passed: bool, waived: bool) -> str:
    return "waived" if waived else "passed" if passed else "failed"


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )
