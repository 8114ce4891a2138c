"""Models and their versions: immutable integers, with where they came from and the evidence that let them through.

Decides numbering and what "released" means. Refuses to know how a version was made or where it runs.
"""

from typing import Any

import msgspec

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from contract.manifest import Manifest
from contract.names import check_name
from contract.wire import Message
from controller.gates.verdict import GateVerdict
from controller.registry.store import Store

_WITHDRAWN = "withdrawn"


class Lineage(Message, frozen=True):
    """Where a version came from."""

    created_at: str
    created_by: str
    source: str
    """`skops` or `onnx`."""
    source_sha256: str
    estimator: str = ""
    params: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    tags: dict[str, str] = {}


class Version(Message, frozen=True):
    """One version of a model."""

    model: str
    release: int
    manifest: Manifest
    lineage: Lineage
    evidence: dict[str, Any]
    """What conversion measured, parity first of all."""
    gates: tuple[GateVerdict, ...]

    @property
    def passed(self) -> bool:
        """Whether every gate has passed; only then may a rollout name the version."""
        return all(gate.passed for gate in self.gates)


class Withdrawal(Message, frozen=True):
    """Who has withdrawn a version, when, and why."""

    by: str
    at: str
    reason: str


class Registry:
    """Versions on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.registered: dict[str, dict[int, frozenset[str]]] = {}
        """model -> release -> digests of its forms: what a device can be sent, in the terms in which it reports."""
        for doc in store.all("versions").values():
            self._note(convert_kept(doc, Version))
        self.withdrawn: dict[tuple[str, int], str] = {}
        """(model, release) -> why nobody is to get it any more."""
        for key, doc in store.all(_WITHDRAWN).items():
            model, _, release = key.rpartition("/")
            self.withdrawn[model, int(release)] = str(doc["reason"])

    def models(self) -> list[str]:
        """Names in order of their first version."""
        return list(dict.fromkeys(doc["model"] for doc in self._store.all("versions").values()))

    def versions(self, model: str) -> list[Version]:
        """All versions, oldest first; BadInput `unknown_model`."""
        found = [doc for doc in self._store.all("versions").values() if doc["model"] == model]
        if not found:
            raise BadInput(
                Code.UNKNOWN_MODEL, f"no model {model[:64]!r}; there are: {', '.join(self.models()) or 'none'}"
            )
        return [convert_kept(doc, Version) for doc in found]

    def version(self, model: str, release: int) -> Version:
        """One version; BadInput `unknown_model`, `unknown_version`."""
        doc = self._store.get("versions", _key(model, release))
        if doc is None:
            newest = self.versions(model)[-1].release
            raise BadInput(Code.UNKNOWN_VERSION, f"{model} has no version {release}; the newest is {newest}")
        return convert_kept(doc, Version)

    def newest_passed(self, model: str) -> Version:
        """The newest version whose gates have passed and that is not withdrawn; BadInput `gates_not_passed`."""
        passed = [version for version in self.versions(model) if version.passed]
        if not passed:
            raise BadInput(Code.GATES_NOT_PASSED, f"no version of {model} has passed its gates")
        free = [version for version in passed if (model, version.release) not in self.withdrawn]
        if not free:
            raise BadInput(Code.VERSION_WITHDRAWN, f"every version of {model} that has passed its gates is withdrawn")
        return free[-1]

    def withdrawal(self, model: str, release: int) -> Withdrawal | None:
        """By whom, when and why a version was withdrawn; None for one that was not, or that was reinstated."""
        doc = self._store.get(_WITHDRAWN, _key(model, release))
        return None if doc is None else msgspec.convert(doc, Withdrawal)

    def withdraw(self, model: str, release: int, withdrawal: Withdrawal) -> None:
        """Keeps durably that no rollout may bring a version any more. BadInput `unknown_model`, `unknown_version`."""
        self.version(model, release)
        self._store.put(_WITHDRAWN, {_key(model, release): msgspec.to_builtins(withdrawal)})
        self.withdrawn[model, release] = withdrawal.reason

    def reinstate(self, model: str, release: int) -> None:
        """Ends a withdrawal."""
        self._store.delete(_WITHDRAWN, _key(model, release))
        self.withdrawn.pop((model, release), None)

    def next_release(self, model: str) -> int:
        """The number that the next version gets."""
        check_name(model, "model")
        known = [doc["release"] for doc in self._store.all("versions").values() if doc["model"] == model]
        return max(known, default=0) + 1

    def add(self, version: Version) -> None:
        """Registers a version durably. ValueError if the number is taken: versions are immutable."""
        key = _key(version.model, version.release)
        if self._store.get("versions", key) is not None:
            raise ValueError(f"{key} exists")
        self._store.put("versions", {key: msgspec.to_builtins(version)})
        self._note(version)

    def _note(self, version: Version) -> None:
        digests = frozenset(form.artifact.sha256 for form in version.manifest.forms)
        self.registered.setdefault(version.model, {})[version.release] = digests


def _key(model: str, release: int) -> str:
    return f"{model}/{release}"


def gate_words(version: Version) -> str:
    """What the gates said of a version."""
    return "; ".join(f"{gate.gate} {'passed' if gate.passed else 'FAILED'}: {gate.detail}" for gate in version.gates)
