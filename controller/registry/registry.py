"""Models and their versions on a Store: immutable, numbered from 1, with withdrawals and waivers beside them.

Decides numbering, and that a version is read with the waivers of its gates. Refuses to know how a version was made,
where it runs, its aliases (`aliases`), and what people write about it (`notes`).
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from itertools import count

import msgspec

from contract.errors import BadInput, Code
from contract.kept import convert_kept
from contract.names import check_name
from contract.near_names import is_it, some_of
from contract.wire import encode
from controller.gates.verdict import Waiver
from controller.registry.store import Doc, Store
from controller.registry.version import Environment, Removal, Version, Withdrawal

VERSIONS_PER_TABLE = 500
"""The most versions in one table: a push writes its table whole, in 8 to 12 ms. All of 100,000 versions in one table
took 16 s (docs/adr/0026)."""
_VERSIONS, _WITHDRAWN, _WAIVERS, _ENVIRONMENTS, _REMOVED = (
    "versions",
    "withdrawn",
    "waivers",
    "environments",
    "removed",
)


class Registry:
    """Versions on a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.changed: Callable[[str, int], None] = lambda model, release: None
        """The function that is called with (model, release) once a change that a search can find is durable."""
        self.registered: dict[str, dict[int, frozenset[str]]] = {}
        """model -> release -> digests of its forms: the versions that a device can be sent, in the terms in which it
        reports."""
        self._tables: dict[str, str] = {}
        """key of a version -> the table that holds it."""
        for table in self._filled_tables():
            for doc in store.all(table).values():
                self._note(convert_kept(doc, Version), table)
        self.withdrawn: dict[tuple[str, int], str] = {}
        """(model, release) -> why no device may get it any more."""
        for key, doc in store.all(_WITHDRAWN).items():
            model, _, release = key.rpartition("/")
            self.withdrawn[model, int(release)] = str(doc["reason"])

    def models(self) -> list[str]:
        """Names in order of their first version."""
        return list(self.registered)

    def versions(self, model: str) -> list[Version]:
        """All versions, oldest first; BadInput `unknown_model`."""
        releases = self.registered.get(model)
        if not releases:
            known = self.models()
            near = is_it(model, known) or f"; there are: {some_of(known)}"
            raise BadInput(Code.UNKNOWN_MODEL, f"no model {model[:64]!r}{near}")
        return [self._read(doc) for release in releases if (doc := self._doc(key_of(model, release))) is not None]

    def version(self, model: str, release: int) -> Version:
        """One version; BadInput `unknown_model`, `unknown_version`."""
        doc = self._doc(key_of(model, release))
        if doc is None:
            newest = self.versions(model)[-1].release
            raise BadInput(Code.UNKNOWN_VERSION, f"{model} has no version {release}; the newest is {newest}")
        return self._read(doc)

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
        """Returns by whom, when and why a version was withdrawn; None for one that was not, or that was reinstated."""
        doc = self._store.get(_WITHDRAWN, key_of(model, release))
        return None if doc is None else msgspec.convert(doc, Withdrawal)

    def withdraw(self, model: str, release: int, withdrawal: Withdrawal) -> None:
        """Records durably that no rollout may bring a version any more. BadInput `unknown_model`, `unknown_version`."""
        self.version(model, release)
        self._store.put(_WITHDRAWN, {key_of(model, release): msgspec.to_builtins(withdrawal)})
        self.withdrawn[model, release] = withdrawal.reason
        self.changed(model, release)

    def reinstate(self, model: str, release: int) -> None:
        """Ends a withdrawal."""
        self._store.delete(_WITHDRAWN, key_of(model, release))
        self.withdrawn.pop((model, release), None)
        self.changed(model, release)

    def waive(self, model: str, release: int, gate: str, waiver: Waiver) -> None:
        """Records durably that a version passes although this gate has failed. BadInput `request_invalid` if it has
        not.

        A waiver is permanent: withdraw the version instead.
        """
        verdicts = {each.gate: each for each in self.version(model, release).gates}
        if gate not in verdicts or verdicts[gate].passed:
            failed = ", ".join(name for name, each in verdicts.items() if not each.passed) or "none"
            raise BadInput(
                Code.REQUEST_INVALID, f"{model} v{release} has not failed at {gate[:64]!r}; failed gates: {failed}"
            )
        known = self._store.get(_WAIVERS, key_of(model, release)) or {}
        self._store.put(_WAIVERS, {key_of(model, release): {**known, gate: msgspec.to_builtins(waiver)}})
        self.changed(model, release)

    def removal(self, model: str, release: int) -> Removal | None:
        """Returns by whom and when a version's blobs were deleted; None if they are kept."""
        doc = self._store.get(_REMOVED, key_of(model, release))
        return None if doc is None else msgspec.convert(doc, Removal)

    def remove(self, removals: Mapping[tuple[str, int], Removal]) -> None:
        """Records durably that blobs of these versions are deleted: no rollout may bring them any more."""
        docs = {key_of(*key): msgspec.to_builtins(removal) for key, removal in removals.items()}
        if docs:
            self._store.put(_REMOVED, docs)

    def keep(self, model: str, release: int) -> None:
        """Cancels a removal, once the blobs exist again."""
        self._store.delete(_REMOVED, key_of(model, release))

    def next_release(self, model: str) -> int:
        """Returns the number of the next version. BadInput `name_invalid`."""
        check_name(model, "model")
        return max(self.registered.get(model, {}), default=0) + 1

    def newest(self, model: str) -> Version | None:
        """The newest version, passed or not; None for a model without any."""
        releases = self.registered.get(model)
        return self.version(model, max(releases)) if releases else None

    def having(self, model: str, digest: str) -> list[Version]:
        """Returns versions of a model of which one form's artifact has this digest, oldest first."""
        releases = [release for release, digests in self.registered.get(model, {}).items() if digest in digests]
        return [self.version(model, release) for release in releases]

    def add(self, version: Version) -> None:
        """Registers a version durably. ValueError if the number is taken: versions are immutable."""
        key = key_of(version.model, version.release)
        if key in self._tables:
            raise ValueError(f"{key} exists")
        table = self._open_table()
        self._store.put(table, {key: msgspec.to_builtins(version)})
        self._note(version, table)
        self.changed(version.model, version.release)

    def add_environment(self, environment: Environment) -> str:
        """Stores the environment of a training, once for all versions that share it; returns its SHA-256."""
        digest = sha256(encode(environment)).hexdigest()
        if self._store.get(_ENVIRONMENTS, digest) is None:
            self._store.put(_ENVIRONMENTS, {digest: msgspec.to_builtins(environment)})
        return digest

    def environment(self, digest: str) -> Environment | None:
        """Returns the environment in which a version was trained; None if it is not known."""
        doc = self._store.get(_ENVIRONMENTS, digest)
        return None if doc is None else convert_kept(doc, Environment)

    def _read(self, doc: Doc) -> Version:
        version = convert_kept(doc, Version)
        waivers = self._store.get(_WAIVERS, key_of(version.model, version.release))
        if not waivers:
            return version
        gates = tuple(
            msgspec.structs.replace(each, waiver=msgspec.convert(waivers[each.gate], Waiver))
            if each.gate in waivers
            else each
            for each in version.gates
        )
        return msgspec.structs.replace(version, gates=gates)

    def _doc(self, key: str) -> Doc | None:
        return self._store.get(self._tables[key], key) if key in self._tables else None

    def _filled_tables(self) -> Iterator[str]:
        """Tables that hold versions, oldest first: `versions`, `versions-2` and so on."""
        for number in count(1):
            table = f"{_VERSIONS}-{number}" if number > 1 else _VERSIONS
            if not self._store.all(table):
                return
            yield table

    def _open_table(self) -> str:
        """The table that takes the next version."""
        filled = list(self._filled_tables())
        if filled and len(self._store.all(filled[-1])) < VERSIONS_PER_TABLE:
            return filled[-1]
        return f"{_VERSIONS}-{len(filled) + 1}" if filled else _VERSIONS

    def _note(self, version: Version, table: str) -> None:
        self._tables[key_of(version.model, version.release)] = table
        digests = frozenset(form.artifact.sha256 for form in version.manifest.forms)
        self.registered.setdefault(version.model, {})[version.release] = digests


def key_of(model: str, release: int) -> str:
    """The key of a version in every table that is about versions."""
    return f"{model}/{release}"
