"""Compares two versions of a model: signature, metrics, parity, size, parameters and lineage.

Decides which values are compared and in which order. Refuses to know which of the two is better.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from contract.interface import interface_change
from contract.manifest import Manifest
from contract.wire import Message
from controller.registry.version import Environment, Version


class Difference(Message, frozen=True):
    """One value that differs. None: the version does not have it."""

    section: str
    """signature | metrics | parity | size | parameters | lineage | environment"""
    name: str
    before: Any
    after: Any


class Comparison(Message, frozen=True):
    """Two versions of a model, and what differs between them."""

    model: str
    before: int
    after: int
    interface_change: str
    """What callers of `before` must change, in words; empty if nothing."""
    same_artifact: bool
    differences: tuple[Difference, ...]


def compare_versions(
    before: Version, after: Version, environments: tuple[Environment | None, Environment | None] = (None, None)
) -> Comparison:
    """Compares two versions; `environments` are those in which they were trained, None if unknown."""
    sections = [
        _sections(version, environment) for version, environment in zip((before, after), environments, strict=True)
    ]
    return Comparison(
        model=after.model,
        before=before.release,
        after=after.release,
        interface_change=interface_change(before.manifest, after.manifest),
        same_artifact=before.manifest.artifact.sha256 == after.manifest.artifact.sha256,
        differences=tuple(
            each for name in sections[0] for each in _differing(name, sections[0][name], sections[1][name])
        ),
    )


def _state(manifest: Manifest) -> dict[str, str]:
    """What is kept between requests, by input."""
    if manifest.state is None:
        return {}
    rules = manifest.state
    how = f"{rules.max_keys} streams, anew after {rules.reset_after_s} s"
    return {f"state {each.input}": f"{each.output} {list(each.shape)}, {how}" for each in rules.tensors}


def _sections(version: Version, environment: Environment | None) -> dict[str, Mapping[str, Any]]:
    lineage, manifest = version.lineage, version.manifest
    return {
        "signature": {
            "semver": version.semver,
            "task": manifest.task,
            "columns": list(manifest.columns),
            **{f"input {each.name}": f"{each.datatype} {list(each.shape)}" for each in manifest.inputs},
            **_state(manifest),
            **{f"output {each.name}": f"{each.datatype} {list(each.shape)}" for each in manifest.outputs},
            "missing numbers": manifest.nan,
        },
        "metrics": {**lineage.metrics, **_measured(version)},
        "parity": _parity(version),
        "size": {
            "artifact_bytes": manifest.artifact.length,
            "memory_mb": manifest.limits.memory_mb,
            "load_s": manifest.limits.load_s,
            **{f"{each.name}_bytes": each.artifact.length for each in manifest.variants},
        },
        "parameters": {"estimator": lineage.estimator, **lineage.params},
        "lineage": _lineage(version),
        "environment": {} if environment is None else {"python": environment.python, **environment.packages},
    }


def _measured(version: Version) -> dict[str, float]:
    """Returns numbers that gates have measured, by gate and name."""
    return {f"{gate.gate}.{name}": number for gate in version.gates for name, number in gate.evidence.items()}


def _parity(version: Version) -> dict[str, Any]:
    parity = version.evidence.get("parity", {})
    compared = {kind: parity.get(kind, {}) for kind in ("sample", "boundary")}
    numbers = {f"{kind}.{name}": value for kind, found in compared.items() for name, value in found.items()}
    return {"reference": parity.get("reference"), "precision": parity.get("precision"), **numbers}


def _lineage(version: Version) -> dict[str, Any]:
    lineage = version.lineage
    return {
        "created_by": lineage.created_by,
        "source": lineage.source,
        "data": lineage.data.sha256 if lineage.data else None,
        "data_rows": lineage.data.rows if lineage.data else None,
        "sample": lineage.sample_sha256 or None,
        "revision": lineage.code.revision if lineage.code else None,
        "dirty": lineage.code.dirty if lineage.code else None,
        "parent": lineage.parent,
        "licence": lineage.licence or None,
        "run": lineage.run or None,
        "data_sets": ", ".join(lineage.data_sets) or None,
        **{f"library {name}": version for name, version in lineage.libraries.items()},
    }


def _differing(section: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in _in_order(before, after):
        if before.get(name) != after.get(name):
            yield Difference(section=section, name=name, before=before.get(name), after=after.get(name))


def _in_order(*names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for each in names for name in each))
