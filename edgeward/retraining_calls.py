"""The calls of the client about retraining: policies, decisions, attempts, and reports of workers.

Decides nothing. Refuses to know HTTP (`transport`) and pipelines (`edgeward.retraining`).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from edgeward.answers.answer import Sentences
from edgeward.answers.retraining import Claimed, Decision, Retraining, RetrainingPolicy
from edgeward.answers.table import Table
from edgeward.transport import Transport


class RetrainingCalls:
    """Calls about retraining."""

    _transport: Transport

    def retrainings(self, model: str = "") -> Table[Retraining]:
        """Attempts to retrain a model (none named: all), newest first."""
        return Table(map(Retraining.read, self._transport.get(f"/v1/retraining?{urlencode({'model': model})}")))

    def retraining(self, identifier: str) -> Retraining:
        """One attempt. BadInput `unknown_retraining`."""
        return Retraining.read(self._transport.get(f"/v1/retraining/{identifier}"))

    def retraining_decisions(self, model: str = "", limit: int = 100) -> Table[Decision]:
        """Why models were trained again, and why not, newest first."""
        query = urlencode({"model": model, "limit": limit})
        return Table(map(Decision.read, self._transport.get(f"/v1/retraining/decisions?{query}")))

    def explain_retraining(self, named: str) -> Sentences:
        """Why, in sentences: of an attempt by its id, or the newest decision about a model."""
        is_attempt = named.startswith("t-") and any(each.id == named for each in self.retrainings())
        path = f"/v1/retraining/{named}/explain" if is_attempt else f"/v1/models/{named}/retraining/explain"
        return Sentences.read(self._transport.get(path))

    def retraining_policy(self, model: str) -> RetrainingPolicy:
        """Returns the retraining policy of a model. BadInput `unknown_retraining` if there is none."""
        return RetrainingPolicy.read(self._transport.get(f"/v1/models/{model}/retraining"))

    def set_retraining_policy(self, model: str, policy: Mapping[str, Any] | None = None) -> RetrainingPolicy:
        """Sets a policy; fields as in configs/retraining/default.toml, and missing ones have its values."""
        return RetrainingPolicy.read(self._transport.put(f"/v1/models/{model}/retraining", dict(policy or {})))

    def remove_retraining_policy(self, model: str) -> RetrainingPolicy:
        """Removes a policy; returns what it was."""
        return RetrainingPolicy.read(self._transport.delete(f"/v1/models/{model}/retraining"))

    def propose_retraining(self, model: str, detail: str, *, alert: bool = False) -> Decision:
        """Proposes to retrain a model; returns what the policy decides. A person's request needs no gain; an alert's
        does.
        """
        body = {"detail": detail, "alert": alert}
        return Decision.read(self._transport.post(f"/v1/models/{model}/retraining/propose", body))

    def approve_retraining(self, identifier: str) -> Retraining:
        """Approves a proposed training, so that it may begin. BadInput `four_eyes`, `retraining_conflict`."""
        return Retraining.read(self._transport.post(f"/v1/retraining/{identifier}/approve"))

    def decline_retraining(self, identifier: str, reason: str = "") -> Retraining:
        """Ends an attempt before a worker begins. BadInput `retraining_conflict`."""
        return Retraining.read(self._transport.post(f"/v1/retraining/{identifier}/decline", {"reason": reason}))

    def claim_retraining(self, worker: str, models: Sequence[str]) -> Claimed:
        """Claims work; `retraining` is None if none waits."""
        return Claimed.read(self._transport.post("/v1/retraining/claim", {"worker": worker, "models": list(models)}))

    def retraining_heard(self, identifier: str, worker: str, step: str) -> Retraining:
        """Reports that a worker is alive, and in which step. BadInput `retraining_conflict` once the
        attempt has ended.
        """
        body = {"worker": worker, "step": step}
        return Retraining.read(self._transport.post(f"/v1/retraining/{identifier}/heard", body))

    def retraining_failed(self, identifier: str, worker: str, *, step: str, detail: str, log: str = "") -> Retraining:
        """Reports that a pipeline failed, and where."""
        body = {"worker": worker, "step": step, "detail": detail, "log": log}
        return Retraining.read(self._transport.post(f"/v1/retraining/{identifier}/failed", body))
