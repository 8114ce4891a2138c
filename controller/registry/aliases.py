"""Aliases of versions, and the one place where a text becomes the number of a version.

Decides what a text may mean: a number (`3`, `v3`), a semantic version (`1.2.0`), `newest`, or an alias (`champion`).
Refuses to know what the version is used for.
"""

import re
from collections.abc import Mapping

import msgspec

from contract.errors import BadInput, Code
from contract.names import check_name
from contract.near_names import is_it, some_of
from contract.wire import Message
from controller.registry.registry import Registry
from controller.registry.semver import is_semver, newest_of
from controller.registry.store import Store

NEWEST = "newest"
"""The newest version that has passed its gates and is not withdrawn."""
MAX_ALIASES = 100
"""The most aliases of one model: people read the list."""
_TABLE = "aliases"
_NUMBER = re.compile(r"v?([1-9][0-9]{0,8})\Z")


class Alias(Message, frozen=True):
    """The version that an alias names now, the person who set it, and the time."""

    release: int
    by: str
    at: str


class Aliases:
    """The aliases of all models, in a Store."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store, self._registry = store, registry

    def of(self, model: str) -> Mapping[str, Alias]:
        """Every alias of a model, by name."""
        doc = self._store.get(_TABLE, model) or {}
        return {name: msgspec.convert(each, Alias) for name, each in sorted(doc.items())}

    def naming(self, model: str, release: int) -> tuple[str, ...]:
        """Returns the aliases of this version, sorted."""
        return tuple(name for name, alias in self.of(model).items() if alias.release == release)

    def set(self, model: str, name: str, alias: Alias) -> Alias | None:
        """Sets an alias to a version, durably; returns what it named before.

        BadInput `name_invalid`, `unknown_model`, `unknown_version`; `request_invalid` beyond MAX_ALIASES.
        """
        check_name(name, "alias")
        if name == NEWEST or _NUMBER.match(name):
            raise BadInput(Code.NAME_INVALID, f"{name!r} means a version by itself: choose another alias")
        self._registry.version(model, alias.release)
        known = self._store.get(_TABLE, model) or {}
        if len(known) >= MAX_ALIASES and name not in known:
            raise BadInput(Code.REQUEST_INVALID, f"{model} has {MAX_ALIASES} aliases: remove one first")
        before = self.of(model).get(name)
        self._store.put(_TABLE, {model: {**known, name: msgspec.to_builtins(alias)}})
        self._tell(model, alias, before)
        return before

    def remove(self, model: str, name: str) -> Alias:
        """Removes an alias; returns what it named. BadInput `unknown_version` if there is none."""
        known = self.of(model)
        if name not in known:
            raise self._unknown(model, name)
        doc = self._store.get(_TABLE, model) or {}
        self._store.put(_TABLE, {model: {each: alias for each, alias in doc.items() if each != name}})
        self._tell(model, known[name])
        return known[name]

    def resolve(self, model: str, text: str | int) -> int:
        """Returns the number of the version that a text means. BadInput `unknown_model`, `unknown_version`."""
        text = str(text)
        if (number := _NUMBER.match(text)) is not None:
            return self._registry.version(model, int(number.group(1))).release
        if text == NEWEST:
            return self._registry.newest_passed(model).release
        if is_semver(text):
            found = newest_of(text, self._registry.versions(model))
        else:
            alias = self.of(model).get(text)
            found = alias.release if alias is not None else None
        if found is None:
            self._registry.versions(model)
            raise self._unknown(model, text)
        return found

    def _unknown(self, model: str, text: str) -> BadInput:
        known = list(self.of(model))
        near = is_it(text, known) or f"; aliases: {some_of(known)}"
        words = f"{model} has no version {text[:64]!r}: name a number, a semantic version or an alias{near}"
        return BadInput(Code.UNKNOWN_VERSION, words)

    def _tell(self, model: str, *changed: Alias | None) -> None:
        for release in sorted({each.release for each in changed if each is not None}):
            self._registry.changed(model, release)
