"""From signed bytes to assignments: a desired document waits here until the model roles it needs have come.

Decides per model, so that one model's missing release does not hold up another's update.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime

from agent.core import admission
from agent.core.admission import HighWater
from agent.core.model import Assignment
from contract import topics
from contract.errors import BadInput, Code
from contract.manifest import Manifest
from contract.trust import Desired, TrustAnchor, Wanted, read_desired, read_model_role

ROLE_WAIT_S = 30.0
"""A role that has not come, or does not list the release, by then is reported; it is still accepted when it comes."""


class Admitting:
    """Reads documents and joins them."""

    def __init__(self, device: str, machine: str, anchor: TrustAnchor, wall_clock: Callable[[], datetime]) -> None:
        self._device = device
        self._machine = machine
        self._anchor = anchor
        self._wall_clock = wall_clock
        self._roles: dict[str, dict[int, Manifest]] = {}
        self._role_digests: dict[str, bytes] = {}
        self._waiting: dict[str, Wanted] = {}
        self._complain_at: float | None = None

    def read_desired(self, raw: bytes, high_water: HighWater) -> tuple[Desired, HighWater]:
        """A verified, admissible document and the high-water mark that it sets. Raises BadInput."""
        document = read_desired(raw, self._anchor)
        mark = admission.check_document(document, device=self._device, high_water=high_water, today=self._wall_clock())
        return document, mark

    def role_of(self, topic: str) -> str | None:
        """The model whose role `topic` carries, if a document waits for it or has used it."""
        model = topic.rpartition("/")[2]
        known = model in self._waiting or model in self._roles
        return model if known and topic == topics.model_role(model) else None

    def read_role(self, model: str, raw: bytes) -> None:
        """Take a model role in; the one that is known already costs nothing. Raises BadInput; what was known stays."""
        digest = hashlib.sha256(raw).digest()
        if self._role_digests.get(model) != digest:
            self._roles[model] = read_model_role(raw, model, self._anchor)
            self._role_digests[model] = digest

    def await_roles(self, document: Desired, now: float) -> None:
        """Let the targets of `document` wait for their roles; an older document's targets wait no longer."""
        self._waiting = {want.model: want for want in document.wanted}
        self._complain_at = now + ROLE_WAIT_S

    def take(self, now: float) -> tuple[list[Assignment], list[BadInput]]:
        """What can be decided now: admitted assignments, and refusals to report."""
        admitted: list[Assignment] = []
        refused: list[BadInput] = []
        for model, want in list(self._waiting.items()):
            manifests = self._roles.get(model)
            if manifests is None or want.release not in manifests:
                continue
            del self._waiting[model]
            try:
                admitted.append(admission.assign(want, manifests, self._machine))
            except BadInput as error:
                refused.append(error)
        if self._waiting and self._complain_at is not None and now >= self._complain_at:
            self._complain_at = None
            names = ", ".join(f"{want.model} v{want.release}" for want in self._waiting.values())
            refused.append(BadInput(Code.NOT_IN_IMAGE_REPO, f"no signed release for {names}"))
        return admitted, refused

    def wake_at(self) -> float | None:
        """When a missing role is to be reported."""
        return self._complain_at if self._waiting else None
