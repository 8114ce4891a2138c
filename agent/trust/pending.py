"""From signed bytes to assignments: a document that came too early waits here for the document that it needs.

A desired document needs the trust bundle (which names the director), a role needs the snapshot that names its
version, a target needs its role. Decides per model, so that one model's missing release does not delay another's
update.
"""

import math
from collections.abc import Callable, Mapping
from datetime import datetime

from agent.core import admission
from agent.core.admission import HighWater
from agent.core.model import Assignment
from contract import topics
from contract.errors import BadInput, Code
from contract.trust import chain
from contract.trust.documents import read_desired
from contract.trust.verified import Desired, Trusted, Wanted

ROLE_WAIT_S = 30.0
"""Seconds after which a role that is missing or does not list the release is reported. It is still accepted later.
"""
MAX_HELD = 16
"""The most roles that wait for the snapshot that names them."""


class Pending:
    """Verifies documents and combines them."""

    def __init__(self, device: str, machine: str, trusted: Trusted, wall_clock: Callable[[], datetime]) -> None:
        self.trusted = trusted
        self._device = device
        self._machine = machine
        self._wall_clock = wall_clock
        self._trust_bundle: bytes | None = None
        self._held_roles: dict[str, bytes] = {}
        self.held_desired: bytes | None = None
        """A document that arrived before the bundle that names its director."""
        self._waiting: dict[str, Wanted] = {}
        self._named_by: tuple[str, ...] = ()
        """Key ids of the director whose document named the waiting roles."""
        self._complain_at: float | None = None

    def restore_roles(self, roles: Mapping[str, str]) -> None:
        """Trusts roles that were verified before, if the snapshot still names them."""
        self.trusted = chain.with_roles(self.trusted, roles)

    def hold_trust_bundle(self, raw: bytes) -> None:
        """Keeps the newest bundle."""
        self._trust_bundle = raw

    def missing_root(self) -> int | None:
        """Returns the version of the root that must come before the newest bundle, None for none. BadInput."""
        return chain.missing_root(self.trusted, self._trust_bundle) if self._trust_bundle is not None else None

    def newer_roots(self) -> list[str]:
        """Returns the roots of the newest bundle that come after the trusted one, unverified. BadInput."""
        return chain.newer_roots(self.trusted, self._trust_bundle or b"")

    def read_trust_bundle(self) -> Trusted:
        """Returns what is trusted after the newest bundle. FollowedInPartError: what was verified before the fault."""
        return chain.follow(self.trusted, self._trust_bundle or b"", self._wall_clock())

    def read_root(self, text: str) -> Trusted:
        """Returns what is trusted after one more root. BadInput."""
        return chain.take_root(self.trusted, text)

    @property
    def current(self) -> bool:
        """Whether the newest root has signed the current metadata, and nothing has expired: only then are documents
        read.
        """
        now = chain.time_floor(self.trusted, self._wall_clock())
        return chain.is_vouched(self.trusted) and now < chain.expires(self.trusted)

    def await_trust(self, document: bytes, now: float) -> None:
        """Keeps a document until a valid bundle names its director."""
        self.held_desired = document
        self._complain_at = now + ROLE_WAIT_S

    def read_desired(self, raw: bytes, high_water: HighWater, nonce: str) -> tuple[Desired, HighWater]:
        """Returns a verified, admissible document and the high-water mark that it sets. BadInput."""
        try:
            document = read_desired(raw, chain.targets_of(self.trusted))
        except BadInput as error:
            if error.code == Code.SIGNATURE_INVALID:
                self.held_desired = raw  # a new director's document may come before the bundle that names the director
            raise
        now = chain.time_floor(self.trusted, self._wall_clock())
        keyids = chain.director_keys(self.trusted)
        mark = admission.check_document(
            document, device=self._device, high_water=high_water, keyids=keyids, now=now, nonce=nonce
        )
        return document, mark

    def role_of(self, topic: str) -> str | None:
        """Returns the model whose role `topic` carries, if a document waits for it or it is trusted already."""
        model = topic.rpartition("/")[2]
        known = model in self._waiting or model in dict(self.trusted.roles)
        return model if known and topic == topics.model_role(model) else None

    def read_role(self, model: str, raw: bytes) -> Trusted:
        """Returns what is trusted with this role; a role that comes before its bundle waits. BadInput."""
        if not chain.is_early(self.trusted, model, raw):
            return chain.take_role(self.trusted, model, raw, self._wall_clock())
        if model in self._held_roles or len(self._held_roles) < MAX_HELD:
            self._held_roles[model] = raw
        return self.trusted

    def retry_roles(self) -> Trusted:
        """Returns what is trusted with the waiting roles that fit now."""
        trusted = self.trusted
        for model, raw in list(self._held_roles.items()):
            try:
                trusted = chain.take_role(trusted, model, raw, self._wall_clock())
            except BadInput:
                continue
            del self._held_roles[model]
        return trusted

    def floors(self) -> dict[str, int]:
        """Returns the oldest release that each trusted role allows, for roles that forbid older ones."""
        roles = {model: chain.role_of(self.trusted, model) for model, _ in self.trusted.roles}
        return {model: role.min_release for model, role in roles.items() if role is not None and role.min_release}

    def await_roles(self, document: Desired, now: float) -> None:
        """Waits for the roles of `document`'s targets, in place of those of an older document."""
        self.held_desired = None
        self._waiting = {want.model: want for want in document.wanted}
        self._named_by = chain.director_keys(self.trusted)
        self._complain_at = now + ROLE_WAIT_S

    def take(self, now: float, min_releases: dict[str, int]) -> tuple[list[Assignment], list[BadInput]]:
        """Returns what can be decided now: admitted assignments, and refusals to report."""
        if chain.is_vouched(self.trusted) and chain.director_keys(self.trusted) != self._named_by:
            self._waiting = {}  # the document of a replaced director is no longer used
        if not self._waiting:
            return [], self._complain_of_trust(now)
        admitted: list[Assignment] = []
        refused: list[BadInput] = []
        for model, want in list(self._waiting.items()):
            role = chain.role_of(self.trusted, model)
            if role is None or want.release not in role.manifests:
                continue
            del self._waiting[model]
            try:
                admitted.append(admission.assign(want, role, min_releases.get(model, 0), self._machine))
            except BadInput as error:
                refused.append(error)
        if self._waiting:
            names = ", ".join(f"{want.model} v{want.release}" for want in self._waiting.values())
            refused += self._complain(now, Code.NOT_IN_IMAGE_REPO, f"no signed release for {names}")
        return admitted, refused

    def wake_at(self) -> float:
        """Returns when a missing document is to be reported; infinity for never."""
        if self._complain_at is None or not (self._waiting or self._untrusting):
            return math.inf
        return self._complain_at

    @property
    def _untrusting(self) -> bool:
        return self.held_desired is not None and not self.current

    def _complain_of_trust(self, now: float) -> list[BadInput]:
        if not self._untrusting:
            return []
        if chain.is_vouched(self.trusted):
            return self._complain(now, Code.METADATA_EXPIRED, "a document waits for a trust bundle that is not expired")
        return self._complain(now, Code.TRUST_MISSING, "a document waits for a trust bundle")

    def _complain(self, now: float, code: Code, words: str) -> list[BadInput]:
        if self._complain_at is None or now < self._complain_at:
            return []
        self._complain_at = None
        return [BadInput(code, words)]
