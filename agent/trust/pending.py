"""From signed bytes to assignments: what came too early waits here until what vouches for it has come.

A desired document needs the trust bundle (who is director), a role needs the snapshot that names its version, a target
needs its role. Decides per model, so that one model's missing release does not hold up another's update.
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
"""A role that has not come, or does not list the release, by then is reported; it is still accepted when it comes."""
MAX_HELD = 16
"""Roles that wait for the snapshot that names them."""


class Admitting:
    """Reads documents and joins them."""

    def __init__(self, device: str, machine: str, trusted: Trusted, wall_clock: Callable[[], datetime]) -> None:
        self.trusted = trusted
        self._device = device
        self._machine = machine
        self._wall_clock = wall_clock
        self._bundle: bytes | None = None
        self._held_roles: dict[str, bytes] = {}
        self.held_desired: bytes | None = None
        """A document that came before the bundle that says who is director."""
        self._waiting: dict[str, Wanted] = {}
        self._complain_at: float | None = None

    def restore_roles(self, roles: Mapping[str, str]) -> None:
        """Trust roles that were verified before, as far as the snapshot still names them."""
        self.trusted = chain.with_roles(self.trusted, roles)

    def hold_bundle(self, raw: bytes) -> None:
        """Remember the bundle that came last."""
        self._bundle = raw

    def missing_root(self) -> int | None:
        """The root to ask for before the bundle that came last can be followed. BadInput."""
        return chain.missing_root(self.trusted, self._bundle) if self._bundle is not None else None

    def read_bundle(self) -> Trusted:
        """What is trusted after the bundle that came last. BadInput with the kind of fault; what was trusted stays."""
        return chain.follow(self.trusted, self._bundle or b"", self._wall_clock())

    def read_root(self, raw: bytes) -> Trusted:
        """What is trusted after one more root. BadInput."""
        return chain.take_root(self.trusted, raw.decode(errors="replace"))

    @property
    def current(self) -> bool:
        """Whether what is trusted has come and has not expired: only then are documents looked at."""
        now = chain.time_floor(self.trusted, self._wall_clock())
        return self.trusted.complete and now < chain.expires(self.trusted)

    def await_trust(self, document: bytes, now: float) -> None:
        """Keep a document until a bundle says, or says again, who is director."""
        self.held_desired = document
        self._complain_at = now + ROLE_WAIT_S

    def read_desired(self, raw: bytes, high_water: HighWater, nonce: str) -> tuple[Desired, HighWater]:
        """A verified, admissible document and the high-water mark that it sets. Raises BadInput."""
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
        """The model whose role `topic` carries, if a document waits for it or it is trusted already."""
        model = topic.rpartition("/")[2]
        known = model in self._waiting or model in dict(self.trusted.roles)
        return model if known and topic == topics.model_role(model) else None

    def read_role(self, model: str, raw: bytes) -> Trusted:
        """What is trusted with this role; one that comes before the bundle that names it waits. BadInput."""
        if not chain.is_early(self.trusted, model, raw):
            return chain.take_role(self.trusted, model, raw, self._wall_clock())
        if model in self._held_roles or len(self._held_roles) < MAX_HELD:
            self._held_roles[model] = raw
        return self.trusted

    def retry_roles(self) -> Trusted:
        """What is trusted with the roles that waited and fit now."""
        trusted = self.trusted
        for model, raw in list(self._held_roles.items()):
            try:
                trusted = chain.take_role(trusted, model, raw, self._wall_clock())
            except BadInput:
                continue
            del self._held_roles[model]
        return trusted

    def floors(self) -> dict[str, int]:
        """The oldest release that each trusted role allows, where it forbids any."""
        roles = {model: chain.role_of(self.trusted, model) for model, _ in self.trusted.roles}
        return {model: role.min_release for model, role in roles.items() if role is not None and role.min_release}

    def await_roles(self, document: Desired, now: float) -> None:
        """Let the targets of `document` wait for their roles; an older document's targets wait no longer."""
        self.held_desired = None
        self._waiting = {want.model: want for want in document.wanted}
        self._complain_at = now + ROLE_WAIT_S

    def take(self, now: float, min_releases: dict[str, int]) -> tuple[list[Assignment], list[BadInput]]:
        """What can be decided now: admitted assignments, and refusals to report."""
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
        """When it is to be reported that something has not come; infinity for never."""
        if self._complain_at is None or not (self._waiting or self._untrusting):
            return math.inf
        return self._complain_at

    @property
    def _untrusting(self) -> bool:
        return self.held_desired is not None and not self.current

    def _complain_of_trust(self, now: float) -> list[BadInput]:
        if not self._untrusting:
            return []
        if self.trusted.complete:
            return self._complain(now, Code.METADATA_EXPIRED, "a document waits for a trust bundle that is not expired")
        return self._complain(now, Code.TRUST_MISSING, "a document waits for a trust bundle")

    def _complain(self, now: float, code: Code, words: str) -> list[BadInput]:
        if self._complain_at is None or now < self._complain_at:
            return []
        self._complain_at = None
        return [BadInput(code, words)]
