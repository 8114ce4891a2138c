"""Views of versions in the API, made from the registry: one in a list, one in full, search results, and comparisons.

Decides what is shown with every version: whether it may be rolled out, its aliases, and what people wrote about it.
Refuses to know how a caller asks.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from contract.desired import Delivery
from contract.wire import Message
from controller.api.views import VersionMeasuredView, version_measured
from controller.gates.verdict import GateVerdict
from controller.registry.notes import Notes
from controller.registry.version import Environment, Removal, Version, Withdrawal
from controller.rollout.model import Rollout
from controller.state import State
from controller.verbs.intact import lost_words
from controller.verbs.rollouts import rolled_back
from controller.verbs.versions import devices_by_release

MAX_DEVICES_NAMED = 50
"""The most devices that are shown with a version: the first ones to examine; `/v1/devices` has all."""


class RolledBackView(Message, frozen=True):
    """How the newest rollout of a version has ended."""

    rollout: str
    reason: str


class FoundVersion(Message, frozen=True):
    """One version in an answer to a search."""

    model: str
    release: int
    semver: str
    """`MAJOR.MINOR.PATCH`; empty for a version of an older controller."""
    passed: bool
    """Whether every gate has passed or is waived."""
    digest: str
    size_bytes: int
    task: str
    estimator: str
    created_at: str
    created_by: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    """The metrics that its push has named."""
    licence: str
    gates: tuple[GateVerdict, ...]
    withdrawn: Withdrawal | None
    """The person, the time and the reason of a withdrawal: no rollout may start it."""
    removed: Removal | None
    """The person and the time of the deletion of its blobs: no rollout may start it."""
    rolled_back: RolledBackView | None
    """The newest rollout of it, if that was rolled back: another one starts only on explicit request."""


class VersionView(FoundVersion, frozen=True):
    """One version of a model."""

    devices: tuple[str, ...]
    """The first 50 devices that report it, serving or on trial."""


class VersionDetail(VersionView, frozen=True):
    """One version with everything that is known about it."""

    manifest: dict[str, Any]
    deliveries: tuple[Delivery, ...]
    """The sizes in bytes of its encoded forms, whole and as differences from other versions."""
    lineage: dict[str, Any]
    environment: Environment | None
    """The environment in which it was trained, if the push has named it."""
    notes: Notes
    evidence: dict[str, Any]
    measured: VersionMeasuredView
    lost: str
    """The first file of it that is missing or damaged, with the repair: no rollout may start it. Empty: none is."""


class PushAnswer(VersionDetail, frozen=True):
    """The result of a push: a version."""

    new: bool
    """False: these bytes were a version already, and no new one was made."""
    tags_added: dict[str, str]
    """Tags that the existing version got by this push."""
    tags_replaced: dict[str, str]
    """Their earlier values, of those that had one."""
    mended: bool
    """Whether files of the existing version were missing or damaged, and are there again."""
    not_taken: tuple[str, ...]
    """Facts of this push that the existing version does not take: it keeps those of its first push."""


class VersionPage(Message, frozen=True):
    """A page of a search."""

    total: int
    """The number of versions on all pages."""
    versions: tuple[FoundVersion, ...]
    unknown: tuple[str, ...] = ()
    """If nothing was found: the tags, metrics, parameters and aliases in the query that no version has."""


class AliasView(Message, frozen=True):
    """A name that people gave to a version."""

    alias: str
    release: int
    by: str
    at: str


class Retained(Message, frozen=True):
    """Why the blobs of a version are kept."""

    release: int
    reason: str


class CleanAnswer(Message, frozen=True):
    """What the retention rule decides about each version of a model."""

    kept: tuple[Retained, ...]
    marked: tuple[int, ...]
    """Releases that can no longer be started; their blobs are deleted a day later."""
    removed: tuple[int, ...]
    """Releases whose blobs are deleted, or are deleted now if the rule is applied."""
    removed_bytes: int


class FitView(Message, frozen=True):
    """Which devices can run a version."""

    model: str
    release: int
    forms: dict[str, int]
    """Number of devices by the form that each would get: `full`, `fp16`, `int8`."""
    unfit: dict[str, str]
    """The reason why each other device cannot run it, by device."""
    unknown: tuple[str, ...]
    """Devices that have not reported their hardware yet."""


def found_fields(state: State, version: Version, back_by: Mapping[int, Rollout]) -> dict[str, Any]:
    """Fields of a FoundVersion; `back_by` are the rollouts of its model that were rolled back, by release."""
    registry, model, release = state.registry, version.model, version.release
    back = back_by.get(release)
    return {
        "model": model,
        "release": release,
        "semver": version.semver,
        "passed": version.passed,
        "digest": version.manifest.artifact.sha256,
        "size_bytes": version.manifest.artifact.length,
        "task": version.manifest.task,
        "estimator": version.lineage.estimator or version.lineage.source,
        "created_at": version.lineage.created_at,
        "created_by": version.lineage.created_by,
        "aliases": state.aliases.naming(model, release),
        "tags": state.notes.of(model, release).tags,
        "metrics": version.lineage.metrics,
        "licence": version.lineage.licence,
        "gates": version.gates,
        "withdrawn": registry.withdrawal(model, release),
        "removed": registry.removal(model, release),
        "rolled_back": None if back is None else RolledBackView(rollout=back.id, reason=back.reason),
    }


def list_views(state: State, model: str) -> list[VersionView]:
    """Versions of a model, oldest first. BadInput `unknown_model`."""
    devices, back = devices_by_release(state, model), rolled_back(state, model)
    return [
        VersionView(devices=tuple(devices.get(each.release, ())[:MAX_DEVICES_NAMED]), **found_fields(state, each, back))
        for each in state.registry.versions(model)
    ]


def found_views(state: State, keys: Iterable[tuple[str, int]]) -> tuple[FoundVersion, ...]:
    """Versions of any models, by (model, release), in this order."""
    found = [state.registry.version(model, release) for model, release in keys]
    back = {model: rolled_back(state, model) for model in {each.model for each in found}}
    return tuple(FoundVersion(**found_fields(state, each, back[each.model])) for each in found)


def detail_fields(state: State, version: Version) -> dict[str, Any]:
    """Fields of a VersionDetail."""
    devices = devices_by_release(state, version.model).get(version.release, [])
    return {
        **found_fields(state, version, rolled_back(state, version.model)),
        "devices": tuple(devices[:MAX_DEVICES_NAMED]),
        "manifest": msgspec.to_builtins(version.manifest),
        "deliveries": state.deliveries.of(version.manifest),
        "lineage": msgspec.to_builtins(version.lineage),
        "environment": state.registry.environment(version.lineage.environment_sha256),
        "notes": state.notes.of(version.model, version.release),
        "evidence": version.evidence,
        "measured": version_measured(state.world, version.model, version.release),
        "lost": lost_words(state, version) if state.registry.removal(version.model, version.release) is None else "",
    }


def version_detail(state: State, version: Version) -> VersionDetail:
    """Everything about a version."""
    return VersionDetail(**detail_fields(state, version))
