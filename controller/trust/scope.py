"""Scopes: the part of a fleet on which a token may act. They limit changes, not reading.

Decides whether a change is inside: all that it affects must be inside. A change of a whole model reaches every
device with it, so a scope with labels forbids it. A change of a whole device reaches every model on it. Refuses to
know where labels and models are stored, and which changes there are.
"""

from collections.abc import Iterable, Mapping

from contract.wire import Message

MAX_SCOPED_LABELS = 16
MAX_SCOPED_MODELS = 100
"""The most models of one token: those of a team, and few enough for a line of `edgeward token list`."""


class Scope(Message, frozen=True):
    """Labels that a device must have and models that may be changed; an empty field limits nothing."""

    labels: dict[str, str] = {}
    models: tuple[str, ...] = ()

    @property
    def limits(self) -> bool:
        """Whether it limits anything."""
        return bool(self.labels or self.models)

    @property
    def words(self) -> str:
        """Returns the scope on one line: `site=a, model pump`; empty without a limit."""
        labels = [f"{key}={value}" for key, value in sorted(self.labels.items())]
        return ", ".join([*labels, *(f"model {name}" for name in sorted(self.models))])

    def has_model(self, model: str) -> bool:
        """Whether a model may be changed."""
        return not self.models or model in self.models

    def has_whole_model(self, model: str) -> bool:
        """Whether a model may be changed on every device that has it or ever will."""
        return not self.labels and self.has_model(model)

    def has_selection(self, model: str, selector: Mapping[str, str]) -> bool:
        """Whether a model may be changed on the devices that a selector finds, now and later."""
        return self.has_model(model) and self.labels.items() <= selector.items()

    def has_labels(self, labels: Mapping[str, str]) -> bool:
        """Whether a device with these labels is inside."""
        return self.labels.items() <= labels.items()

    def has_device(self, labels: Mapping[str, str], models: Iterable[str]) -> bool:
        """Whether a whole device with these labels and models may be changed."""
        return self.has_labels(labels) and all(map(self.has_model, models))


EVERYWHERE = Scope()
