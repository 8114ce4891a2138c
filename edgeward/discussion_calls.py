"""The calls of the client about texts that people write about a model."""

from urllib.parse import quote

from edgeward.answers.rollout_looks import Discussion
from edgeward.transport import Transport


class DiscussionCalls:
    """Calls about the discussion of a model; those of a rollout are at its handle."""

    _transport: Transport

    def model_discussion(self, model: str) -> Discussion:
        """What people wrote beside a model."""
        return Discussion.read(self._transport.get(_place(model)))

    def comment_on_model(self, model: str, text: str) -> Discussion:
        """Writes a comment about a model; people named after an @ are notified by an event."""
        return Discussion.read(self._transport.post(f"{_place(model)}/comments", {"text": text}))

    def ask_review_of_model(self, model: str, who: str, text: str = "") -> Discussion:
        """Asks a person to look at a model; their next comment ends that."""
        return Discussion.read(self._transport.post(f"{_place(model)}/reviews", {"who": who, "text": text}))


def _place(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}/discussion"
